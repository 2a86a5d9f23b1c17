from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from tests.review.desks import make_run, pair, say, turn

from burnish.cli.main import invoke
from burnish.cli.review_commands import as_csv
from burnish.config import EXIT_INPUT
from burnish.records import Preference
from burnish.review.desk import Desk, place
from burnish.store import tables


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    pairs = [pair(n, "yes", "no", probability=0.6) for n in range(30)]
    return make_run(tmp_path / "runs" / "demo", pairs)


def told(*args: str, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    assert invoke(["review", *args, "--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_from_the_desk_to_records_and_labels(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gold = Preference(id="k", prompt=[turn("2 + 2?")], chosen=[turn("4", "assistant")],
                      rejected=[turn("5", "assistant")])  # fmt: skip
    tables.write(tmp_path / "known.jsonl", [gold])
    asked = ("--gold", "known.jsonl", "--set", "most=20", "--set", "spot=1")
    assert told("open", "demo", *asked, capsys=capsys) == {"new": 20}
    assert told("open", "demo", *asked, capsys=capsys) == {"new": 0}
    with Desk(place(run)) as desk:
        for name in ("=ann", "bob"):
            desk.add_reviewer(name)
            for item in desk.take(name, 99):
                say(desk, name, item, item.machine or "tie")
    found = told("status", "demo", capsys=capsys)
    assert found["progress"]["decided"] == 20  # type: ignore[index]
    assert found["machine"]["usable"] is True  # type: ignore[index]
    assert found["agreement"]["people"]["value"] == 1.0  # type: ignore[index]
    assert invoke(["review", "status", "demo"]) == 0
    assert "the machine's labels may be used by 19 spot checks" in capsys.readouterr().out

    files = ("--out", "people.jsonl", "--labels", "labels.jsonl", "--audit", "audit.csv")
    assert told("export", "demo", *files, capsys=capsys) == {
        "pairs": 19, "replies": 0, "items": 19, "left_out": {"gold": 1}, "labels": 19,
    }  # fmt: skip
    made = tables.read(tmp_path / "people.jsonl", Preference)
    assert {one.annotators for one in made} == {("=ann", "bob")}
    assert {one.chosen[0]["content"] for one in made} == {"yes"}
    # What is written is what `data agree` reads.
    asked = ("labels.jsonl", "--annotators", "=ann,bob", "--judge", "machine", "--require")
    assert invoke(["data", "agree", *asked]) == 0
    capsys.readouterr()
    assert invoke(["review", "export", "demo", *files]) == EXIT_INPUT  # nothing is written over
    assert "exists already" in capsys.readouterr().err


def test_no_cell_is_a_formula(run: Path) -> None:  # S-25
    odd = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "plain", '=HYPERLINK("http://x","y")']
    rows = [{"sequence": n, "who": text} for n, text in enumerate(odd)]
    back = [row["who"] for row in csv.DictReader(as_csv(rows).splitlines())]
    assert [text[0] for text in back if text != "plain"] == ["'"] * 7
    assert [text.removeprefix("'") for text in back] == odd
    assert next(csv.DictReader(as_csv(rows[:1]).splitlines()))["sequence"] == "0"


def test_what_is_missing_is_said(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("status", "export"):
        assert invoke(["review", command, "demo"]) == EXIT_INPUT
        assert "no review yet" in capsys.readouterr().err
    assert not place(run).exists()
    assert invoke(["review", "open", "demo"]) == 0
    assert invoke(["review", "export", "demo", "--out", "x.jsonl"]) == EXIT_INPUT
    assert "nobody decided anything yet" in capsys.readouterr().err
    assert invoke(["review", "open", "nothing"]) == EXIT_INPUT
