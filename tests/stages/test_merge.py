"""``fit.merge`` as a stage, and in a recipe with evaluation, gate and promotion."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from tests import tiny
from tests.loop.mini import recipe_value, write_recipe
from tests.stages.fits import context

from burnish.engine import SilentProgress
from burnish.evals.choices import measure
from burnish.loop.recipe import load
from burnish.loop.run import run as run_recipe
from burnish.models.load import load_model, save_model
from burnish.records import Prompt
from burnish.stages.base import Inputs, Outcome
from burnish.stages.fit import merge
from burnish.store.registry import Registry


@pytest.fixture(scope="module")
def parents(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two models; the second always says the same token, which no task likes."""
    folder = tmp_path_factory.mktemp("parents")
    good, bad = tiny.model(seed=0), tiny.model(seed=0)
    with torch.no_grad():
        bad.model.norm.weight.zero_()
    return [
        str(save_model(model, tiny.tokenizer(), folder / name))
        for name, model in (("good", good), ("bad", bad))
    ]


def searched(folder: Path, parents: list[str], search: dict[str, object]) -> tuple[Outcome, Path]:
    """A search by which option the good model prefers; its outcome and folder. The bad one finds
    both alike and takes the first."""
    good = load_model(parents[0])
    question = [{"role": "user", "content": "hello"}]
    verify = {"kind": "choice", "choices": ["zzz", "qqq"], "gold": 1}
    item = Prompt(id="a", messages=question, verify=verify)
    first, second = (one["logprob"] for one in measure(good.model, good.tokenizer, [item])[0])
    verify["choices"] = ["qqq", "zzz"] if first > second else ["zzz", "qqq"]
    row = {"id": "a", "messages": question, "verify": verify}
    (folder / "dev.jsonl").write_text(json.dumps(row) + "\n")
    config = merge.Config(
        model=parents[0], parents=parents, search=search,
        tasks=[{"name": "dev", "data": [str(folder / "dev.jsonl")]}],
    )  # fmt: skip
    place = context(folder)
    found = {"model": [parents[0]], "tasks.0.data.0": [str(folder / "dev.jsonl")]}
    found |= {f"parents.{at}": [ref] for at, ref in enumerate(parents)}
    return merge.run(config, Inputs(found), place), place.output


def test_a_search_finds_the_good_parent_and_resumes(
    parents: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome, output = searched(tmp_path, parents, {"kind": "grid", "steps": 2, "budget": 3})
    trials = {tuple(t["weights"]): t["score"] for t in outcome.details["trials"]}
    assert trials[0.0, 1.0] == 0
    assert trials[1.0, 0.0] == 1
    assert outcome.figures["trials"].value == 3
    assert outcome.figures["search_score"].value == 1
    assert load_model(output).model is not None
    # What was scored is not scored again.
    again = tmp_path / "again"
    again.mkdir()
    (again / "scratch").mkdir()
    log = (tmp_path / "scratch" / merge.TRIALS).read_text()
    (again / "scratch" / merge.TRIALS).write_text(log)
    monkeypatch.setattr(merge, "load_model", None)
    resumed, _ = searched(again, parents, {"kind": "grid", "steps": 2, "budget": 3})
    assert resumed.details["trials"] == outcome.details["trials"]


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({}, "nothing to merge"),
        ({"parents": ["@a"], "search": {}}, "search and tasks go together"),
        (
            {"parents": ["@a"], "search": {}, "merge": {"weights": [1]},
             "tasks": [{"name": "dev", "data": "x"}]},
            "search finds merge.weights",
        ),
    ],
)  # fmt: skip
def test_bad_configs(settings: dict[str, object], found: str) -> None:
    with pytest.raises(ValidationError, match=found):
        merge.Config.model_validate(settings)


def test_a_merge_is_evaluated_gated_and_registered(tmp_path: Path) -> None:
    value = recipe_value(tmp_path)
    tasks = {"tasks": [{"name": "capitals", "data": "eval.jsonl"}],
             "sampling": {"max_new_tokens": 4, "temperature": 0}}  # fmt: skip
    sft = value["prepare"]["sft"] | {"model": "@base"}
    value["prepare"] = {"first": sft, "second": sft | {"label_smoothing": 0.1}}
    value["round"] = {
        "merge": {"run": "fit.merge", "parents": ["@first", "@second"],
                  "merge": {"method": "ties", "density": 0.5}},
        "before": {"run": "measure.evaluate", "model": "@champion", **tasks},
        "after": {"run": "measure.evaluate", "model": "@merge", **tasks},
        "gate": {"run": "measure.gate", "before": "@before", "after": "@after",
                 "policy": {"target": ["capitals"]}},
        "promote": {"run": "release.promote", "verdict": "@gate", "model": "@merge"},
    }  # fmt: skip
    value["rounds"] = {"count": 1, "champion": "@first"}
    value["figures"] = {}
    recipe = load(write_recipe(tmp_path, value), [])
    run_recipe(recipe, tmp_path / "runs", progress=SilentProgress())
    with Registry(tmp_path / "runs" / "registry.sqlite") as registry:
        entry = registry.get("merge@1")
        made_of = [ancestor.ref for ancestor in registry.lineage("merge", 1)]
        assert made_of == ["first@1", "second@1"]
        assert [v.candidate for v in registry.verdicts()] == ["merge@1"]
    card = (Path(entry.path) / "README.md").read_text()
    assert "| method | ties |" in card
    assert "| parents.1 | second@1 |" in card
    assert "| weights | [1.0, 1.0] |" in card
