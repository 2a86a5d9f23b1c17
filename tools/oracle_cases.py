"""The formulas that the oracle compares: ours, and what to ask TRL for (see ``oracle.py``)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from burnish.objectives import (
    aggregate,
    bradley_terry,
    clipped_policy,
    group_advantages,
    importance_weights,
    k3,
    kto,
    kto_baseline,
    overlong_penalty,
    preference,
)

TOLERANCE = 1e-9
SINGLE = 1e-5
"""Where one of the two computes in float32 whatever it is given."""

Data = dict[str, Any]
Found = tuple[Tensor, list[Tensor]]
"""Values ``[n]``, and the tensors whose gradient of their sum is compared."""


@dataclass(frozen=True)
class Case:
    """One formula: ours, and the call and settings of ``oracle_trl`` that should give the same.

    ``another`` says what TRL does instead where its formula is another one of that name.
    """

    objective: str
    variant: str
    ours: Callable[[Data], Found]
    call: str
    settings: dict[str, Any] = field(default_factory=dict)
    tolerance: float = TOLERANCE
    another: str = ""


def random_data(seed: int) -> Data:
    """Log-probabilities, scores and rewards as nested lists; replies of 2 to 9 tokens."""
    draw = random.Random(seed)

    def reply(length: int) -> list[float]:
        return [-draw.uniform(0.01, 4.0) for _ in range(length)]

    def near(row: Sequence[float], spread: float) -> list[float]:
        return [value + draw.gauss(0, spread) for value in row]

    pairs = []
    for _ in range(8):
        chosen, rejected = (reply(draw.randint(2, 9)) for _ in range(2))
        sides = {"ref_chosen": near(chosen, 0.5), "ref_rejected": near(rejected, 0.5)}
        pairs.append({"chosen": chosen, "rejected": rejected, **sides})
    replies = [reply(draw.randint(2, 9)) for _ in range(8)]
    mismatched = [sum(reply(5)) for _ in replies]
    old = [near(row, 0.4) for row in replies]
    return {
        "pairs": pairs,
        "replies": replies,
        "old_replies": old,
        "ref_replies": [near(row, 0.3) for row in replies],
        "sampler_replies": [near(row, 0.8) for row in old],
        "advantages": [draw.gauss(0, 1) for _ in replies],
        "weights": [[draw.uniform(0.2, 2.0) for _ in row] for row in replies],
        "desirable": [index % 3 != 0 for index in range(len(replies))],
        "mismatched": mismatched,
        "ref_mismatched": [value - 0.4 for value in near(mismatched, 0.5)],
        "longest": 12,
        "score_c": [draw.gauss(0, 2) for _ in range(8)],
        "score_r": [draw.gauss(0, 2) for _ in range(8)],
        "score_m": [draw.uniform(0, 2) for _ in range(8)],
        "grouped": {"rewards": [draw.gauss(0, 2) for _ in range(12)], "per_prompt": 4},
        "lengths": [1, 80, 81, 90, 100, 101],
    }


def leaf(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def fixed(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def pairs(kind: str, less_likelihood: bool = False, **settings: float) -> Callable[[Data], Found]:
    """Rows of a preference loss; ``less_likelihood`` takes orpo's likelihood term off again."""

    def ours(data: Data) -> Found:
        rows, leaves = [], []
        for pair in data["pairs"]:
            chosen, rejected = leaf(pair["chosen"]), leaf(pair["rejected"])
            row = preference(
                kind,  # type: ignore[arg-type]
                chosen.sum()[None],
                rejected.sum()[None],
                fixed([sum(pair["ref_chosen"])]),
                fixed([sum(pair["ref_rejected"])]),
                chosen_length=fixed([len(chosen)]),
                rejected_length=fixed([len(rejected)]),
                **settings,
            ).total
            rows.append(row + chosen.mean() if less_likelihood else row)
            leaves += [chosen, rejected]
        return torch.stack(rows), leaves

    return ours


