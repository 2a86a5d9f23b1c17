"""C-07: two processes run the stages that compute with the model between steps as one does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.engine.several import torchrun
from tests.engine.test_ranks import alike, furthest
from tests.stages import several

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left, after one had left a checkpoint for them."""
    place = tmp_path_factory.mktemp("several")
    several.write(place)
    assert "after step 5 of 12" in several.cut("ppo", place, place / "one")
    torchrun("tests.stages.several", str(place), folder=ROOT)
    return place


@pytest.fixture(scope="module")
def both(folder: Path) -> list[dict[str, Any]]:
    """What each of the two processes found."""
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


NAMES = ("grpo", "ppo", "hybrid", "online_dpo", "kto", "distilled", *several.DIVIDED)


@pytest.fixture(scope="module")
def one(folder: Path) -> dict[str, several.Done]:
    """What a single process makes of the same."""
    return {name: several.run(name, folder, folder / "alone" / name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_run_a_stage_as_one_does(
    name: str, both: list[dict[str, Any]], one: dict[str, several.Done]
) -> None:
    # C-07. The rows have rewards, lengths and KL of the replies, the reference point of KTO (C-21)
    # and held-out losses.
    assert alike(both[0][name], one[name])
    assert both[0][name]["rows"] == both[1][name]["rows"]
    assert furthest(both[0][name], both[1][name]) == 0


def test_the_stages_reach_what_they_are_meant_to(one: dict[str, several.Done]) -> None:
    assert [len(one[name]["rows"]) for name in ("grpo", "ppo")] == [12, 12]
    assert len(one["online_dpo"]["rows"]) == 13  # of 18: rolled back in the third phase
    assert one["kto"]["rows"][-1]["baseline"] > 0
    assert one["hybrid"]["rows"][-1]["preference_margin"] != 0
    assert [row["kl_coef"] for row in one["hybrid"]["rows"][::6]] != [0.05, 0.05]
    assert "watch_verifier" in one["hybrid"]["rows"][-1]
    # Windows with and without general text, whose micro-batches are of one kind or of both.
    kept = [row["anchor_kl"] for row in one["anchored"]["rows"]]
    assert max(kept) > 0
    assert all(row["nll"] > 0 for row in one["anchored"]["rows"])
    assert max(row["own"] for row in one["distilled"]["rows"]) > 1


@pytest.mark.parametrize("name", ["grpo", "ppo"])
def test_the_ratio_begins_at_one(name: str, both: list[dict[str, Any]]) -> None:
    # C-10: scored with the whole model, trained with its pieces.
    rows = both[0][name]["rows"]
    assert [row["ratio"] for row in rows if row["phase_step"] == 1] == [1.0, 1.0]
    assert any(row["ratio"] != 1.0 for row in rows)


def test_each_process_samples_all_replies_to_its_prompts(both: list[dict[str, Any]]) -> None:
    # C-23: two phases of five prompts, four replies each.
    for first, second in zip(both[0]["sampled"], both[1]["sampled"], strict=True):
        assert (len(first[0]), first[1]) == (3, 12)
        assert (len(second[0]), second[1]) == (2, 8)
        assert len({*first[0], *second[0]}) >= 4
    assert not set(both[0]["sampled"][0][0]) & set(both[1]["sampled"][0][0])


def test_a_reference_point_of_a_processs_own_replies_is_another(
    both: list[dict[str, Any]], one: dict[str, several.Done]
) -> None:
    # C-21, the negative control: z0 is the mean over all replies of the step.
    assert not alike(both[0]["own z0"], one["kto"])


def test_what_one_process_finds_wrong_is_said_by_all(both: list[dict[str, Any]]) -> None:
    assert "has 604 tokens, which leaves no room for a reply" in both[0]["long"]
    assert both[0]["long"] == both[1]["long"]


def test_resumed_by_as_many_it_is_bit_for_bit_the_same(both: list[dict[str, Any]]) -> None:
    # a signal to the last process, in the middle of a phase.
    for run in both:
        assert run["cut"].endswith("after step 5 of 12; saved, the same command continues here")
        assert run["2 to 2"]["rows"] == run["ppo"]["rows"]
        assert furthest(run["2 to 2"], run["ppo"]) == 0


def test_resumed_by_more_or_fewer_it_ends_the_same(
    folder: Path, both: list[dict[str, Any]], one: dict[str, several.Done]
) -> None:
    assert alike(both[0]["1 to 2"], one["ppo"])
    assert alike(several.run("ppo", folder, folder / "for one"), one["ppo"])
