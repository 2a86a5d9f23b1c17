from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.reporting.conftest import HOSTILE
from tests.reporting.test_html import parsed
from tests.tracing.conftest import example, write

from burnish.reporting.datapage import render
from burnish.reporting.datastrings import STRINGS
from burnish.tracing.profile import profile


class Attributes(HTMLParser):
    """Collects the names of all attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {name for name, _ in attrs}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [
        example(f"{HOSTILE}{i}", f"{HOSTILE} question {i % 3}", "An answer of some words.",
                topic=HOSTILE if i % 2 else "capitals", source=HOSTILE, task=HOSTILE,
                tier="expert" if i % 4 == 0 else "bulk", synthetic=i % 4 != 0,
                scores={HOSTILE: i / 20}, lang="zh" if i % 5 == 0 else "en")
        for i in range(20)
    ]  # fmt: skip
    return write(tmp_path / "data.jsonl", rows)


@pytest.mark.parametrize(("lang", "place"), [("en", 0), ("zh", 1)])
def test_the_page_is_whole_and_says_all(data: Path, lang: str, place: int) -> None:
    page = parsed(render(profile(data, tokenize=len), lang))  # type: ignore[arg-type]
    text = " ".join(page.text)
    for key in ("lengths", "composition", "map", "scores", "duplicates", "tier", "topic", "tokens"):
        assert STRINGS[key][place] in text
    assert "5 · 25 %" in text  # expert
    assert "15 · 75 %" in text  # synthetic
    assert "17 · 85 %" in text  # twenty texts of which three differ: near duplicates


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_no_text_of_the_data_becomes_markup(data: Path, lang: str) -> None:  # S-13
    source = render(profile(data), lang)  # type: ignore[arg-type]
    page = parsed(source)
    assert page.tags.count("script") == 1  # the switch of light and dark
    assert "img" not in page.tags
    names = Attributes()
    names.feed(source)
    assert "aria-label" in names.found
    assert not [name for name in names.found if name.startswith("on")]
    assert "http" not in source  # nothing is loaded


def test_every_sentence_is_in_both_languages() -> None:
    for english, chinese in STRINGS.values():
        assert re.search(r"[\u4e00-\u9fff]", chinese)
        assert set(re.findall(r"{\w+}", english)) == set(re.findall(r"{\w+}", chinese))
