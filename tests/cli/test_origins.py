"""Lineage, differences and cards of models that a short loop has made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from tests.loop.mini import recipe_value, write_recipe
from tests.loop.rounds import SURE, one_fit

from burnish.cli.main import invoke
from burnish.loop.recipe import load
from burnish.loop.run import run
from burnish.reporting.graph import Node, columns, graph


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose first round is promoted and whose second is not."""
    folder = tmp_path_factory.mktemp("origins")
    value = recipe_value(folder)
    fit = {"run": "fit.sft", "data": ["sft.jsonl"], "train": SURE}
    recipe = write_recipe(folder, one_fit(value, "traced", fit, count=2))
    run(load(recipe), folder / "runs")
    return folder / "runs"


def said(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    capsys.readouterr()
    code = invoke(args)
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out


def test_any_model_leads_to_data_recipe_parents_evaluation_and_verdict(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = json.loads(said(capsys, "models", "show", "champion", "--runs", str(runs), "--json"))
    assert shown["ref"] == "fit@1"
    assert shown["made_from"] == ["sft@1"]
    assert shown["recipe"] == {"name": "traced", "seed": 0, "model": "model"}
    assert list(shown["data"]) == ["@base", "sft.jsonl"]
    assert shown["evaluation"]["capitals"]["value"] > 0.5
    assert shown["verdicts"][0]["decision"] == "promoted"


def test_lineage_as_a_tree_and_as_a_page(
    runs: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = tmp_path / "lineage.html"
    tree = said(capsys, "models", "lineage", "fit@2", "--runs", str(runs), "--html", str(page))
    order = [tree.index(ref) for ref in ("fit@2", "fit@1", "sft@1")]
    assert order == sorted(order)
    html = page.read_text(encoding="utf-8")
    assert html.count("<rect") == 5
    assert "fit.sft, round 2" in html


def test_what_differs_between_two_versions(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "models", "diff", "fit@1", "fit@2", "--runs", str(runs))
    assert "input model: content changed" in text
    assert "capitals" in text
    same = json.loads(
        said(capsys, "models", "diff", "fit@1", "fit@1", "--runs", str(runs), "--json")
    )
    assert same["stages"] == {}


def test_the_card_is_in_the_hub_s_form_and_filled_in(
    runs: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    written = (runs / "cards" / "fit@1.md").read_text(encoding="utf-8")
    path = tmp_path / "README.md"
    args = ["models", "export-card", "champion", "--license", "apache-2.0", "--out", str(path)]
    said(capsys, *args, "--runs", str(runs))
    data = ModelCard(path.read_text(encoding="utf-8")).data
    assert (data.base_model, data.license, data.datasets) == ("model", "apache-2.0", ["sft.jsonl"])
    results = {result.dataset_name: result.metric_value for result in data.eval_results}
    assert results["capitals"] > 0.5
    for text in (written, path.read_text(encoding="utf-8")):
        assert "**promoted**" in text
        assert "No task measured safety." in text
        assert "Measured on fewer than 100 items: capitals." in text


def test_columns_follow_the_furthest_parent() -> None:
    edges = [("c", "a"), ("c", "b"), ("b", "a"), ("c", "outside")]
    assert columns(["a", "b", "c"], edges) == {"a": 0, "b": 1, "c": 2}
    drawn = graph({name: Node(f"<{name}>") for name in "abc"}, edges, "x")
    assert drawn.count("<path") == 3
    assert "&lt;a&gt;" in drawn
    with pytest.raises(ValueError, match="circle"):
        columns(["a", "b"], [("a", "b"), ("b", "a")])


def test_a_run_without_a_gate_can_be_registered(burnish: Any, runs: Path) -> None:
    done = burnish("models", "register", "traced/sft@1", "--runs", str(runs))
    assert done.out.startswith("sft@1: ")
    assert burnish("models", "register", "burnish-tiny", "--runs", str(runs)).code == 2
