from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.cleaning.texts import prose

TEXT = prose(0, 60)
GERMAN = "Der Fluss fließt durch die alte Stadt und dann weiter bis ans Meer. " * 3


def write(*texts: str) -> None:
    rows = (json.dumps({"id": f"d{i}", "text": text}) for i, text in enumerate(texts))
    Path("pages.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")


def test_a_corpus_is_written_and_the_funnel_shown(burnish: Any) -> None:
    write(f"{TEXT}\nWrite to a@mail.example.org.", "Home | About | Contact", GERMAN)
    done = burnish("data", "clean", "pages.jsonl", "-o", "corpus")
    assert done.code == 0, done.err
    assert "language: de: none of those to keep" in done.out
    assert "personal data replaced: email 1" in done.out
    assert "wrote corpus" in done.out
    assert sorted(path.name for path in Path("corpus").iterdir()) == [
        "clean.json", "documents.jsonl"
    ]  # fmt: skip
    stats = json.loads(burnish("data", "stats", "corpus", "--json").out)
    assert (stats["kind"], stats["records"], stats["bad rows"]) == ("document", 1, 0)


def test_json_and_settings(burnish: Any) -> None:
    write(TEXT, GERMAN, "This one is short, but it is to be kept by all of these rules.")
    options = ["--set", "language=null", "--set", "quality.en.words=[5, 1000]"]
    options += ["--set", "quality.en.stop_words=0", "--set", "quality.en.stop_share=0"]
    options += ["--set", "quality.repetition=null"]
    done = burnish("data", "clean", "pages.jsonl", "-o", "corpus", "--json", *options)
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["funnel"][-1]["left"] == 3
    assert [step["name"] for step in report["funnel"]][:3] == [
        "normalise", "boilerplate", "quality"
    ]  # fmt: skip


def test_bad_words_of_a_file(burnish: Any) -> None:
    write(TEXT, TEXT.replace("island", "casino"))
    Path("words.txt").write_text("casino\n")
    named = ["--set", "quality.bad_words=words.txt", "--set", "near=null"]
    report = json.loads(burnish("data", "clean", "pages.jsonl", "-o", "a", "--json", *named).out)
    assert report["reasons"]["quality"] == {"a bad word": 1}
    gone = burnish("data", "clean", "pages.jsonl", "-o", "b", "--set", "quality.bad_words=no.txt")
    assert gone.code == 2
    assert "no.txt" in gone.err


def test_errors_leave_no_folder(burnish: Any) -> None:
    write(TEXT)
    unknown = burnish("data", "clean", "pages.jsonl", "-o", "corpus", "--set", "pi=null")
    assert unknown.code == 2
    assert "--set:pi: unknown key" in unknown.err
    assert burnish("data", "clean", "gone.jsonl", "-o", "corpus").code == 2
    assert not [path for path in Path().iterdir() if "corpus" in path.name]
    Path("corpus").mkdir()
    assert "exists already" in burnish("data", "clean", "pages.jsonl", "-o", "corpus").err
