"""The page of an edge folder, in Chromium before a server of static files."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.exporting import models
from tests.exporting.test_onnx import blocked

from burnish.config import InputError
from burnish.exporting import edge, page, write
from burnish.exporting.forms import parse
from burnish.store import manifest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FORM = parse("gguf:f16")
ODD = '<img src=x onerror="window.__xss=1"><script>window.__xss=1</script>'


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return page.fetch(page.NPM, tmp_path_factory.mktemp("npm"))
    except InputError as error:
        pytest.skip(f"no package from npm: {error}")


@pytest.fixture(scope="module")
def bundle(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    target = folder / "edge"
    write.write(models.source("llama", folder), FORM, target)
    sizes = edge.write_edge(FORM, target, package)
    manifest.verify(target)
    assert 10e6 < sizes["page"] < 12e6
    assert f"{sum(sizes.values()) / 1e6:.1f} MB" in (target / "README.md").read_text()
    script = target / "page" / "page.js"
    shorter = script.read_text().replace("LONGEST = 256", "LONGEST = 24")
    assert shorter != script.read_text()
    script.write_text(shorter)  # a random model does not end its replies
    return target


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def opened(
    browser: Any, folder: Path, locale: str = "en-GB", before: str = "", **more: Any
) -> Iterator[Any]:
    """The page of a bundle; nothing may fail, or be asked of another machine.

    ``before`` is a script that runs before those of the page.
    """
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    own = f"http://127.0.0.1:{server.server_port}/"
    context = browser.new_context(locale=locale, **more)
    shown = context.new_page()
    shown.set_default_timeout(30_000)
    shown.add_init_script(before)
    wrong: list[str] = []
    shown.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    context.on(
        "request",
        lambda one: one.url.startswith((own, f"blob:{own}", "data:,")) or wrong.append(one.url),
    )
    shown.on("console", lambda said: "Content Security" in said.text and wrong.append(said.text))
    try:
        shown.goto(own)
        yield shown
        assert wrong == []
    finally:
        context.close()
        server.shutdown()
        thread.join()
        server.server_close()


def ready(shown: Any) -> None:
    shown.locator("#message:focus").wait_for()


def ask(shown: Any, text: str) -> str:
    """By the keyboard; the reply when it has ended."""
    shown.keyboard.type(text)
    shown.keyboard.press("Enter")
    ready(shown)
    return str(shown.locator("#turns article").last.locator("div").text_content())


def test_it_replies_as_the_runner_does(browser: Any, bundle: Path) -> None:
    with opened(browser, bundle) as shown:
        ready(shown)
        assert shown.locator("#status").text_content() == "Ready"
        reply = ask(shown, "hello an")
        # One llama.cpp is built for this processor and one for browsers: a random model rambles,
        # and sums in another order show after a while.
        assert reply[:8] == blocked(bundle, "hello an")[:8]
        assert shown.locator("#turns article").count() == 2
        shown.keyboard.press("Tab")
        shown.keyboard.press("Tab")
        assert shown.evaluate("document.activeElement.id") == "fresh"
        shown.keyboard.press("Enter")
        assert shown.locator("#turns article").count() == 0
        assert ask(shown, "hello an") == reply  # nothing is left of the first conversation


def test_what_is_said_is_text(browser: Any, bundle: Path, tmp_path: Path) -> None:  # S-13
    copy = shutil.copytree(bundle, tmp_path / "edge")
    script = copy / "page" / "page.js"
    # The reply, which a random model does not choose.
    spoken = script.read_text().replace("chunk.choices[0]?.delta?.content", repr(ODD), 1)
    script.write_text(spoken)
    with opened(browser, copy) as shown:
        ready(shown)
        assert ODD in ask(shown, ODD)
        assert shown.locator("#turns article").first.locator("div").text_content() == ODD
        assert shown.evaluate("window.__xss") is None
        assert shown.locator("main img, main script").count() == 0


def test_it_speaks_chinese_and_fits_a_phone(browser: Any, bundle: Path) -> None:
    size = {"width": 360, "height": 640}
    with opened(browser, bundle, "zh-CN", viewport=size) as shown:
        ready(shown)
        assert shown.locator("#status").text_content() == "就绪"
        assert shown.locator("html").get_attribute("lang") == "zh"
        reply = ask(shown, "hello 中文")
        assert reply
        assert shown.evaluate("document.documentElement.scrollWidth") <= 360
        shown.locator("#language").click()
        assert shown.locator("h1").text_content() == "Chat with this model"
        assert shown.locator("article h2").all_text_contents() == ["You", "Model"]
        assert shown.locator("article div").last.text_content() == reply


def test_escape_stops_a_reply(browser: Any, bundle: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle, tmp_path / "edge")
    script = copy / "page" / "page.js"
    script.write_text(script.read_text().replace("LONGEST = 24", "LONGEST = 200"))
    with opened(browser, copy) as shown:
        ready(shown)
        shown.keyboard.type("hello")
        shown.keyboard.press("Enter")
        shown.keyboard.press("Escape")
        ready(shown)
        assert shown.locator("#status").text_content() == "Stopped"
        shown.locator("#fresh").click()
        assert ask(shown, "the")


def test_a_damaged_model_is_told(browser: Any, bundle: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle, tmp_path / "edge")
    (copy / "model.gguf").write_bytes(b"GGUF" + b"\xff" * 200)
    with opened(browser, copy) as shown:
        shown.locator("#status.bad").wait_for()
        told = "Failed: llama.cpp cannot load model.gguf"
        assert shown.locator("#status").text_content() == told
        assert shown.locator("#message").is_disabled()


def test_a_browser_that_is_too_old_is_told(browser: Any, bundle: Path) -> None:
    with opened(browser, bundle, "zh-CN", before="delete WebAssembly.Memory") as shown:
        shown.locator("#status.bad").wait_for()
        assert "此浏览器无法运行模型" in shown.locator("#status").text_content()


def test_it_is_accessible(browser: Any, bundle: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with opened(browser, bundle, bypass_csp=True) as shown:
        ready(shown)
        ask(shown, "hello")
        found = axe.run(shown).response["violations"]
        assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []


def test_another_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file.*npm pack @wllama"):
        page.fetch(str(tmp_path / "none.tgz"), tmp_path)
    (tmp_path / "other.tgz").write_bytes(b"other")
    with pytest.raises(InputError, match=r"another file: sha512-.*npm pack @wllama"):
        page.fetch(str(tmp_path / "other.tgz"), tmp_path)


def test_npm_that_is_missing_or_fails_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="npm is not installed"):
        page.fetch(page.NPM, tmp_path / "npm")
    (tmp_path / "npm").write_text("#!/bin/sh\necho no network >&2\nexit 1\n")
    (tmp_path / "npm").chmod(0o755)
    with pytest.raises(InputError, match="npm pack failed: no network"):
        page.fetch(page.NPM, tmp_path / "packages")


def test_a_model_too_large_for_a_browser_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(page, "LARGEST", 3)
    with pytest.raises(InputError, match="too large for a page"):
        page.write_page(tmp_path, tmp_path / page.FILE)
