"""Pure functions from tensors to undivided losses, advantages and divergences."""

from burnish.objectives.advantage import (
    GroupKind,
    WhitenKind,
    explained_variance,
    gae,
    gae_packed,
    group_advantages,
    informative,
    overlong_penalty,
    whiten,
)
from burnish.objectives.aggregate import AggregateKind, aggregate
from burnish.objectives.constraint import (
    MultiplierKind,
    constrained_advantages,
    next_multiplier,
)
from burnish.objectives.distillation import (
    DivergenceKind,
    coarse,
    distilled,
    distribution_divergence,
)
from burnish.objectives.divergence import adaptive_kl, k1, k2, k3
from burnish.objectives.importance import importance_weights
from burnish.objectives.language import cross_entropy, held_to
from burnish.objectives.policy import (
    clipped_policy,
    clipped_value,
    policy_metrics,
    sequence_mean,
)
from burnish.objectives.preference import (
    NEEDS_LENGTHS,
    PREFERENCE_KINDS,
    REFERENCE_FREE,
    SOFT,
    PreferenceKind,
    preference,
)
from burnish.objectives.reward import bradley_terry, bradley_terry_heads
from burnish.objectives.types import Loss, Metric, check, metric
from burnish.objectives.unpaired import kto, kto_baseline, mismatched

__all__ = [
    "NEEDS_LENGTHS",
    "PREFERENCE_KINDS",
    "REFERENCE_FREE",
    "SOFT",
    "AggregateKind",
    "DivergenceKind",
    "GroupKind",
    "Loss",
    "Metric",
    "MultiplierKind",
    "PreferenceKind",
    "WhitenKind",
    "adaptive_kl",
    "aggregate",
    "bradley_terry",
    "bradley_terry_heads",
    "check",
    "clipped_policy",
    "clipped_value",
    "coarse",
    "constrained_advantages",
    "cross_entropy",
    "distilled",
    "distribution_divergence",
    "explained_variance",
    "gae",
    "gae_packed",
    "group_advantages",
    "held_to",
    "importance_weights",
    "informative",
    "k1",
    "k2",
    "k3",
    "kto",
    "kto_baseline",
    "metric",
    "mismatched",
    "next_multiplier",
    "overlong_penalty",
    "policy_metrics",
    "preference",
    "sequence_mean",
    "whiten",
]