def sides_first(ours: Callable[[Data], Found]) -> Callable[[Data], Found]:
    """The leaves in the order all chosen, all rejected."""

    def ordered(data: Data) -> Found:
        rows, leaves = ours(data)
        return rows, leaves[0::2] + leaves[1::2]

    return ordered


def unpaired(shift: float) -> Callable[[Data], Found]:
    """KTO; a ``shift`` of the reference's log-probabilities moves the baseline to 0."""

    def ours(data: Data) -> Found:
        leaves = [leaf(row) for row in data["replies"]]
        baseline = kto_baseline(fixed(data["mismatched"]), fixed(data["ref_mismatched"]) + shift)
        loss = kto(
            torch.stack([one.sum() for one in leaves]),
            fixed([sum(row) for row in data["ref_replies"]]),
            torch.tensor(data["desirable"]),
            baseline,
            beta=0.3,
            desirable_weight=1.5,
            undesirable_weight=0.7,
        )
        return loss.total / loss.count, leaves

    return ours


def scores(margin: bool, centring: float) -> Callable[[Data], Found]:
    def ours(data: Data) -> Found:
        rows, leaves = [], []
        for c, r, m in zip(*(data[f"score_{name}"] for name in "crm"), strict=True):
            both = leaf([c, r])
            given = fixed([m]) if margin else None
            rows.append(bradley_terry(both[:1], both[1:], given, centring=centring).total)
            leaves.append(both)
        return torch.stack(rows), leaves

    return ours


def policy(
    kind: str, *, kl: float = 0.0, whole: bool = False, weighed: bool = False, **clip: float
) -> Callable[[Data], Found]:
    """GRPO's loss; ``whole``: the sequence's ratio, ``weighed``: by importance weights."""

    def ours(data: Data) -> Found:
        leaves = [leaf(row) for row in data["replies"]]
        lengths = torch.tensor([len(one) for one in leaves])
        segment = torch.arange(len(leaves)).repeat_interleave(lengths)
        flat = torch.cat(leaves)
        old, ref, weights = (
            fixed([value for row in data[name] for value in row])
            for name in ("old_replies", "ref_replies", "weights")
        )
        advantages = fixed(data["advantages"])[segment]
        tokens = clipped_policy(flat, old, advantages, segment=segment if whole else None, **clip)
        if weighed:
            tokens = tokens * weights
        if kl:
            tokens = tokens + kl * k3(flat, ref)
        longest = data["longest"] if kind == "constant_length" else None
        total, count = aggregate(tokens, segment, kind, length=longest)  # type: ignore[arg-type]
        return total / count, leaves

    return ours


def advantages(kind: str) -> Callable[[Data], Found]:
    def ours(data: Data) -> Found:
        rewards = fixed(data["grouped"]["rewards"])
        groups = torch.arange(len(rewards)) // data["grouped"]["per_prompt"]
        return group_advantages(rewards, groups, kind), []  # type: ignore[arg-type]

    return ours


def weights(cap: float) -> Callable[[Data], Found]:
    def ours(data: Data) -> Found:
        trainer, sampler = (
            fixed([value for row in data[name] for value in row])
            for name in ("old_replies", "sampler_replies")
        )
        return importance_weights(trainer, sampler, cap)[0], []

    return ours


def overlong(data: Data) -> Found:
    return overlong_penalty(torch.tensor(data["lengths"]), 100, 20).double(), []


def dpo(variant: str, ours: Callable[[Data], Found], *types: str, **settings: Any) -> Case:
    another = settings.pop("another", "")
    asked = {"loss_types": list(types), "beta": 0.1, **settings}
    return Case("preference", variant, ours, "dpo", asked, another=another)


