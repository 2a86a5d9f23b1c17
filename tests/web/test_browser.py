"""The pages in a real browser: their main tasks in both languages, attacks, accessibility."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from burnish.serve.server import listen
from burnish.store.registry import Registry
from burnish.web.server import make_server
from burnish.web.site import Site

from .conftest import TOKEN
from .world import ATTACKS, lines, make_models, make_run

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")

SECONDS = 20_000
PAGES = ("/runs", "/runs/demo", "/curves?run=demo&run=later", "/models", "/models/tuned@2",
         "/models/diff?a=tuned@1&b=tuned@2", "/chat", "/login", "/nothing")  # fmt: skip


@contextmanager
def served(runs: Path) -> Iterator[str]:
    """The site on loopback; gives the link that logs in."""
    up = threading.Event()
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        server = make_server(Site(runs, TOKEN, port), listener, ready=up.set)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            assert up.wait(30)
            yield f"http://127.0.0.1:{port}/login#{TOKEN}"
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@contextmanager
def logged_in(
    browser: Any, link: str, locale: str = "en-GB", first: str = "/runs", **more: Any
) -> Iterator[Any]:
    """A page of a browser that opened the link, which leads to ``first``; nothing may fail or leave
    this machine."""
    context = browser.new_context(locale=locale, **more)
    page = context.new_page()
    page.set_default_timeout(SECONDS)
    wrong: list[str] = []
    own = link.partition("/login")[0]
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("request", lambda asked: asked.url.startswith(own) or wrong.append(asked.url))
    page.on("console", lambda said: "Content Security" in said.text and wrong.append(said.text))
    page.goto(link)
    page.wait_for_url(f"{own}{first}")
    page.own = own
    yield page
    assert wrong == []
    context.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    runs = tmp_path_factory.mktemp("browser") / "runs"
    make_run(runs, "demo")
    make_run(runs, "later")
    make_models(runs, real=True)
    with served(runs) as link:
        yield runs, link


def test_the_token_does_not_stay_in_the_address(browser: Any, world: tuple[Path, str]) -> None:
    with logged_in(browser, world[1]) as page:
        assert page.evaluate("document.cookie") == ""  # no script sees what lets it in
        assert TOKEN not in str(page.context.cookies())
        page.go_back()
        assert TOKEN not in page.url


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        ("en-GB", {"switch": "中文", "runs": "Runs", "compare": "Compare curves"}),
        ("zh-CN", {"switch": "English", "runs": "运行", "compare": "对比曲线"}),
    ],
)
def test_a_run_is_followed_and_compared(
    browser: Any, world: tuple[Path, str], locale: str, words: dict[str, str]
) -> None:
    runs, link = world
    with logged_in(browser, link, locale) as page:
        page.get_by_role("link", name="demo", exact=True).click()
        page.locator("[data-part=curves] h3").first.wait_for()
        page.locator("details#stages summary").click()
        new = f"fresh-{locale}"
        lines(runs / "demo/metrics.jsonl", [
            {"stage": new, "round": 1, "step": step, "reward": step} for step in (1, 2, 3)
        ])  # fmt: skip
        # It comes without the page being loaded again, and what was opened stays open.
        page.locator("[data-part=curves] h3", has_text=new).wait_for()
        assert page.locator("details#stages").get_attribute("open") is not None
        page.get_by_role("link", name=words["runs"], exact=True).click()
        for box in page.get_by_role("checkbox").all():
            box.check()
        page.get_by_role("button", name=words["compare"]).click()
        page.locator(".legend", has_text="later").first.wait_for()
        page.get_by_role("button", name=words["switch"]).click()
        other = "en" if locale[:2] == "zh" else "zh"
        page.locator(f"html[lang={other}]").wait_for()


def test_a_model_is_promoted_by_keyboard_and_rolled_back(
    browser: Any, world: tuple[Path, str]
) -> None:
    runs, link = world
    with logged_in(browser, link) as page:
        page.goto(f"{page.own}/models/tuned@2")
        assert page.locator(".lineage svg").count() == 1
        page.get_by_label("Reason").focus()
        page.keyboard.type("looked at it")
        page.keyboard.press("Enter")
        page.locator(".head .badge", has_text="champion").wait_for()
        page.goto(f"{page.own}/models")
        page.get_by_label("Reason").fill("worse after all")
        page.get_by_role("button", name="Roll back to tuned@1").click()
        page.get_by_role("cell", name="worse after all").wait_for()
    with Registry(runs / "registry.sqlite") as registry:
        assert registry.alias("champion") == "tuned@1"


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        ("en-GB", ("Message", "Options", "Most tokens", "Good reply", "Correct it", "Keep the")),
        ("zh-CN", ("消息", "选项", "最多词元", "回答好", "更正", "保存更正")),
    ],
)
def test_chat_thumbs_and_corrections(
    browser: Any, world: tuple[Path, str], locale: str, words: tuple[str, ...]
) -> None:
    runs, link = world
    message, options, most, good, correct, keep = words
    with Registry(runs / "registry.sqlite") as registry:
        before = registry.feedback()
    with logged_in(browser, link, locale) as page:
        page.goto(f"{page.own}/chat")
        page.get_by_text(options).click()
        page.get_by_label(most).fill("8")
        page.get_by_label(message).fill(ATTACKS[0])
        page.keyboard.press("Enter")
        page.get_by_role("button", name=good).click()
        page.locator("[aria-pressed=true]").wait_for()
        page.get_by_role("button", name=correct, exact=True).click()
        page.locator(".correction textarea").fill("What it should have said.")
        page.get_by_role("button", name=keep).click()
        page.locator(".correction").wait_for(state="detached")
        assert page.locator(".mine .said").inner_text() == ATTACKS[0]
        assert page.evaluate("window.__xss") is None
    with Registry(runs / "registry.sqlite") as registry:
        liked, corrected = (row.content for row in registry.feedback()[len(before) :])
    assert liked["record"]["label"] is True
    assert liked["record"]["prompt"] == [{"role": "user", "content": ATTACKS[0]}]
    assert corrected["record"]["chosen"][0]["content"] == "What it should have said."


def test_text_from_anywhere_is_text(browser: Any, tmp_path: Path) -> None:  # S-13
    runs = tmp_path / "runs"
    said = " ".join(ATTACKS)
    name = said.replace("/", "").encode()[:200].decode()  # a folder's name
    make_run(runs, name, said, said)
    make_run(runs, "second", said, said)
    make_models(runs, said)
    with served(runs) as link, logged_in(browser, link) as page:
        page.get_by_role("link", name="<script").click()
        page.locator("[data-part=curves] h3").first.wait_for()
        pages = [page.url.removeprefix(page.own), "/runs", "/models", "/models/tuned@2",
                 "/models/diff?a=tuned@1&b=tuned@2", "/models/<img src=x>", "/chat"]  # fmt: skip
        for path in pages:
            page.goto(page.own + path)
            page.wait_for_timeout(150)
            assert page.evaluate("window.__xss") is None, path
            odd = "main script, main img, main iframe, main style, main a[href^=javascript]"
            assert page.locator(odd).count() == 0, path
            handlers = "[...document.querySelectorAll('main *')].filter(one => "
            handlers += "[...one.attributes].some(a => a.name.startsWith('on'))).length"
            assert page.evaluate(handlers) == 0, path
            if path not in ("/chat", "/models/<img src=x>"):
                assert "window.__xss=1" in page.locator("main").inner_text(), path


@pytest.mark.parametrize("more", [{}, {"color_scheme": "dark"}], ids=["light", "dark"])
def test_nothing_serious_for_axe(
    browser: Any, world: tuple[Path, str], more: dict[str, str]
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with logged_in(browser, world[1], **more) as page:
        serious = []
        for path in PAGES:
            page.goto(page.own + path)
            serious += [
                (path, one["id"], [node["html"] for node in one["nodes"]])
                for one in axe.run(page).response["violations"]
                if one["impact"] in ("serious", "critical")
            ]
        assert serious == []


def test_a_phone_scrolls_one_way(browser: Any, world: tuple[Path, str]) -> None:
    with logged_in(browser, world[1], viewport={"width": 360, "height": 740}) as page:
        for path in PAGES:
            page.goto(page.own + path)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= 360, path
