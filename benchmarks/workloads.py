"""What is measured. Both sides are given the same description and make the same rows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["sft", "dpo", "reward", "rollout", "grpo", "grpo_step", "ppo"]
Span = tuple[int, int]

MAX_LENGTH = 256
"""Tokens of the longest row, and of a packed row."""
PER_PROMPT = 8
"""Replies to a prompt, in sampling and in GRPO: TRL's default."""
ALPHA = 32
"""LoRA's alpha, whatever its rank."""


@dataclass(frozen=True)
class Workload:
    """One line of the table.

    ``batch`` is what one step takes: rows, pairs, or replies. Lengths in tokens are drawn between
    the ends of ``prompt`` and ``reply``, short ones more often than long ones. ``rank``: of LoRA
    on every linear layer but the head; 0 trains all weights. ``peer`` overrides TRL's own defaults;
    everything that is not there and need not be equal stays TRL's default.
    """

    name: str
    about: str
    kind: Kind
    batch: int
    prompt: Span
    reply: Span
    replies: int
    rank: int = 0
    peer: Mapping[str, Any] = field(default_factory=dict)

    @property
    def prompts(self) -> int:
        """Distinct prompts of a step."""
        return self.batch // PER_PROMPT if self.replies == PER_PROMPT else 0

    @property
    def alone(self) -> bool:
        """Whether there is no peer: TRL has no PPO any more."""
        return self.kind == "ppo"


_TEXT: dict[str, Any] = {"batch": 8, "prompt": (6, 60), "reply": (18, 180), "replies": 1}
_PAIRS: dict[str, Any] = {"batch": 4, "prompt": (12, 120), "reply": (12, 120), "replies": 2}
_GROUPS: dict[str, Any] = {"prompt": (8, 64), "reply": (8, 48), "replies": PER_PROMPT}
# Both need a reference (TRL has none by default, burnish always has one), and the same divergence:
# TRL multiplies it by the importance ratio by default.
_WITH_REFERENCE = {"beta": 0.04, "use_bias_correction_kl": False}

WORKLOADS = (
    Workload("sft", "SFT, padded", "sft", **_TEXT),
    Workload(
        "sft-plain",
        "SFT, padded, TRL without checkpointing",
        "sft",
        **_TEXT,
        peer={"gradient_checkpointing": False},
    ),
    Workload("sft-packed", "SFT, TRL packing", "sft", **_TEXT, peer={"packing": True}),
    Workload("sft-lora", "SFT, LoRA r=16", "sft", **_TEXT, rank=16),
    Workload("dpo", "DPO", "dpo", **_PAIRS),
    Workload(
        "dpo-precomputed",
        "DPO, reference precomputed",
        "dpo",
        **_PAIRS,
        peer={"precompute_ref_log_probs": True},
    ),
    Workload("reward", "Reward model", "reward", **_PAIRS),
    Workload("rollout", "Rollout, 8 per prompt", "rollout", batch=32, **_GROUPS),
    Workload("grpo", "GRPO, update", "grpo", batch=16, **_GROUPS, peer=_WITH_REFERENCE),
    Workload(
        "grpo-step", "GRPO, whole step", "grpo_step", batch=16, **_GROUPS, peer=_WITH_REFERENCE
    ),
    Workload("ppo", "PPO, update", "ppo", batch=16, **_GROUPS),
)


def chosen(names: str | None) -> list[Workload]:
    """The workloads of a comma-separated list, in the order of the table; all for None.

    Raises:
        ValueError: an unknown name.
    """
    known = [workload.name for workload in WORKLOADS]
    wanted = known if names is None else names.split(",")
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(f"no workload {', '.join(unknown)}; there are: {', '.join(known)}")
    return [workload for workload in WORKLOADS if workload.name in wanted]


def from_json(values: Mapping[str, Any]) -> Workload:
    """A workload back from ``dataclasses.asdict``, as a worker gets it."""
    spans = {name: tuple(values[name]) for name in ("prompt", "reply")}
    return Workload(**{**values, **spans})
