from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests import tiny

from burnish.models.forward import segment_sums, token_logprobs
from burnish.stages.reference import with_reference
from burnish.text.batches import Batch, Segment, pack

UNITS = [
    [Segment([1, *range(70, 82), n, n], [False] * 13 + [True] * 2, f"{n}") for n in (first, 9)]
    for first in (20, 21, 22, 23)
]


def never(logprobs: torch.Tensor, batch: Batch) -> torch.Tensor:
    raise AssertionError("computed again")


def referenced(model: Any, units: list[list[Segment]], *rest: Any) -> list[list[Segment]]:
    (found,) = with_reference(model, [units], *rest)
    return found


def values(units: list[list[Segment]]) -> list[float]:
    return [segment.per_segment["reference"] for unit in units for segment in unit]


def test_values_are_those_of_the_model_and_computed_once(tmp_path: Path) -> None:
    model = tiny.model()
    made = referenced(model, UNITS, 40, tmp_path / "cache")
    assert [[s.id for s in unit] for unit in made] == [[s.id for s in unit] for unit in UNITS]
    flat = [segment for unit in UNITS for segment in unit]
    batch = pack(flat)
    expected = segment_sums(token_logprobs(model, batch).logprobs, batch)
    assert values(made) == pytest.approx(expected.tolist(), abs=1e-4)
    again = referenced(model, UNITS, 4000, tmp_path / "cache", never)
    assert values(again) == values(made)


def test_other_weights_or_data_are_computed_anew(tmp_path: Path) -> None:
    model = tiny.model()
    made = referenced(model, UNITS, 400, tmp_path)
    changed = [[replace(UNITS[0][0], mask=[False] * 14 + [True]), UNITS[0][1]], *UNITS[1:]]
    masked = [[replace(s, per_token={"content": [0.0] * 15}) for s in unit] for unit in UNITS]
    for units in (changed, masked, UNITS[:3]):
        with pytest.raises(AssertionError, match="computed again"):
            referenced(model, units, 400, tmp_path, never)
    with torch.no_grad():
        next(iter(model.parameters()))[0, 0] += 1
    with pytest.raises(AssertionError, match="computed again"):
        referenced(model, UNITS, 400, tmp_path, never)
    assert len(made) == len(UNITS)


def test_parts_are_kept_apart(tmp_path: Path) -> None:
    model = tiny.model()
    both = with_reference(model, [UNITS[:3], UNITS[3:]], 400, tmp_path)
    assert [len(part) for part in both] == [3, 1]
    for part, units in zip(both, (UNITS[:3], UNITS[3:]), strict=True):
        assert values(referenced(model, units, 400, tmp_path, never)) == values(part)


def test_a_damaged_file_is_computed_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = tiny.model()
    made = referenced(model, UNITS, 400, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    assert values(referenced(model, UNITS, 400, tmp_path)) == values(made)
    assert path.name in caplog.text
    assert values(referenced(model, UNITS, 400, tmp_path, never)) == values(made)
