"""The router's losses: values worked out by hand, and transformers' own load balance."""

from __future__ import annotations

import math

import pytest
import torch
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from burnish.objectives import Loss
from burnish.objectives.router import load_balance, router_metrics, router_z, with_auxiliary


def balance_of(logits: torch.Tensor, top_k: int) -> float:
    found = load_balance(logits, top_k)
    return (found.total / found.count).item()


def test_balance_is_one_for_even_use_and_the_number_of_experts_for_one() -> None:  # C-32
    even = 50 * torch.eye(4)[None]  # each of 4 tokens is sure of another expert
    assert balance_of(even, 1) == pytest.approx(1)
    one = (50 * torch.eye(4)[:1]).expand(1, 6, 4)
    assert balance_of(one, 1) == pytest.approx(4)
    assert balance_of(torch.zeros(2, 5, 4), 4) == pytest.approx(1)


def test_balance_by_hand() -> None:
    # Chances (3/4, 1/4) and (1/4, 3/4) and (3/4, 1/4): f = (2/3, 1/3), P = (7/12, 5/12).
    row = math.log(3)
    logits = torch.tensor([[[row, 0.0], [0.0, row], [row, 0.0]]])
    found = load_balance(logits, 1)
    expected = 2 * (2 / 3 * 7 / 12 + 1 / 3 * 5 / 12)
    assert found.count.item() == 3
    assert found.total.item() == pytest.approx(3 * expected, rel=1e-6)
    assert found.metrics["balance"][0].item() == pytest.approx(3 * expected, rel=1e-6)


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_balance_is_that_of_transformers_layer_by_layer(top_k: int) -> None:
    logits = torch.randn(3, 20, 4, generator=torch.Generator().manual_seed(0))
    own = [load_balancing_loss_func((layer,), 4, top_k).item() / top_k for layer in logits]
    assert balance_of(logits, top_k) == pytest.approx(sum(own) / 3, rel=1e-5)


def test_only_chances_have_a_gradient() -> None:
    logits = torch.tensor([[[math.log(3), 0.0], [0.0, 0.1]]], requires_grad=True)
    load_balance(logits, 1).total.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    # f = (1/2, 1/2): E sum f_i P_i is 1 whatever P is, so that nothing pulls.
    assert logits.grad.abs().max().item() < 1e-6


def test_z_by_hand() -> None:
    logits = torch.tensor([[[0.0, 0.0], [math.log(3), 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    found = router_z(logits)
    first = math.log(2) ** 2 + math.log(4) ** 2
    assert found.count.item() == 2
    assert found.total.item() == pytest.approx((first + 2 * math.log(2) ** 2) / 2, rel=1e-6)


def test_metrics_by_hand() -> None:
    logits = torch.tensor([[[50.0, 0.0, 0.0], [0.0, 50.0, 0.0]], [[0.0, 0.0, 9.0]] * 2])
    found = {name: (total / count).item() for name, (total, count) in
             router_metrics(logits, 1).items()}  # fmt: skip
    loads = [[found[f"load.{layer}.{expert}"] for expert in range(3)] for layer in range(2)]
    assert loads == [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]
    assert found["router_entropy"] < 0.01
    alike = router_metrics(torch.zeros(1, 4, 3), 3)["router_entropy"]
    assert (alike[0] / alike[1]).item() == pytest.approx(math.log(3), rel=1e-6)


def test_an_auxiliary_loss_weighs_by_its_own_mean() -> None:
    main = Loss(torch.tensor(6.0), torch.tensor(3.0), {"nll": (torch.tensor(6.0),) * 2})
    extra = Loss(torch.tensor(10.0), torch.tensor(5.0), {"z": (torch.tensor(10.0),) * 2})
    both = with_auxiliary(main, extra, 0.5)
    assert both.count.item() == 3
    assert (both.total / both.count).item() == pytest.approx(2 + 0.5 * 2)
    assert both.metrics.keys() == {"nll", "z"}


@pytest.mark.parametrize(
    ("logits", "top_k", "found"),
    [
        (torch.zeros(3, 4), 1, "logits"),
        (torch.zeros(1, 3, 4), 5, "top_k: 5, expected 1 to 4"),
        (torch.zeros(1, 3, 4, dtype=torch.long), 1, "dtype"),
    ],
)
def test_bad_arguments(logits: torch.Tensor, top_k: int, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        load_balance(logits, top_k)