CASES = (
    dpo("dpo", pairs("dpo"), "sigmoid"),
    # On a single pair the optimal-transport loss is the label-smoothed one.
    dpo("dpo, smoothed", pairs("dpo", label_smoothing=0.1), "aot", label_smoothing=0.1),
    dpo("robust_dpo", pairs("robust_dpo", label_smoothing=0.1), "robust", label_smoothing=0.1),
    dpo("hinge", pairs("hinge"), "hinge"),
    dpo("ipo_token_mean", pairs("ipo_token_mean"), "ipo"),
    dpo("ipo_sum", pairs("ipo_sum"), "ipo", another="TRL's ipo is ipo_token_mean"),
    dpo("dpo_norm", pairs("dpo_norm", beta=5.0), "sigmoid_norm", beta=5.0),
    dpo("dpo + nll", pairs("dpo", nll=0.2), "sigmoid", "sft", loss_weights=[1.0, 0.2]),
    Case(
        "preference",
        "simpo",
        sides_first(pairs("simpo", beta=2.0, gamma=1.0)),
        "simpo",
        {"beta": 2.0, "simpo_gamma": 1.0},
    ),
    Case(
        "preference",
        "orpo, ratio term",
        sides_first(pairs("orpo", less_likelihood=True, beta=0.2)),
        "orpo",
        {"beta": 0.2},
        tolerance=SINGLE,
    ),
    *(
        Case(
            "kto",
            name,
            unpaired(shift),
            "kto",
            {"beta": 0.3, "desirable_weight": 1.5, "undesirable_weight": 0.7, "shift": shift},
        )
        for name, shift in (("baseline above 0", 0.0), ("baseline held at 0", 9.0))
    ),
    *(
        Case(
            "bradley_terry",
            name,
            scores(margin, centring),
            "reward",
            {"margin": margin, "centring": centring or None},
        )
        for name, margin, centring in (
            ("plain", False, 0.0),
            ("margin", True, 0.0),
            ("centring", False, 0.01),
        )
    ),
    Case("group_advantages", "grpo_unbiased", advantages("grpo_unbiased"), "grpo_advantages"),
    Case(
        "group_advantages",
        "grpo_biased",
        advantages("grpo_biased"),
        "grpo_advantages",
        another="TRL's std is grpo_unbiased",
    ),
    Case(
        "group_advantages",
        "dr_grpo",
        advantages("dr_grpo"),
        "grpo_advantages",
        {"scale_rewards": "none"},
    ),
    Case("group_advantages", "rloo", advantages("rloo"), "rloo_advantages"),
    Case("overlong_penalty", "", overlong, "overlong", {"limit": 100, "buffer": 20}, SINGLE),
    Case(
        "importance_weights",
        "capped at 1.5",
        weights(1.5),
        "importance",
        {"vllm_importance_sampling_clip_max": 1.5},
    ),
    Case(
        "clipped_policy",
        "seq_mean + k3 (GRPO)",
        policy("seq_mean", kl=0.04),
        "policy",
        {"loss_type": "grpo", "beta": 0.04},
    ),
    Case("clipped_policy", "token_mean", policy("token_mean"), "policy", {"loss_type": "bnpo"}),
    Case(
        "clipped_policy",
        "token_mean, high clip (DAPO)",
        policy("token_mean", high=0.28),
        "policy",
        {"loss_type": "dapo", "epsilon_high": 0.28},
    ),
    Case(
        "clipped_policy",
        "constant_length (Dr. GRPO)",
        policy("constant_length"),
        "policy",
        {"loss_type": "dr_grpo"},
    ),
    Case(
        "clipped_policy",
        "sequence ratio (GSPO)",
        policy("seq_mean", whole=True, low=0.05, high=0.08),
        "policy",
        {
            "loss_type": "grpo",
            "importance_sampling_level": "sequence",
            "epsilon_low": 0.05,
            "epsilon_high": 0.08,
        },
    ),
    Case(
        "clipped_policy",
        "dual clip at 1.5",
        policy("seq_mean", dual=1.5),
        "policy",
        {"loss_type": "grpo", "delta": 1.5},
    ),
    Case(
        "clipped_policy",
        "importance weights, not on k3",
        policy("seq_mean", kl=0.04, weighed=True),
        "policy",
        {"loss_type": "grpo", "beta": 0.04, "importance": True},
    ),
)
