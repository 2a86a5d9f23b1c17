"""Reviewing in a real browser: by keyboard, in both languages, under attack, on a phone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from tests.review.desks import GOLD, REFUSED, make_run, pair, rollout

from burnish.review.desk import Choice, Decision, Desk, place
from burnish.review.figures import reviewers
from burnish.review.open import fill
from burnish.review.preferences import exported
from burnish.review.queue import ReviewSettings
from burnish.web.passes import make_pass

from .browsing import CHROMIUM, logged_in, only_text, serious_here, served
from .conftest import TOKEN
from .world import ATTACKS

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")

MOST_SECONDS = 0.25
"""That the page itself may take for an item: a person who is to judge 200 an hour has 18 each."""


def make_desk(runs: Path, count: int, name: str = "demo", said: str = "") -> Path:
    """A run whose pairs are all on its desk, half of them for both of two reviewers."""
    pairs = [
        pair(n, f"Yes {n} {said}", REFUSED if n % 3 else f"No {n} {said}", probability=0.6,
             asked=f"Question {n}? {said}")
        for n in range(count)
    ]  # fmt: skip
    folder = make_run(runs / name, pairs)
    fill(folder, ReviewSettings(gold=0.02, spot=0.5, overlap=0, most=count), GOLD)
    with Desk(place(folder)) as desk:
        for reviewer in ("ann", "bob", "吴"):
            desk.add_reviewer(reviewer)
    return folder


@contextmanager
def reviewing(
    browser: Any,
    link: str,
    name: str,
    run: str = "demo",
    **more: Any,
) -> Iterator[Any]:
    """The review page before a reviewer who opened the link with the pass."""
    own = link.partition("#")[0]
    with logged_in(browser, f"{own}#{make_pass(TOKEN, name)}", first="/review", **more) as page:
        page.locator(f"a.button[href='/review/{run}']").click()
        page.locator("#item:not([hidden])").wait_for()
        yield page


def shown(page: Any) -> str:
    found: str = page.locator("#item").get_attribute("data-id")
    return found


def settled(page: Any) -> None:
    """Wait until the server has all decisions."""
    page.locator("#review[aria-busy=false]").wait_for()


def another(page: Any, before: str) -> None:
    """Wait until another item is shown."""
    page.locator(f"#item:not([data-id='{before}'])").wait_for()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def test_thirty_items_by_keyboard(browser: Any, runs: Path) -> None:
    folder = make_desk(runs, 60)
    with served(runs) as link, reviewing(browser, link, "ann") as page:
        # From the key to the next pair on the screen, and no page load between them.
        page.evaluate("""() => {
          window.spent = [];
          let began = 0;
          document.addEventListener("keydown", () => { began = performance.now(); }, true);
          new MutationObserver(() => requestAnimationFrame(() => {
            spent.push((performance.now() - began) / 1000);
          })).observe(document.getElementById("item"), {attributeFilter: ["data-id"]});
        }""")
        seen = []
        began = time.monotonic()
        for number in range(30):
            seen.append(shown(page))
            page.keyboard.press("1231s"[number % 5])
            another(page, seen[-1])
        whole = time.monotonic() - began
        settled(page)
        spent = page.evaluate("spent")
    print(f"{median(spent) * 1000:.0f} ms an item in the page, {whole / 30:.2f} s with the driver")
    assert len(set(seen)) == len(spent) == 30
    assert median(spent) < MOST_SECONDS
    with Desk(place(folder)) as desk:
        (ann,) = reviewers(desk.cases(), ["ann"], 0.7)
        audit = desk.audit()
    assert ann.decided == 24  # without the six that were skipped
    assert ann.an_hour > 200
    assert sum(row["action"] == "decide" for row in audit) == 30


def test_what_was_lost_on_the_way_is_sent_again(browser: Any, runs: Path) -> None:
    folder = make_desk(runs, 6)
    tried: list[str] = []

    def lose(route: Any) -> None:
        tried.append(route.request.post_data)
        if len(tried) == 1:
            route.abort()
        else:
            route.continue_()

    with served(runs) as link, reviewing(browser, link, "ann") as page:
        page.route("**/decisions", lose)
        one = shown(page)
        page.keyboard.press("1")
        another(page, one)
        settled(page)
        assert page.locator("#status").inner_text() == ""
    assert tried[0] == tried[1]
    with Desk(place(folder)) as desk:
        assert [case.item.id for case in desk.cases() if case.votes] == [one]


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        ("en-GB", ("Taken back.", "Which one is better", "No difference", "The first is better")),
        ("zh-CN", ("已撤回。", "哪一个更好", "不分优劣", "第一个更好")),
    ],
)
def test_two_people_review_and_the_owner_settles(
    browser: Any,
    runs: Path,
    locale: str,
    words: tuple[str, ...],
) -> None:
    folder = make_desk(runs, 6)
    back, pick, tie, first = words
    with served(runs) as link:
        with reviewing(browser, link, "吴", locale=locale) as page:
            page.keyboard.press("?")
            page.locator("dialog[open]").wait_for()
            page.keyboard.press("Escape")
            one = shown(page)
            page.keyboard.press("2")
            settled(page)
            page.keyboard.press("u")
            page.get_by_text(back).wait_for()
            assert shown(page) == one
            page.keyboard.press("e")
            page.get_by_text(pick).wait_for()
            page.keyboard.press("2")
            better = page.locator("#reply-right").inner_text()
            assert page.locator("#edited").input_value() == better
            page.locator("#edited").fill("What it should have said. 1 2 3 s u")
            page.keyboard.press("Control+Enter")
            another(page, one)
            page.get_by_role("button", name=tie).click()
            settled(page)
            while page.locator("#item").is_visible():
                page.keyboard.press("1")
                settled(page)
        with reviewing(browser, link, "bob", locale=locale) as page:
            while page.locator("#item").is_visible():
                page.keyboard.press("2")
                settled(page)
        with logged_in(browser, link, locale) as page:
            page.goto(f"{page.own}/review/demo/desk")
            while page.get_by_role("button", name=first, exact=True).count():
                card = page.locator(".dispute").first
                card.locator("input[name=reason]").fill("read it again")
                with page.expect_navigation():
                    card.get_by_role("button", name=first, exact=True).click()
            assert page.locator("tr", has_text="吴").count()
            page.get_by_text("α", exact=False).first.wait_for()
    with Desk(place(folder)) as desk:
        cases, names = desk.cases(), desk.reviewers()
    found = exported(cases, len(names)).pairs
    edited = [one for one in found if one.chosen[0]["content"].startswith("What it should")]
    assert {one.annotators for one in edited} == {("吴",)}
    assert better in [one.rejected[0]["content"] for one in edited]
    assert not any(case.disputed for case in cases)
    assert any("owner" in one.annotators for one in found)


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        ("en-GB", ("Is it good?", "Not good", "Taken back.")),
        ("zh-CN", ("好不好？", "不好", "已撤回。")),
    ],
)
def test_single_replies_by_keyboard(
    browser: Any, runs: Path, locale: str, words: tuple[str, ...]
) -> None:
    pick, bad, back = words
    folder = make_run(
        runs / "demo",
        [pair(1, "Yes", "No", probability=0.6)],
        [rollout(f"p{n}", f"reply {n}", 0.8) for n in range(5)],
    )
    fill(folder, ReviewSettings(gold=0, spot=0, overlap=0, most=10, singles=0.5))
    with Desk(place(folder)) as desk:
        desk.add_reviewer("ann")
    said: dict[str, str] = {}
    with served(runs) as link, reviewing(browser, link, "ann", locale=locale) as page:
        while page.locator("#item").is_visible():
            one = shown(page)
            if page.locator("#reply-right").is_visible():  # the pair
                assert page.locator("button[data-choice=tie]").is_visible()
                page.keyboard.press("2")
            elif len(said) == 1:
                page.keyboard.press("3")  # a single reply has nothing to tie with
                assert shown(page) == one
                page.keyboard.press("e")
                page.get_by_text(pick).wait_for()
                page.keyboard.press("2")
                assert page.locator("#edited").input_value().startswith("reply ")
                page.locator("#edited").fill("Better.")
                page.keyboard.press("Control+Enter")
                said[one] = "edited"
            elif len(said) == 2:
                page.get_by_role("button", name=bad).click()
                said[one] = "bad"
            else:
                assert page.locator("button[data-choice=tie]").is_hidden()
                assert serious_here(page) == []
                page.keyboard.press("1")
                said[one] = "good"
            settled(page)
        page.keyboard.press("u")
        page.get_by_text(back).wait_for()
        again = shown(page)
        page.keyboard.press("1")
        settled(page)
        assert again in said or len(said) == 5
    with Desk(place(folder)) as desk:
        found = exported(desk.cases(), 1)
    assert len(found.items) == 6
    good = {one.completion[0]["content"]: one.label for one in found.replies}
    assert sorted(good.values()) == [False, False, True, True, True]
    (edited,) = [one for one in found.pairs if one.chosen[0]["content"] == "Better."]
    assert good[edited.rejected[0]["content"]] is False


def test_text_from_anywhere_is_text(browser: Any, runs: Path) -> None:  # S-13
    said = " ".join(ATTACKS)
    folder = make_desk(runs, 4, said=said)
    name = "<img src=x onerror=window.__xss=1>"
    with Desk(place(folder)) as desk:
        desk.add_reviewer(name)
    with served(runs) as link:
        with reviewing(browser, link, name) as page:
            assert page.locator("#reply-left").inner_text()
            assert said in page.locator("#prompt").inner_text()
            page.keyboard.press("e")
            page.keyboard.press("1")
            page.locator("#edited").fill(said)
            page.keyboard.press("Control+Enter")
            settled(page)
            while page.locator("#item").is_visible():
                page.keyboard.press("1")
                settled(page)
            only_text(page)
        with Desk(place(folder)) as desk:  # bob says the opposite of everything
            said_before = {case.item.id: case.votes for case in desk.cases()}
            for item in desk.take("bob", 9):
                side: Choice = "second"
                if any(vote.choice == side for vote in said_before[item.id]):
                    side = "first"
                desk.decide("bob", Decision(item=item.id, choice=side, key=item.id))
        with logged_in(browser, link) as page:
            page.goto(f"{page.own}/review/demo/desk")
            assert name in page.locator("main").inner_text()
            card = page.locator(".dispute").first
            card.locator("textarea").fill(said)
            card.locator("input[name=reason]").fill(said)
            with page.expect_navigation():
                card.get_by_role("button", name="No difference").click()
            page.locator("#trail summary").click()
            assert ATTACKS[0] in page.locator("main").inner_text()
            only_text(page)
            page.get_by_label("Name of a reviewer").fill(name)
            page.get_by_role("button", name="Make a pass").click()
            page.get_by_role("heading", name=name).wait_for()
            only_text(page)
    with Desk(place(folder)) as desk:
        edits = {vote.edited for case in desk.cases() for vote in case.votes}
    assert said in edits


@pytest.mark.parametrize(
    "more",
    [{}, {"color_scheme": "dark"}, {"viewport": {"width": 360, "height": 740}}],
    ids=["light", "dark", "phone"],
)
def test_nothing_serious_for_axe_and_phones_scroll_one_way(
    browser: Any,
    runs: Path,
    more: dict[str, Any],
) -> None:
    folder = make_desk(runs, 8, said="averylongwordwithoutanyspace" * 8)
    make_run(runs / "other", [pair(1, "a", "b", probability=0.6)])
    with Desk(place(folder)) as desk:
        votes: tuple[tuple[str, Choice], ...] = (("ann", "first"), ("bob", "second"))
        for who, side in votes:
            for item in desk.take(who, 3):
                desk.decide(who, Decision(item=item.id, choice=side, key=item.id, seconds=10))
    serious = []

    def look(page: Any) -> None:
        serious.extend(serious_here(page))
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= page.viewport_size["width"], page.url

    with served(runs) as link:
        with reviewing(browser, link, "吴", **more) as page:
            look(page)
            page.locator("[data-edit=left]").click()
            look(page)
            page.locator("#cancel").click()
            page.locator("#ask-help").click()
            look(page)
        with logged_in(browser, link, **more) as page:
            for path in ("/review", "/review/demo/desk", "/review/other/desk"):
                page.goto(page.own + path)
                look(page)
            page.goto(f"{page.own}/review/demo/desk")
            page.get_by_label("Name of a reviewer").fill("cho")
            page.get_by_role("button", name="Make a pass").click()
            page.get_by_role("heading", name="cho").wait_for()
            look(page)
    assert serious == []
