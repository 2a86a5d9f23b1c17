from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.routing.test_router import asked, response

from burnish.cli.main import invoke
from burnish.evals import tasks
from burnish.records import Prompt
from burnish.routing.router import read
from burnish.store import manifest, tables


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("results")
    for name, fails in (("small", True), ("large", False)):
        found = [
            response(text, text, "wrong" if hard and fails else "right", 10)
            for text, hard in asked(60)
        ]
        tasks.write(folder / name / "responses.jsonl", found)
    return [str(folder / "small"), str(folder / "large")]


def test_train_and_eval(
    results: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "router")
    shared = ["--price", "1", "--price", "4", *[p for r in results for p in ("--results", r)]]
    told = ["--margin", "0.3", "--set", "heldout=0.4", "--json"]
    assert invoke(["route", "train", "small", "large", *shared, "--out", out, *told]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["ways"]["router"]["quality"]["value"] == 1
    assert shown["ways"]["router"]["saved"]["value"] > 0.2
    assert shown["trained"] + shown["prompts"] == 60
    manifest.verify(out)
    assert read(Path(out)).settings.margin == 0.3
    assert "<svg" in (tmp_path / "router" / "curve.html").read_text()
    page = tmp_path / "page.html"
    told = ["--margin", "1", "--page", str(page), "--json"]
    assert invoke(["route", "eval", out, *shared, *told]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["shares"] == {"small": 1.0, "large": 0.0}
    assert page.is_file()
    assert invoke(["route", "eval", out, *shared]) == 0
    said = capsys.readouterr().out
    assert "- largest" in said
    assert "60 prompts" in said


def test_models_are_evaluated_where_no_results_are_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items = [
        Prompt(id=f"i{n}", messages=[{"role": "user", "content": f"What is {n}?"}],
               verify={"kind": "answer", "answers": [str(n)]})
        for n in range(8)
    ]  # fmt: skip
    tables.write(tmp_path / "dev.jsonl", items)
    for name in ("a", "b"):  # a run's place: the same shipped model twice
        (tmp_path / name).symlink_to(_shipped())
    models = [str(tmp_path / name) for name in ("a", "b")]
    told = ["--price", "1", "--price", "2", "--tasks", str(tmp_path / "dev.jsonl"), "--json",
            "--set", "heldout=0.5"]  # fmt: skip
    out = tmp_path / "router"
    assert invoke(["route", "train", *models, *told, "--out", str(out)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["ways"]["largest"]["quality"] == shown["ways"]["smallest"]["quality"]
    assert shown["ways"]["smallest"]["saved"]["value"] == pytest.approx(0.5)
    assert not list(tmp_path.glob(".router*"))


def _shipped() -> Path:
    from importlib.resources import files

    return Path(str(files("burnish") / "assets" / "tiny"))


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (["--price", "1", "--price", "1"], "neither given"),
        (["--price", "1", "--results", "R", "--results", "R"], "price: 1 for 2 models"),
        (["--price", "1", "--price", "1", "--results", "R"], "results: 1 for 2 models"),
        (["--price", "1", "--price", "1", "--results", "R", "--tasks", "x"], "both given"),
    ],
)
def test_bad_requests(
    results: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    told: list[str],
    found: str,
) -> None:
    given = [results[0] if part == "R" else part for part in told]
    out = str(tmp_path / "out")
    assert invoke(["route", "train", "small", "large", *given, "--out", out]) == 2
    assert re.search(found, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_serve_takes_only_a_router_of_its_models(
    results: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "router")
    shared = ["--price", "1", "--price", "4", *[p for r in results for p in ("--results", r)]]
    assert invoke(["route", "train", "small", "large", *shared, "--out", out]) == 0
    assert invoke(["serve", "small", "other", "--router", out]) == 2
    assert "routes between small, large" in capsys.readouterr().err
    assert invoke(["serve", "small", "large", "--router", out, "--split", "1,2"]) == 2
    assert "given with --router" in capsys.readouterr().err
