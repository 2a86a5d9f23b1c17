"""The DPO family and KTO against closed forms, and what must not change them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from burnish.objectives import (
    NEEDS_LENGTHS,
    PREFERENCE_KINDS,
    kto,
    kto_baseline,
    mismatched,
    preference,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden.json").read_text())
INPUT, DPO = GOLDEN["inputs"], GOLDEN["dpo"]


def tensor(values: Any, grad: bool = False) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


def columns() -> dict[str, Tensor]:
    return {
        "chosen": tensor(INPUT["policy_chosen"]),
        "rejected": tensor(INPUT["policy_rejected"]),
        "ref_chosen": tensor(INPUT["ref_chosen"]),
        "ref_rejected": tensor(INPUT["ref_rejected"]),
        "chosen_length": tensor(INPUT["len_chosen"]),
        "rejected_length": tensor(INPUT["len_rejected"]),
    }


def rows(kind: str, **settings: float) -> list[float]:
    """Each row's loss, by scoring it alone."""
    table = columns()
    return [
        preference(kind, **{k: v[i : i + 1] for k, v in table.items()}, **settings).total.item()
        for i in range(4)
    ]


@pytest.mark.parametrize(
    ("name", "kind", "settings"),
    [
        ("sigmoid", "dpo", {"beta": 0.1}),
        ("cdpo", "dpo", {"beta": 0.1, "label_smoothing": 0.1}),
        ("rdpo", "robust_dpo", {"beta": 0.1, "label_smoothing": 0.1}),
        ("ipo_sum", "ipo_sum", {"beta": 0.1}),
        ("ipo_token_mean", "ipo_token_mean", {"beta": 0.1}),
        ("hinge", "hinge", {"beta": 0.1}),
        ("dpo_norm_beta5", "dpo_norm", {"beta": 5.0}),
        ("simpo_beta2_gamma1", "simpo", {"beta": 2.0, "gamma": 1.0}),
        ("dpo_plus_0.2_nll_tokenmean", "dpo", {"beta": 0.1, "nll": 0.2}),
        ("orpo_total_lambda0.1", "orpo", {"beta": 0.1}),
    ],
)
def test_rows_equal_the_closed_form(name: str, kind: str, settings: dict[str, float]) -> None:
    # C-20, C-22
    assert rows(kind, **settings) == pytest.approx(DPO[name], abs=1e-9)


def soft_rows(probability: float, **settings: float) -> list[float]:
    table = columns()
    return [
        preference(
            "dpo", **{k: v[i : i + 1] for k, v in table.items()},
            probability=tensor([probability]), **settings,
        ).total.item()
        for i in range(4)
    ]  # fmt: skip


def test_soft_labels_are_a_cross_entropy() -> None:  # C-29
    # Row 0: x = beta h = 0.2, -log s(0.2) = 0.59813887 and -log s(-0.2) = 0.79813887.
    assert soft_rows(0.75)[0] == pytest.approx(0.75 * 0.59813887 + 0.25 * 0.79813887, abs=1e-8)
    assert soft_rows(1.0) == rows("dpo")
    assert soft_rows(0.9) == pytest.approx(DPO["cdpo"], abs=1e-9)
    # Labels of 0.75 that are wrong in a tenth of the cases: 0.9 * 0.75 + 0.1 * 0.25 = 0.7.
    assert soft_rows(0.75, label_smoothing=0.1) == pytest.approx(soft_rows(0.7), abs=1e-12)


def test_a_soft_label_is_where_the_gradient_vanishes() -> None:
    x = math.log(0.7 / 0.3)  # s(x) = 0.7
    chosen = tensor([x / 0.1], grad=True)
    zero = tensor([0.0])
    loss = preference("dpo", chosen, zero, zero, zero, probability=tensor([0.7]), beta=0.1)
    loss.total.backward()
    assert chosen.grad is not None
    assert chosen.grad.item() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("kind", sorted(set(PREFERENCE_KINDS) - {"dpo", "dpo_norm"}))
