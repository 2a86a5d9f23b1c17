"""The pages about data and comparisons in a real browser: main tasks in both languages, attacks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from burnish.records import Preference
from burnish.store import tables
from burnish.store.registry import Registry
from burnish.web.votes import Vote, Votes

from .browsing import CHROMIUM, logged_in, only_text, seriously_wrong, served, width_on_a_phone
from .world import ATTACKS, make_data, make_experiment, make_models, make_run

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")

PAGES = (
    "/data", "/data/demo", "/data/demo/profile", "/data/demo/records", "/data/demo/record?id=p0",
    "/data/demo/record?id=r0&alike=1", "/data/demo/quarantine?target=r0", "/compare",
    "/compare/experiments/tone",
)  # fmt: skip


def make_votes(runs: Path, said: str = "Hello") -> None:
    votes = Votes(runs)
    for number, choice in enumerate(("left", "right", "left")):
        votes.add(Vote(
            duel=str(number), prompt=said, models=(f"one {said}", f"two {said}"),
            replies=(f"a {said}", f"b {said}"), choice=choice, voter=said[:64],
        ))  # type: ignore[arg-type]  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    runs = tmp_path_factory.mktemp("browser") / "runs"
    make_run(runs, "demo")
    make_data(runs)
    make_models(runs, real=True)
    make_experiment(runs)
    make_votes(runs)
    with served(runs) as link:
        yield runs, link


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        ("en-GB", ("Data", "Look through the records", "Text or id", "Find its near",
                   "Quarantine this record", "Put into quarantine")),
        ("zh-CN", ("数据", "浏览记录", "文本或 id", "查找近似", "隔离该记录", "执行隔离")),
    ],
)  # fmt: skip
def test_a_record_is_found_and_put_into_quarantine(
    browser: Any, world: tuple[Path, str], locale: str, words: tuple[str, ...]
) -> None:
    runs, link = world
    menu, look, text, near, put, do = words
    before = len(list((runs / "demo").glob("quarantine/*.json")))
    with logged_in(browser, link, locale) as page:
        page.get_by_role("link", name=menu, exact=True).click()
        page.get_by_role("link", name="demo", exact=True).click()
        page.get_by_role("link", name=look).click()
        page.get_by_label(text).fill("r0")
        page.keyboard.press("Enter")
        page.locator("table.records a").click()
        page.get_by_role("link", name=near).click()
        page.locator("#alike ~ .scroll a").first.wait_for()
        page.get_by_role("link", name=put).click()
        page.get_by_role("button", name=do).click()
        page.locator("#quarantines ~ .scroll td", has_text="r0").first.wait_for()
    assert len(list((runs / "demo").glob("quarantine/*.json"))) == before + 1


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        ("en-GB", ("Compare", "One model", "Another one", "Your name", "Question to both",
                   "Options", "Most tokens", "Kept.")),
        ("zh-CN", ("比较", "模型一", "模型二", "你的名字", "向两个模型提问", "选项", "最多词元",
                   "已保存")),
    ],
)  # fmt: skip
def test_two_models_are_compared_by_keyboard(
    browser: Any, world: tuple[Path, str], locale: str, words: tuple[str, ...]
) -> None:
    runs, link = world
    menu, one, other, name, question, options, most, kept = words
    with logged_in(browser, link, locale) as page:
        page.get_by_role("link", name=menu, exact=True).click()
        page.get_by_label(one).select_option("tuned@1")
        page.get_by_label(other).select_option("tuned@2")
        page.get_by_label(name).fill(f"ann {locale}")
        page.get_by_text(options).click()
        page.get_by_label(most).fill("6")
        page.get_by_label(question).fill(ATTACKS[0])
        page.keyboard.press("Enter")
        page.locator("#votes button:enabled").first.wait_for()
        assert page.locator(".side .who").all_inner_texts() == ["", ""]
        said = page.locator(".side .said").all_inner_texts()
        page.keyboard.press("3")
        page.locator("#status", has_text=kept).wait_for()
        told = page.locator(".side .who").all_inner_texts()
        assert set(told) == {"tuned@1", "tuned@2"}
        page.locator("#ratings td", has_text="tuned@1").wait_for()
        page.keyboard.press("n")
        assert page.evaluate("document.activeElement.id") == "prompt"
        assert page.evaluate("window.__xss") is None
    rows = [json.loads(line) for line in (runs / "compare/votes.jsonl").read_text().splitlines()]
    (cast,) = [row for row in rows if row["voter"] == f"ann {locale}"]
    assert (cast["choice"], cast["models"], cast["prompt"]) == ("right", told, ATTACKS[0])
    preference = tables.read(Votes(runs).preferences, Preference)[-1]
    assert preference.chosen[0]["content"].strip() == said[1].strip()


def test_outcomes_are_taken_and_an_experiment_ended(
    browser: Any, world: tuple[Path, str], tmp_path: Path
) -> None:
    runs, link = world
    make_experiment(runs, "length")
    file = tmp_path / "outcomes.jsonl"
    file.write_text(json.dumps({"request": "x", "arm": "tuned@1", "user": "new", "value": 1}))
    with logged_in(browser, link) as page:
        page.goto(f"{page.own}/compare")
        page.get_by_role("link", name="length", exact=True).click()
        assert page.locator(".course path.band").count() == 1
        page.get_by_label("File").set_input_files(file)
        page.get_by_role("button", name="Take them").click()
        page.locator("#status", has_text="1 taken, 0 known").wait_for()
        page.locator("#status:empty").wait_for(state="attached")  # it was loaded anew
        page.get_by_role("button", name="End it here").click()
        page.locator(".tag", has_text="ended").wait_for()
    with Registry(runs / "registry.sqlite") as registry:
        assert registry.verdicts()[-1].details["experiment"] == "length"


def test_text_from_anywhere_is_text(browser: Any, tmp_path: Path) -> None:  # S-13
    runs = tmp_path / "runs"
    said = " ".join(ATTACKS)
    name = said.replace("/", "").encode()[:200].decode()  # a folder's name
    make_run(runs, name, said, said)
    make_data(runs, name, said)
    make_models(runs, said)
    make_votes(runs, said)
    make_experiment(runs)
    at, target = f"/data/{quote(name, safe='')}", quote(f"web {said}")
    with served(runs) as link, logged_in(browser, link) as page:
        for path in (
            "/data", at, f"{at}/profile", f"{at}/records", f"{at}/records?text={quote(said)}",
            f"{at}/record?id=r1&alike=1", f"{at}/record?id=p1", f"{at}/quarantine?target={target}",
            f"{at}/quarantine?target={quote(said)}", "/compare",
        ):  # fmt: skip
            page.goto(page.own + path)
            only_text(page)
            assert "window.__xss=1" in page.locator("main").inner_text(), path
        for path in (f"{at}/record?id={quote(said)}", f"/compare/experiments/{quote(said[:40])}"):
            page.goto(page.own + path)
            only_text(page)


@pytest.mark.parametrize("more", [{}, {"color_scheme": "dark"}], ids=["light", "dark"])
def test_nothing_serious_for_axe(
    browser: Any, world: tuple[Path, str], more: dict[str, str]
) -> None:
    with logged_in(browser, world[1], **more) as page:
        assert [wrong for path in PAGES for wrong in seriously_wrong(page, path)] == []


def test_a_phone_scrolls_one_way(browser: Any, world: tuple[Path, str]) -> None:
    with logged_in(browser, world[1], viewport={"width": 360, "height": 740}) as page:
        assert {path: width_on_a_phone(page, path) for path in PAGES} == dict.fromkeys(PAGES, 360)
