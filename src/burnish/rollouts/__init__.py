"""Rollouts: replies sampled from a model, and the credit each of their tokens gets."""

from burnish.rollouts.collect import collect
from burnish.rollouts.constraint import Constraint, ConstraintSettings, constraint
from burnish.rollouts.control import AdaptiveKl, KlControl
from burnish.rollouts.credit import (
    Controls,
    GrpoCredit,
    PpoCredit,
    Reply,
    grpo_segments,
    pair_segments,
    ppo_segments,
)
from burnish.rollouts.online import OnlineSettings, OnlineSource
from burnish.rollouts.scoring import scorer

__all__ = [
    "AdaptiveKl",
    "Constraint",
    "ConstraintSettings",
    "Controls",
    "GrpoCredit",
    "KlControl",
    "OnlineSettings",
    "OnlineSource",
    "PpoCredit",
    "Reply",
    "collect",
    "constraint",
    "grpo_segments",
    "pair_segments",
    "ppo_segments",
    "scorer",
]