def test_other_kinds_refuse_soft_labels(kind: str) -> None:
    with pytest.raises(ValueError, match=f"probability: given, but {kind} does not use it"):
        preference(kind, **columns(), probability=tensor([0.7] * 4))


def test_orpo_ratio_term_alone() -> None:  # C-22
    sft = [-c / n for c, n in zip(INPUT["policy_chosen"], INPUT["len_chosen"], strict=True)]
    ratio = [total - nll for total, nll in zip(rows("orpo", beta=1.0), sft, strict=True)]
    assert ratio == pytest.approx(DPO["orpo_ratio"], abs=1e-9)


def test_total_is_the_sum_and_count_the_pairs() -> None:
    loss = preference("dpo", **columns())
    assert loss.total.item() == pytest.approx(sum(DPO["sigmoid"]), abs=1e-9)
    assert loss.count.item() == 4
    total, count = loss.metrics["accuracy"]
    assert (total.item(), count.item()) == (2.5, 4)  # margins 2, -2, 0 (a tie), 21
    assert loss.metrics["margin"][0].item() == pytest.approx(0.1 * sum(DPO["delta"]))
    assert loss.metrics["chosen_nll"][0].item() == pytest.approx(12 / 6 + 2 + 1 + 3)


def test_gradient_of_row_0() -> None:  # C-20
    table = {name: value[:1] for name, value in columns().items()}
    chosen = table.pop("chosen").requires_grad_()
    rejected = table.pop("rejected").requires_grad_()
    preference("dpo", chosen, rejected, **table).total.backward()
    assert chosen.grad is not None
    assert rejected.grad is not None
    found = [chosen.grad.item(), rejected.grad.item()]
    assert found == pytest.approx([-0.0450166003, 0.0450166003], abs=1e-9)


def test_policy_equal_to_reference_gives_ln_2() -> None:  # C-20
    logprobs = tensor([-3.0, -40.0])
    loss = preference("dpo", logprobs, logprobs - 1, logprobs, logprobs - 1)
    assert loss.total.item() == pytest.approx(2 * math.log(2))


def test_nll_reaches_the_chosen_reply_only() -> None:  # C-22
    table = columns()
    table["chosen"].requires_grad_()
    table["rejected"].requires_grad_()
    with_nll = preference("dpo", **table, nll=0.2).total
    without = preference("dpo", **table).total
    chosen, rejected = torch.autograd.grad(with_nll - without, [table["chosen"], table["rejected"]])
    assert chosen.tolist() == pytest.approx([-0.2 / 6, -0.02, -0.04, -0.02])
    assert rejected.tolist() == pytest.approx([0, 0, 0, 0], abs=1e-15)


def test_the_mean_of_the_whole_chosen_reply_stands_in_the_likelihood_terms() -> None:  # C-22
    table, whole = columns(), tensor([-1.5, -2.5, -0.5, -3.5])
    for kind, weight, more in (("dpo", 0.2, {"nll": 0.2}), ("orpo", 1.0, {})):
        plain = preference(kind, **table, **more)  # type: ignore[arg-type]
        other = preference(kind, **table, **more, chosen_mean=whole)  # type: ignore[arg-type]
        mean = table["chosen"] / table["chosen_length"]
        moved = weight * (mean - whole).sum().item()
        assert (other.total - plain.total).item() == pytest.approx(moved)
        assert other.metrics["chosen_nll"][0].item() == pytest.approx(8.0)
    assert preference("dpo", **table, chosen_mean=whole).total.item() == pytest.approx(
        sum(DPO["sigmoid"]), abs=1e-9
    )


