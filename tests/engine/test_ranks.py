"""C-07: two processes fit as one does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.engine import fits, several

from burnish.engine import ranks
from burnish.store import checkpoints

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left, after one had left a checkpoint for them."""
    place = tmp_path_factory.mktemp("several")
    assert "after step 7 of 12" in several.cut(several.language, place / "one")
    several.torchrun("tests.engine.several", str(place), folder=ROOT)
    return place


@pytest.fixture(scope="module")
def both(folder: Path) -> list[dict[str, Any]]:
    """What each of the two processes found."""
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


def furthest(first: several.Done, second: several.Done) -> float:
    """The greatest difference of any weight."""
    assert first["weights"].keys() == second["weights"].keys()
    return max(
        (first["weights"][name] - second["weights"][name]).abs().max().item()
        for name in first["weights"]
    )


def alike(first: several.Done, second: several.Done) -> bool:
    """Whether logs and weights agree within what float32 sums in another order differ by."""
    rows = zip(first["rows"], second["rows"], strict=True)
    return furthest(first, second) < 2e-5 and all(
        one == pytest.approx(other, rel=1e-4, abs=1e-6) for one, other in rows
    )


@pytest.mark.parametrize("name", ["language", "pairs", "adapted", "changed"])
def test_two_processes_fit_as_one(name: str, both: list[dict[str, Any]]) -> None:
    # C-07, and C-06: windows of unequal numbers of tokens and of micro-batches.
    one = getattr(several, name)()
    assert alike(both[0][name], one)
    assert both[0][name]["rows"] == both[1][name]["rows"]
    assert furthest(both[0][name], both[1][name]) == 0


def test_the_fits_reach_what_they_are_meant_to(both: list[dict[str, Any]]) -> None:
    source = several.DatasetSource(fits.segments(23), fits.settings(), seed=5)
    sizes = {len(source.window(step) or []) % 2 for step in range(12)}
    assert sizes == {0, 1}  # an odd number needs a pass that does not count
    norms = [row["grad_norm"] for row in both[0]["language"]["rows"]]
    assert min(norms) < 2.0 < max(norms)  # clipped, and not
    losses = [row["eval_loss"] for row in both[0]["language"]["rows"] if "eval_loss" in row]
    assert len(losses) == 4
    assert both[0]["language"]["after"] == pytest.approx(min(losses), rel=1e-5)


def test_averaged_gradients_are_other_ones(both: list[dict[str, Any]]) -> None:
    # C-07, the negative controls: the tests above can fail.
    first = [run["rows"][0]["grad_norm"] for run in (both[0]["language"], both[0]["averaged"])]
    assert first[1] == pytest.approx(first[0] / 2)
    assert not alike(both[0]["averaged"], both[0]["language"])
    assert not alike(both[0]["counted twice"], both[0]["pairs"])


def test_each_process_holds_its_share(both: list[dict[str, Any]]) -> None:
    found = [run["held"] for run in both]
    assert [run["left"] for run in found] == [0, 0]
    assert sum(run["own"] for run in found) == found[0]["whole"]
    # The odd row of the embeddings, 16 numbers, is the first one's.
    assert found[0]["own"] - found[1]["own"] == 16
    assert found[0]["groups"] == 3  # two layers, and what is outside them


def test_resumed_by_as_many_it_is_bit_for_bit_the_same(both: list[dict[str, Any]]) -> None:
    # dropout and noise of each process go on where they were.
    for run in both:
        assert run["cut"].endswith("SIGTERM after step 7 of 12; saved, the same command continues"
                                   " here")  # fmt: skip
        assert fits.same(run["2 to 2"]["weights"], run["noisy"]["weights"])
    assert both[0]["2 to 2"]["rows"] == both[0]["noisy"]["rows"]


def test_resumed_by_more_or_fewer_it_ends_the_same(
    folder: Path, both: list[dict[str, Any]]
) -> None:
    assert "after step 7 of 12" in both[1]["cut for one"]
    found = checkpoints.newest(folder / "for one")
    assert found is not None
    assert found.tensors("weights") == {}
    assert {"weights_0", "weights_1", "kept_average_1", "kept_best_1", "optimizer_1"} <= {
        path.stem for path in found.path.iterdir()
    }
    fewer = several.language(scratch=folder / "for one")
    whole = both[0]["language"]
    assert furthest(fewer, whole) < 2e-5
    assert furthest(both[0]["1 to 2"], whole) < 2e-5
    tail = [row["loss"] for row in whole["rows"][several.CUT :]]
    for resumed in (fewer, both[0]["1 to 2"]):
        assert [row["loss"] for row in resumed["rows"][-len(tail) :]] == pytest.approx(tail)


def test_a_loss_that_is_not_finite_stops_every_process(both: list[dict[str, Any]]) -> None:
    # only one of them has computed it.
    assert both[0]["poisoned"] == both[1]["poisoned"]
    assert "the loss is nan" in both[0]["poisoned"]
    assert "record-11" in both[0]["poisoned"]


def test_only_the_first_writes(folder: Path, both: list[dict[str, Any]]) -> None:
    rows = [json.loads(line) for line in (folder / "whole.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 13))
    steps = [json.loads(line)["step"] for line in (folder / "two.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 13))


def test_every_process_takes_as_many_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "count", lambda: 3)
    monkeypatch.setattr(ranks, "index", lambda: 1)
    assert ranks.turns(5) == [(1, True), (4, True)]
    assert ranks.turns(4) == [(1, True), (3, False)]
    assert ranks.turns(1) == [(0, False)]
