"""``fit.experts`` and ``fit.router``: what is made, what is trained, what is told of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from tests import tiny
from tests.stages.fits import context

from burnish.config import InputError
from burnish.engine import TrainSettings
from burnish.merging.experts import assemble, open_experts
from burnish.merging.gates import random_gates
from burnish.merging.settings import ExpertSettings
from burnish.models.load import save_model
from burnish.records import Document, Example
from burnish.reporting.alarms import sentence
from burnish.stages.base import Inputs, Outcome
from burnish.stages.fit import experts, router
from burnish.stages.fit.router import collapses
from burnish.store import tables

GATE = "model.layers.0.block_sparse_moe.gate.weight"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models and two kinds of text."""
    place = tmp_path_factory.mktemp("experts")
    for seed in range(2):
        save_model(tiny.model(seed=seed), tiny.tokenizer(), place / f"m{seed}")
    for name, text in (("hello", "hello the hello "), ("digits", "1234 4321 ")):
        documents = [Document(id=f"{name}{n}", text=text * (n % 3 + 2)) for n in range(20)]
        tables.write(place / f"{name}.jsonl", documents)
    return place


def mixture(folder: Path, out: Path, top_k: int = 2) -> str:
    refs = [str(folder / f"m{seed}") for seed in range(2)]
    settings = ExpertSettings(top_k=top_k, gate="random")
    assemble(open_experts(refs, refs[0], settings), random_gates(2, 2, 32, 0.3, 0), settings, out)
    return str(out)


def trained(folder: Path, place: Path, model: str, **told: object) -> tuple[Outcome, Path]:
    files = [str(folder / f"{name}.jsonl") for name in ("hello", "digits")]
    settings = {"heldout": 0.2, "train": TrainSettings(
        learning_rate=0.05, epochs=4, segments_per_step=8, warmup=0.0)}  # fmt: skip
    config = router.Config.model_validate({"model": "m", "data": files, **settings, **told})
    own = context(place)
    return router.run(config, Inputs({"model": [model], "data": files}), own), own.output


def test_texts_begin_the_router(folder: Path, tmp_path: Path) -> None:
    refs = [str(folder / f"m{seed}") for seed in range(2)]
    prompts = [str(folder / f"{name}.jsonl") for name in ("hello", "digits")]
    place = context(tmp_path)
    config = experts.Config(model=refs[0], parents=refs, prompts=prompts)
    found = experts.run(
        config, Inputs({"model": refs[:1], "parents": refs, "prompts": prompts}), place
    )
    assert found.kind == "model"
    assert found.details["architecture"] == "mixtral"
    gate = load_file(place.output / "model.safetensors")[GATE]
    assert gate.norm(dim=1).allclose(torch.ones(2))
    assert "| experts | 2 |" in (place.output / "README.md").read_text()


def test_only_routers_are_trained_and_the_loss_falls(folder: Path, tmp_path: Path) -> None:
    before = mixture(folder, tmp_path / "moe")
    found, out = trained(folder, tmp_path, before)
    old, new = (load_file(Path(place) / "model.safetensors") for place in (before, out))
    gates = {name for name in old if name.endswith("gate.weight")}
    assert {name for name in old if not old[name].equal(new[name])} == gates
    figures = found.figures
    assert figures["heldout_nll_after"].value < figures["heldout_nll_before"].value - 0.01
    assert figures["load_min_after"].value == pytest.approx(1)  # both of two are always chosen
    assert found.details["loads"] == [[0.5, 0.5], [0.5, 0.5]]
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {"nll", "balance", "router_z", "router_entropy", "load.1.0"} <= rows[0].keys()
    first = rows[0]
    auxiliary = 0.01 * first["balance"] + 0.001 * first["router_z"]
    assert first["loss"] == pytest.approx(first["nll"] + auxiliary, rel=1e-5)


def test_layers_that_are_computed_again_change_nothing(folder: Path, tmp_path: Path) -> None:
    gates = []
    for name, again in (("once", False), ("again", True)):
        (tmp_path / name).mkdir()
        model = mixture(folder, tmp_path / name / "moe")
        train = {"max_steps": 2, "learning_rate": 0.05, "segments_per_step": 8,
                 "extras": {"checkpoint_activations": again}}  # fmt: skip
        _, out = trained(folder, tmp_path / name, model, parts="experts", train=train)
        gates.append(load_file(out / "model.safetensors")[GATE])
    assert gates[0].allclose(gates[1], atol=1e-6)


def test_experts_can_be_trained_with_their_routers(folder: Path, tmp_path: Path) -> None:
    before = mixture(folder, tmp_path / "moe", top_k=1)
    _, out = trained(folder, tmp_path, before, parts="experts")
    old, new = (load_file(Path(place) / "model.safetensors") for place in (before, out))
    moved = {name for name in old if not old[name].equal(new[name])}
    assert moved == {name for name in old if ".block_sparse_moe." in name}


def test_balance_spreads_the_load(folder: Path, tmp_path: Path) -> None:
    before = mixture(folder, tmp_path / "moe", top_k=1)
    found, _ = trained(folder, tmp_path, before, parts="experts", balance=1.0, z=0)
    assert found.figures["balance_after"].value < found.figures["balance_before"].value
    assert found.figures["load_min_after"].value > found.figures["load_min_before"].value


def test_examples_train_a_router_too(folder: Path, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    tables.write(tmp_path / "e.jsonl", [Example(id=str(n), messages=turns) for n in range(9)])
    model, files = mixture(folder, tmp_path / "moe"), [str(tmp_path / "e.jsonl")]
    config = router.Config(model="m", examples=files, heldout=0.3,
                           train=TrainSettings(max_steps=2, segments_per_step=2))  # fmt: skip
    found = router.run(config, Inputs({"model": [model], "examples": files}), context(tmp_path))
    assert found.figures["steps"].value == 2


def test_an_expert_without_work_raises_an_alarm() -> None:
    alarms = collapses([[0.25, 0.75], [0.96, 0.04]], limit=0.1)
    assert [(one["layer"], one["expert"]) for one in alarms] == [(1, 1)]
    assert "Layer 1: expert 1 gets 8.0% of an even share" in sentence(alarms[0], "en")
    assert "第 1 层" in sentence(alarms[0], "zh")


def test_what_cannot_be_trained_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'llama' has no routers"):
        trained(folder, tmp_path, str(folder / "m0"))
    single = mixture(folder, tmp_path / "moe", top_k=1)
    (tmp_path / "output").rmdir()
    with pytest.raises(InputError, match="always has the weight 1"):
        trained(folder, tmp_path, single)
    with pytest.raises(ValidationError, match="nothing to train on"):
        router.Config(model="m")


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ({"parents": ["a", "b"]}, "found 0 files, expected 2, one for each expert"),
        ({"parents": ["a", "b"], "prompts": ["x"], "experts": {"gate": "zero"}}, "expected none"),
    ],
)
def test_bad_configs(told: dict[str, object], found: str) -> None:
    with pytest.raises(ValidationError, match=found):
        experts.Config.model_validate(told)