finite = st.floats(-50, -0.1)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(finite, finite, finite, finite), min_size=1, max_size=5))
def test_swap_symmetry(pairs: list[tuple[float, float, float, float]]) -> None:
    # C-20: swapping the replies flips the sign of h, and cdpo swaps e for 1 - e.
    c, r, c0, r0 = tensor(pairs).T
    forward, backward = (
        preference("dpo", c, r, c0, r0, beta=0.3),
        preference("dpo", r, c, r0, c0, beta=0.3),
    )
    h = 0.3 * ((c - c0) - (r - r0))
    assert (backward.total - forward.total).item() == pytest.approx(h.sum().item(), abs=1e-9)
    right, wrong = forward.metrics["accuracy"][0], backward.metrics["accuracy"][0]
    assert (right + wrong).item() == pytest.approx(len(pairs))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(PREFERENCE_KINDS), st.lists(st.booleans(), min_size=4, max_size=4))
def test_masked_equals_subset_whatever_is_masked(kind: Any, keep: list[bool]) -> None:
    table, kept = columns(), torch.tensor(keep)
    noisy = {
        k: torch.where(kept, v, v * 3.7 + 0.5 * (k == "chosen_length")) for k, v in table.items()
    }
    masked = preference(kind, **noisy, weights=kept.double())
    subset = preference(kind, **{k: v[kept] for k, v in table.items()})
    assert masked.total.item() == pytest.approx(subset.total.item(), abs=1e-12)
    assert masked.count.item() == subset.count.item() == sum(keep)
    for name, (total, count) in subset.metrics.items():
        assert masked.metrics[name][0].item() == pytest.approx(total.item(), abs=1e-9)
        assert masked.metrics[name][1].item() == count.item()


@pytest.mark.parametrize("kind", PREFERENCE_KINDS)
def test_masked_pairs_get_no_gradient_and_no_pairs_give_0(kind: Any) -> None:
    table = columns()
    table["chosen"].requires_grad_()
    weights = tensor([1, 0, 1, 0])
    preference(kind, **table, weights=weights).total.backward()
    assert table["chosen"].grad is not None
    assert table["chosen"].grad[[1, 3]].tolist() == [0, 0]
    nothing = preference(kind, **table, weights=torch.zeros(4, dtype=torch.float64))
    assert (nothing.total.item(), nothing.count.item()) == (0, 0)


@pytest.mark.parametrize("kind", PREFERENCE_KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_stay_finite_at_extremes(kind: Any, dtype: torch.dtype) -> None:
    chosen = torch.tensor([0.0, -1e4, -1e-9], dtype=dtype, requires_grad=True)
    rejected = torch.tensor([-1e4, 0.0, -1e-9], dtype=dtype, requires_grad=True)
    zero, length = torch.zeros(3, dtype=dtype), torch.tensor([1.0, 7.0, 2.0], dtype=dtype)
    total = preference(
        kind, chosen, rejected, zero, zero, chosen_length=length, rejected_length=length
    ).total
    total.backward()
    assert torch.isfinite(total)
    assert chosen.grad is not None
    assert rejected.grad is not None
    assert torch.isfinite(chosen.grad).all()
    assert torch.isfinite(rejected.grad).all()


def test_half_precision_is_summed_in_single() -> None:
    chosen = torch.zeros(3000, dtype=torch.bfloat16)
    loss = preference("dpo", chosen, chosen, chosen, chosen)
    assert loss.total.dtype is torch.float32
    assert loss.count.item() == 3000  # bfloat16 would round to 2992 or 3008
    assert loss.total.item() == pytest.approx(3000 * math.log(2), rel=1e-5)


@pytest.mark.parametrize("kind", sorted(NEEDS_LENGTHS))
def test_lengths_are_asked_for(kind: Any) -> None:
    one = tensor([-1.0])
    with pytest.raises(ValueError, match="chosen_length, rejected_length: missing"):
        preference(kind, one, one, one, one)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rejected": torch.zeros(2, dtype=torch.float64)}, r"rejected: shape \[2\]"),
        ({"chosen": torch.zeros(4, 1, dtype=torch.float64)}, r"chosen: shape \[4, 1\]"),
        ({"ref_chosen": torch.zeros(4, dtype=torch.int64)}, "ref_chosen: dtype torch.int64"),
        ({"ref_chosen": None}, "ref_chosen, ref_rejected: missing"),
        ({"gamma": 1.0}, "gamma: 1.0, but dpo does not use it"),
        ({"label_smoothing": 0.5}, "label_smoothing: 0.5"),
        ({"kind": "hinge", "label_smoothing": 0.1}, "hinge does not use it"),
        ({"kind": "none"}, "kind: 'none'"),
        ({"nll": 0.1, "chosen_length": None}, "chosen_length: missing"),
    ],
)
def test_wrong_arguments_are_named(change: dict[str, Any], message: str) -> None:
    arguments = {"kind": "dpo", **columns(), **change}
    with pytest.raises(ValueError, match=message):
        preference(**arguments)


