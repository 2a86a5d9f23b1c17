from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tests.cleaning.texts import prose

from burnish import flow
from burnish.config import InputError
from burnish.records import Document
from burnish.selection.clean_settings import CleanSettings
from burnish.selection.corpus import CleanReport, clean
from burnish.store import tables

LOOSE = {
    "quality": {"en": {"words": [8, 1000], "stop_share": 0, "stop_words": 0}, "repetition": None},
    "boilerplate": {"documents": 3, "share": 0.3},
    "paragraphs": {"words": 5},
}
SHARED = "The keeper of the old tower told us all of this."


def corpus() -> list[Document]:
    texts = {
        "plain": f"Our shop, here.\n{prose(1)}\n\nWrite to me@mail.example.org.",
        "copy": f"our  shop, HERE.\n{prose(1)}\n\nwrite to me@mail.example.org",
        "near": f"Our shop, here.\n{prose(1)}\n\nWrite to you@mail.example.org. Thank you.",
        "short": "Far too short, says a@mail.example.org.",
        "menu": "Home | About | Contact",
        "blank": "\u200b\u3000",
        "german": "Der Fluss fließt durch die alte Stadt und dann weiter bis ans Meer. " * 2,
        "long": f"{SHARED}\n\n{prose(2, 40)}",
        "part": f"{SHARED}\n\n{prose(3)}",
        "chinese": "长江是中国最长的河流，也是亚洲的第一长河。它发源于青藏高原，流经十一个省区，"
        "最后在上海注入东海。人们在江边生活了几千年，这里有许多古老的城市，江上的船只来往不断，把货物运到各地。",
    }
    return [Document(id=name, text=text, source="web") for name, text in texts.items()]


