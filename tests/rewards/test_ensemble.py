"""Reward ensembles: aggregates by hand, folders, and what does not go together."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests import tiny

from burnish.config import InputError
from burnish.models.heads import ScalarHead
from burnish.rewards import ensemble
from burnish.rewards.candidates import Candidate
from burnish.rewards.ensemble import Aggregate
from burnish.rewards.reward_model import RewardModel
from burnish.rewards.scorers import Resources, ScorerSettings, find
from burnish.store import manifest

PAIRS = [([{"role": "user", "content": f"Say {n}."}], reply) for n, reply in enumerate("ab")]


def member(seed: int, names: tuple[str, ...] = ("score",)) -> RewardModel:
    torch.manual_seed(seed)
    return RewardModel(tiny.model(seed), tiny.tokenizer(), ScalarHead(32, names, std=0.5))


def several(aggregate: Aggregate | None = None, names: tuple[str, ...] = ("score",)) -> RewardModel:
    first, *others = (member(seed, names) for seed in range(3))
    offsets = [[0.5 * number] * len(names) for number in range(3)]
    return RewardModel(
        first.model, first.tokenizer, first.head, {}, tuple(others), offsets,
        aggregate or Aggregate(),
    )  # fmt: skip


def test_aggregates() -> None:
    scores = torch.tensor([[1.0, 3.0], [2.0, 2.0]])
    assert Aggregate().of(scores).tolist() == [2.0, 2.0]
    assert Aggregate(kind="min").of(scores).tolist() == [1.0, 2.0]
    assert Aggregate(kind="lower", k=0.5).of(scores).tolist() == [1.5, 2.0]
    for kind in ("mean", "min", "lower"):
        broken = Aggregate(kind=kind).of(torch.tensor([[1.0, math.nan]]))
        assert broken.isnan().all()  # a broken member is never outvoted in silence


@given(st.floats(-100, 100), st.floats(0, 5))
def test_an_ensemble_of_one_is_its_member(score: float, k: float) -> None:
    one = torch.tensor([[score]])
    for kind in ("mean", "min", "lower"):
        assert Aggregate(kind=kind, k=k).of(one).item() == one.item()


def test_members_are_combined_after_their_own_level_is_taken_off() -> None:
    model = several(Aggregate(kind="min"))
    alone = [member(seed).score(PAIRS) for seed in range(3)]
    levelled = [[s - 0.5 * number for s in row] for number, row in enumerate(alone)]
    assert model.score(PAIRS) == pytest.approx([min(row) for row in zip(*levelled, strict=True)])
    (first, _) = model.spread(PAIRS)
    values = [row[0] for row in levelled]
    mean = sum(values) / 3
    assert first == pytest.approx(math.sqrt(sum((v - mean) ** 2 for v in values) / 3), abs=1e-5)
    assert member(0).spread(PAIRS) == [0.0, 0.0]


def test_a_saved_ensemble_is_the_same_and_its_folder_loads_alone(tmp_path: Path) -> None:
    model = several(names=("helpful", "harmless"))
    folder = model.save(tmp_path / "rm")
    manifest.verify(folder)
    again = RewardModel.load(folder, "cpu", {"harmless": 2.0}, Aggregate(kind="lower", k=1.0))
    assert len(again.members) == 3
    each = again.outputs(PAIRS)
    assert torch.allclose(each, model.outputs(PAIRS), atol=1e-5)
    twice = 2 * each[..., 1]
    expected = twice.mean(1) - twice.std(1, correction=0)
    assert again.score(PAIRS) == pytest.approx(expected.tolist())
    assert again.score_each(PAIRS)[0]["harmless"] == pytest.approx(expected[0].item() / 2)
    alone = RewardModel.load(folder / "members" / "2", "cpu")
    assert alone.score(PAIRS) == pytest.approx(member(2, ("helpful", "harmless")).score(PAIRS))


def test_scorers_take_the_aggregate_and_do_not_mistake_one_for_another() -> None:
    candidate = Candidate("c", *PAIRS[0])
    found, marks = [], set()
    for kind in ("mean", "min"):
        model = several(Aggregate(kind=kind))
        resources = Resources(None, None, reward_model=model)
        (value,) = find("reward_model").values([candidate], ScorerSettings(), resources)
        assert value == pytest.approx(1 / (1 + math.exp(-model.score(PAIRS[:1])[0])))
        found.append(value)
        marks.add(find("reward_model").fingerprint(ScorerSettings(), resources))
    assert found[1] < found[0]
    assert len(marks) == 2


def test_members_of_different_objectives_are_refused(tmp_path: Path) -> None:
    folder = several().save(tmp_path / "rm")
    ScalarHead(32, ("honest",)).save(folder / "members" / "1")
    manifest.seal(folder / "members" / "1")
    manifest.seal(folder)
    with pytest.raises(InputError, match=r"member 1 scores honest.*score, as the first"):
        RewardModel.load(folder, "cpu")


@pytest.mark.parametrize("text", ["{}", "[]", '{"offsets": [["a"]]}', "{"])
def test_a_damaged_list_of_members_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / ensemble.SETTINGS).write_text(text)
    with pytest.raises(InputError, match=r"ensemble\.json"):
        ensemble.offsets(tmp_path)


def test_offsets_that_are_not_of_this_head_are_refused(tmp_path: Path) -> None:
    folder = several().save(tmp_path / "rm")
    settings = json.loads((folder / ensemble.SETTINGS).read_text())
    ensemble.seal(folder, [[*row, 1.0] for row in settings["offsets"]])
    with pytest.raises(InputError, match="1 numbers for each member"):
        RewardModel.load(folder, "cpu")
