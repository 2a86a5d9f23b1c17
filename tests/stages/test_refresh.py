"""fit.reward with ``refresh``: the last reward model is kept while it ranks fresh pairs well."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.stages.fits import context, saved_model
from tests.stages.test_reward import hash_of, other, record

from burnish.records import Preference
from burnish.rewards.reward_model import RewardModel
from burnish.stages.base import Inputs, Outcome
from burnish.stages.fit import reward
from burnish.stages.refresh import PAIRS
from burnish.store import manifest, tables

OLD = [record(n) for n in range(16)]
AGREE = [other(n) for n in range(40, 52)]
"""Fresh pairs in which "hello" is better, as in the old ones."""
CONTRADICT = [replace(one, chosen=one.rejected, rejected=one.chosen) for one in AGREE]


def fitted(
    folder: Path, fresh: list[Preference], last: Path | None, bound: float = 0.75
) -> Outcome:
    folder.mkdir()
    tables.write(folder / "old.jsonl", OLD)
    tables.write(folder / "fresh.jsonl", fresh)
    named = {"model": [saved_model(folder)], "data": [str(folder / "old.jsonl")],
             "refresh.data": [str(folder / "fresh.jsonl")]}  # fmt: skip
    if last is not None:
        named["refresh.model"] = [str(last)]
    config = reward.Config.model_validate(
        {
            "model": "m", "data": ["d"], "heldout": 0.3,
            "refresh": {"model": "@reward", "data": ["f"], "bound": bound},
            "train": {"max_steps": 15, "learning_rate": 3e-3, "segments_per_step": 8, "epochs": 9},
        }
    )  # fmt: skip
    made = reward.run(config, Inputs(named), context(folder))
    record_of(folder / "output", made)
    return made


def record_of(folder: Path, made: Outcome) -> None:
    """The record that the loop leaves beside what a stage made, and its seal."""
    figures = {name: vars(figure) for name, figure in made.figures.items()}
    content = {"figures": figures, "details": made.details}
    (folder / "artifact.json").write_text(json.dumps(content))
    manifest.seal(folder)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """The first round: there is no model yet, so that one is trained on old and fresh pairs."""
    folder = tmp_path_factory.mktemp("refresh") / "first"
    made = fitted(folder, [OLD[0], *AGREE[:4]], None)
    return folder / "output", made


def test_the_first_round_trains_on_each_pair_once(first: tuple[Path, Outcome]) -> None:
    folder, made = first
    pairs = tables.read(folder / PAIRS, Preference)
    assert [pair.id for pair in pairs] == [pair.id for pair in [*OLD, *AGREE[:4]]]
    assert made.details["pairs"] + made.details["heldout"] == 20
    assert "refresh" not in made.details
    assert "fresh_accuracy" not in made.figures


def test_a_model_that_ranks_fresh_pairs_is_kept(
    first: tuple[Path, Outcome], tmp_path: Path
) -> None:
    last, before = first
    made = fitted(tmp_path / "second", AGREE, last)
    refresh: dict[str, Any] = made.details["refresh"]
    assert refresh["kept"] is True
    # Four of the twelve were trained on in the round before and say nothing.
    assert (refresh["accuracy"]["value"], refresh["accuracy"]["n"]) == (1.0, 8)
    assert made.figures["fresh_accuracy"].n == 8
    assert made.figures["heldout_accuracy"] == before.figures["heldout_accuracy"]
    assert "steps" not in made.figures
    assert hash_of(tmp_path / "second" / "output") == hash_of(last)
    assert made.details["sets"] == before.details["sets"]


def test_a_model_that_has_fallen_behind_is_trained_anew(
    first: tuple[Path, Outcome], tmp_path: Path
) -> None:
    last, _ = first
    made = fitted(tmp_path / "second", CONTRADICT[4:], last)
    folder = tmp_path / "second" / "output"
    assert made.details["refresh"]["kept"] is False
    assert made.figures["fresh_accuracy"].value == 0.0
    assert made.figures["steps"].value > 0
    assert hash_of(folder) != hash_of(last)
    pairs = tables.read(folder / PAIRS, Preference)
    assert [pair.id for pair in pairs[:20]] == [pair.id for pair in [*OLD, *AGREE[:4]]]
    assert len(pairs) == 28
    assert RewardModel.load(folder, "cpu").spread([(OLD[0].prompt, "ant")]) == [0.0]


def test_without_a_fresh_pair_nothing_says_that_it_fell_behind(
    first: tuple[Path, Outcome], tmp_path: Path
) -> None:
    made = fitted(tmp_path / "second", AGREE[:4], first[0], bound=1.0)
    assert made.details["refresh"] == {
        "kept": True, "accuracy": None, "bound": 1.0, "model": "output",
    }  # fmt: skip
    assert "fresh_accuracy" not in made.figures