def run(
    folder: Path, documents: list[Document], settings: object = None, part: int = 4
) -> tuple[dict[str, Document], CleanReport]:
    output = folder / "out"
    output.mkdir(exist_ok=True)
    rows = [json.dumps(vars(document), ensure_ascii=False) for document in documents]
    (folder / "in.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    chosen = CleanSettings.model_validate(LOOSE if settings is None else settings)
    means = flow.Means(part=part)
    report = clean([folder / "in.jsonl"], output, folder / "work", chosen, means=means)
    assert not (folder / "work").exists()
    return {document.id: document for document in tables.read(output, Document)}, report


def test_every_document_stays_or_goes_with_a_reason(tmp_path: Path) -> None:
    kept, report = run(tmp_path, corpus())
    assert list(kept) == ["near", "long", "part", "chinese"]
    steps = {step.name: (step.entered, step.left) for step in report.funnel}
    assert steps == {
        "normalise": (10, 9),
        "boilerplate": (9, 8),
        "language": (8, 7),
        "quality": (7, 6),
        "exact": (6, 5),
        "near": (5, 4),
        "paragraphs": (4, 4),
    }
    assert report.documents == (10, 4)
    assert report.reasons == {
        "normalise": {"empty": 1},
        "boilerplate": {"empty": 1},
        "language": {"de": 1},
        "quality": {"words": 1},
        "exact": {"exact duplicate": 1},
        "near": {"near duplicate": 1},
    }
    removed = {gone.id: gone.reason for step in report.funnel for gone in step.examples}
    assert removed["short"] == "words: 5 under 8"
    shown = [gone.text for step in report.funnel for gone in step.examples]
    assert "Far too short, says <EMAIL>." in shown
    assert removed["plain"] == "near duplicate: of near"
    assert removed["copy"] == "exact duplicate: of plain"


def test_what_stays_is_cleaned(tmp_path: Path) -> None:
    kept, report = run(tmp_path, corpus())
    assert kept["near"].text == f"{prose(1)}\n\nWrite to <EMAIL>. Thank you."
    assert kept["long"].text.startswith(SHARED)
    assert kept["part"].text == prose(3)
    assert kept["chinese"].lang == "zh"
    assert report.languages == {"en": 3, "zh": 1}
    assert report.lines == 4  # three times the shop, one menu
    assert report.paragraphs == 1
    assert report.pii == {"email": 3}
    assert report.characters[0] == sum(len(document.text) for document in corpus())
    assert report.characters[1] == sum(len(document.text) for document in kept.values())
    written = json.loads((tmp_path / "out" / "clean.json").read_text(encoding="utf-8"))
    assert written["reasons"] == report.reasons


def test_the_order_of_the_input_changes_nothing_but_the_order(tmp_path: Path) -> None:
    """C-39 for all steps together."""
    expected, _ = run(tmp_path, corpus())
    for seed in range(3):
        shuffled = corpus()
        random.Random(seed).shuffle(shuffled)
        found, _ = run(tmp_path, shuffled)
        assert found == expected
        assert list(found) == [d.id for d in shuffled if d.id in expected]


def test_the_same_corpus_again_loses_nothing_more(tmp_path: Path) -> None:
    kept, _ = run(tmp_path, corpus())
    again, report = run(tmp_path, list(kept.values()))
    assert again == kept
    assert report.documents == (4, 4)


def test_steps_that_are_off_do_nothing(tmp_path: Path) -> None:
    off = dict.fromkeys(
        ["boilerplate", "language", "quality", "pii", "near", "paragraphs"], None
    ) | {"normalise": {"mojibake": False}}
    kept, report = run(tmp_path, corpus(), off)
    assert [step.name for step in report.funnel] == ["normalise", "exact"]
    assert "copy" not in kept
    assert kept["plain"].text == corpus()[0].text
    assert len(kept) == 8


def test_a_document_that_is_only_copied_paragraphs_goes(tmp_path: Path) -> None:
    other = "And then the keeper of the tower went away for good."
    documents = [
        Document(id="all", text=f"{SHARED}\n\n{other}\n\n{prose(4)}"),
        Document(id="some", text=f"{SHARED}\n\n{other}\n\nGood bye now."),
        Document(id="none", text=f"{other}\n\n{SHARED}"),
    ]
    settings = LOOSE | {"near": None, "boilerplate": None}
    kept, report = run(tmp_path, documents, settings)
    assert list(kept) == ["all"]
    reasons = {gone.id: gone.reason for gone in report.funnel[-1].examples}
    assert reasons == {
        "some": "rest, words: 3 under 8",
        "none": "copied: every paragraph stands in longer documents",
    }


def test_nothing_left_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing is left of 1 documents: .*quality 0"):
        run(tmp_path, [Document(id="a", text="Too short to stay.")])
    assert list((tmp_path / "out").iterdir()) == []


def test_the_parts_and_who_works_on_them_change_nothing(tmp_path: Path) -> None:
    run(tmp_path, corpus())
    wanted = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert sorted(wanted) == ["clean.json", "documents.jsonl"]
    for part, workers in ((1, 1), (3, 2), (100, 1)):
        folder = tmp_path / f"{part}"
        (folder / "out").mkdir(parents=True)
        means = flow.Means(flow.Executor(workers=workers), part)
        settings = CleanSettings.model_validate(LOOSE)
        clean([tmp_path / "in.jsonl"], folder / "out", folder / "work", settings, means=means)
        assert {path.name: path.read_bytes() for path in (folder / "out").iterdir()} == wanted


def test_killed_anywhere_it_goes_on(kill_everywhere: Any, tmp_path: Path) -> None:
    """R-24: at each fault point of every file; the result is that of a run that nobody killed."""
    off = dict.fromkeys(["language", "quality", "pii", "near"], None)
    settings = CleanSettings.model_validate(LOOSE | off)
    few = [one for one in corpus() if one.id in ("plain", "copy", "part", "long")]
    run(tmp_path, few, settings)
    wanted = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def job(root: Path) -> None:
        (root / "out").mkdir(exist_ok=True)
        clean([tmp_path / "in.jsonl"], root / "out", root / "work", settings)

    def check(root: Path) -> None:
        job(root)
        assert {path.name: path.read_bytes() for path in (root / "out").iterdir()} == wanted

    assert kill_everywhere(lambda _root: None, job, check) > 60
