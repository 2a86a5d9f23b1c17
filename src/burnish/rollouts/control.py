"""The weight of the divergence in PPO's reward, moved to keep the divergence near a target."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field, PositiveFloat, PositiveInt

from burnish.config import Settings
from burnish.objectives.divergence import adaptive_kl


class AdaptiveKl(Settings):
    """After each phase ``kl_coef`` is multiplied by 1 + clip(KL / target - 1, -0.2, 0.2) *
    replies / horizon (Ziegler et al. 2019, arXiv 1909.08593, section 2.2)."""

    target: PositiveFloat = Field(6.0, description="nats a reply")
    horizon: PositiveInt = Field(10000, description="replies; at least those of a phase")


@dataclass(frozen=True)
class KlControl:
    """Where the weight begins, and how it moves."""

    initial: float
    settings: AdaptiveKl

    def after(self, coefficient: float, kl: float, replies: int) -> float:
        """The next phase's weight, from this one's, its divergence and its number of replies."""
        own = self.settings
        return adaptive_kl(coefficient, kl, target=own.target, horizon=own.horizon, samples=replies)
