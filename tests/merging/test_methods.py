"""C-31: methods against hand-derived values."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from burnish.merging import methods
from burnish.merging.methods import Cut

GOLDEN = json.loads((Path(__file__).parents[1] / "golden.json").read_text())["merge"]


def trimmed(delta: Tensor, density: float) -> Tensor:
    return methods.keep_largest(
        delta, methods.find_cut(lambda: iter([delta]), delta.numel(), density)
    )[0]


def test_linear() -> None:
    one, two = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, -2.0]])
    assert methods.linear([one, two], [1, 3], normalize=True).tolist() == [[2.5, -1.0]]
    assert methods.linear([one, two], [1, 3], normalize=False).tolist() == [[10.0, -4.0]]
    assert methods.linear([one, one], [1, 1], normalize=True).equal(one)
    assert one.tolist() == [[1.0, 2.0]]


def test_slerp_of_orthogonal_ends() -> None:
    shares = methods.slerp_shares(0.0, 0.25)
    assert shares == pytest.approx(GOLDEN["slerp_t.25_orth"], abs=1e-9)


@pytest.mark.parametrize("cosine", [1.0, -1.0, 0.9996, -0.9996, math.nan])
def test_slerp_of_parallel_and_opposite_ends_is_the_line(cosine: float) -> None:
    assert methods.slerp_shares(cosine, 0.25) == (0.75, 0.25)


def test_slerp_keeps_to_the_arc() -> None:
    one, two = torch.tensor([3.0, 4.0]) / 5, torch.tensor([5.0, -12.0]) / 13
    first, second = methods.slerp_shares(float(one @ two), 0.3)
    point = first * one + second * two
    assert point.norm().item() == pytest.approx(1.0, abs=1e-6)
    whole, part = math.acos(float(one @ two)), math.acos(float(one @ point))
    assert part == pytest.approx(0.3 * whole, abs=1e-6)


def test_ties_toy() -> None:
    deltas = [torch.tensor([row], dtype=torch.float32) for row in GOLDEN["ties_in"]]
    kept = [trimmed(delta, GOLDEN["density"]) for delta in deltas]
    assert [row[0].tolist() for row in kept] == GOLDEN["ties_trim"]
    merged = methods.combine(kept, [1, 1], elect=True, normalize=True)
    assert merged[0].tolist() == GOLDEN["ties_out_disjoint_mean"]
    naive = methods.combine(deltas, [1, 1], elect=False, normalize=True)
    assert naive[0].tolist() == pytest.approx(GOLDEN["naive_mean_out"])


def test_opposite_task_vectors_cancel() -> None:
    delta = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    assert not methods.combine([delta, -delta], [0.7, 0.7], elect=False, normalize=False).any()


def test_weights_that_cancel_divide_nothing() -> None:
    ones = torch.ones(1, 2)
    found = methods.combine([2 * ones, ones], [1, -1], elect=False, normalize=True)
    assert found.tolist() == [[1.0, 1.0]]


@given(
    st.lists(st.sampled_from([0.0, 0.5, -0.5, 1.0, -2.0, 1e-30, 3e20]), min_size=1, max_size=40),
    st.floats(0.01, 1.0),
    st.integers(1, 7),
)
def test_cut_in_pieces_is_a_stable_sort(values: list[float], density: float, step: int) -> None:
    delta = torch.tensor(values)
    wanted = max(1, int(density * len(values)))
    order = delta.abs().argsort(descending=True, stable=True)[:wanted]
    expected = torch.zeros_like(delta)
    expected[order] = delta[order]
    pieces = delta.split(step)
    cut = methods.find_cut(lambda: iter(pieces), len(values), density)
    found = []
    for piece in pieces:
        kept, cut = methods.keep_largest(piece, cut)
        found.append(kept)
    assert torch.cat(found).equal(expected)
    assert cut.ties == 0


def test_cut_is_the_smallest_kept() -> None:
    delta = torch.tensor([0.3, -0.7, 0.1, 0.7])
    assert methods.find_cut(lambda: iter([delta]), 4, 0.5) == Cut(delta[3].item(), 2)


def test_dare_is_unbiased() -> None:
    generator = torch.Generator().manual_seed(3)
    delta = torch.tensor([[1.0, -2.0, 0.5]])
    draws = torch.stack(
        [
            methods.keep_random(delta, 0.3, torch.rand(1, 3, generator=generator), rescale=True)
            for _ in range(20_000)
        ]
    )
    error = (draws.mean(0) - delta).abs() / draws.std(0) * math.sqrt(20_000)
    assert error.max() < 4
    assert sorted(set(draws[:, 0, 0].tolist())) == pytest.approx([0.0, 1 / 0.3])


def test_dare_keeps_what_the_chance_says() -> None:
    delta, chance = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.39, 0.4, 0.1]])
    assert methods.keep_random(delta, 0.4, chance, rescale=False).tolist() == [[1.0, 0.0, 3.0]]


def test_della_prefers_large_ones_and_is_unbiased() -> None:
    # Ranks 2, 0, 1 of three give probabilities 0.8, 0.4, 0.6.
    delta = torch.tensor([[-3.0, 0.1, 1.0]])
    edge = torch.tensor([[0.79, 0.39, 0.59]])
    kept = methods.keep_ranked(delta, 0.6, 0.2, edge, rescale=True)
    assert kept[0].tolist() == pytest.approx([-3 / 0.8, 0.1 / 0.4, 1 / 0.6])
    above = torch.tensor([[0.81, 0.41, 0.61]])
    assert not methods.keep_ranked(delta, 0.6, 0.2, above, rescale=False).any()


def test_della_row_of_one() -> None:
    kept = methods.keep_ranked(torch.tensor([[2.0]]), 0.5, 0.1, torch.tensor([[0.4]]), rescale=True)
    assert kept.tolist() == [[4.0]]