def test_kto_rows_equal_the_closed_form() -> None:  # C-21
    z = tensor(0.3)
    for flag, side in ((True, "chosen"), (False, "rejected")):
        found = [
            kto(tensor([policy]), tensor([ref]), torch.tensor([flag]), z, beta=0.1).total.item()
            for policy, ref in zip(INPUT[f"policy_{side}"], INPUT[f"ref_{side}"], strict=True)
        ]
        assert found == pytest.approx(DPO[f"kto_{side}_z0.3"], abs=1e-9)


def test_kto_weights_and_metrics() -> None:
    policy, ref = tensor([-12.0, -18.0]), tensor([-13.0, -19.0])
    flags = torch.tensor([True, False])
    loss = kto(policy, ref, flags, tensor(0.3), desirable_weight=2.0, undesirable_weight=0.0)
    assert loss.total.item() == pytest.approx(2 * DPO["kto_chosen_z0.3"][0], abs=1e-9)
    assert loss.count.item() == 2
    third = kto(policy, ref, flags, tensor(0.3), desirable_weight=1 / 3, undesirable_weight=0.0)
    assert third.total.item() == pytest.approx(loss.total.item() / 6, abs=1e-15)  # in float64
    total, count = loss.metrics["undesirable_reward"]
    assert (total.item(), count.item()) == (pytest.approx(0.1), 1)


def test_kto_baseline_is_never_negative_and_carries_no_gradient() -> None:  # C-21
    policy = tensor([-1.0, -2.0, -3.0], grad=True)
    above = kto_baseline(policy, policy.detach() - tensor([0.5, 0.1, 0.3]))
    assert above.item() == pytest.approx(0.3)
    assert not above.requires_grad
    assert kto_baseline(policy, policy.detach() + 1).item() == 0
    baseline = tensor(0.3, grad=True)
    kto(policy, policy.detach(), torch.tensor([True] * 3), baseline).total.backward()
    assert baseline.grad is None


def test_mismatched_replies_are_always_anothers() -> None:  # C-21, odd and even batches
    for count in (2, 3, 7, 8):
        assert mismatched(range(count)) == [*range(1, count), 0]
    for prompts in ("AAB", "ABA", "BAA", "ABBA", "AABBAAC", "ABABABAAAA"):
        order = mismatched(prompts)
        assert all(prompts[i] != prompts[other] for i, other in enumerate(order)), prompts
    assert mismatched("AABBAA") == [2, 2, 4, 4, 2, 2]
    for same in ("", "A", "AAAA"):
        with pytest.raises(ValueError, match="at least 2"):
            mismatched(same)


def test_kto_over_two_microbatches_equals_one() -> None:  # C-21
    policy, ref = tensor(INPUT["policy_chosen"]), tensor(INPUT["ref_chosen"])
    flags, z = torch.tensor([True, False, True, False]), tensor(0.2)
    whole = kto(policy, ref, flags, z)
    parts = [kto(policy[s], ref[s], flags[s], z) for s in (slice(0, 3), slice(3, 4))]
    assert sum(p.total.item() for p in parts) == pytest.approx(whole.total.item())
    assert sum(p.count.item() for p in parts) == whole.count.item()
