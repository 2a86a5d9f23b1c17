"""``curate.clean`` as a stage, and its output as the corpus of another one."""

from __future__ import annotations

from pathlib import Path

from tests.stages.fits import context

from burnish.config import references
from burnish.records import Document
from burnish.stages.base import Inputs
from burnish.stages.curate.clean import Config, run
from burnish.store import tables

TEXT = "The captain of the ship and the doctor of the village have to talk to the teacher."
LOOSE = {"quality": {"en": {"words": [6, 1000]}, "repetition": None}}


def test_a_folder_of_documents_and_the_report(tmp_path: Path) -> None:
    texts = [
        TEXT,
        f"{TEXT} Write to a@mail.example.org.",
        "This is much too short.",
        "坏的 " + TEXT,
    ]
    records = [Document(id=str(i), text=text) for i, text in enumerate(texts)]
    tables.write(tmp_path / "pages.jsonl", records)
    (tmp_path / "words.txt").write_text("坏的\n", encoding="utf-8")
    settings = {**LOOSE, "near": None}
    settings["quality"] = {**LOOSE["quality"], "bad_words": "words.txt"}
    config = Config.model_validate({"documents": ["pages.jsonl"], "clean": settings})
    found = references(config)
    named = {".".join(map(str, path)): [str(tmp_path / ref)] for path, ref, _ in found}
    outcome = run(config, Inputs(named), context(tmp_path))
    assert outcome.kind == "data"
    assert {name: figure.value for name, figure in outcome.figures.items()} == {
        "documents_before": 4,
        "documents_after": 2,
        "characters_before": sum(map(len, texts)),
        "characters_after": len(TEXT) + len(f"{TEXT} Write to <EMAIL>."),
    }
    assert outcome.details["reasons"]["quality"] == {"words": 1, "a bad word": 1}
    # The whole folder is a corpus: the report in it is no data.
    corpus = tables.read(tmp_path / "output", Document)
    assert [document.text for document in corpus] == [TEXT, f"{TEXT} Write to <EMAIL>."]
