"""A bound on what replies cost: how a reply's cost is found, and the multiplier that follows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from burnish.config import InputError, ModelRef, Problem, Settings
from burnish.objectives.constraint import MultiplierKind, next_multiplier
from burnish.records import Prompt, Rollout
from burnish.rewards.refusal import is_abstention, is_refusal
from burnish.rewards.reward_model import RewardModel
from burnish.rewards.verifiers import verify_prompt

Cost = Callable[[list[Rollout]], Sequence[float]]
BY_TEXT = {"refusal": is_refusal, "abstention": is_abstention}
"""Costs of 1 where the reply's text is of a kind, and 0 elsewhere."""


class ConstraintSettings(Settings):
    """Keep the mean cost of replies at or below ``budget`` (Safe RLHF, arXiv 2310.12773).

    ``cost`` is minus the score of ``model`` (``reward_model``; of its one ``head`` where named),
    or (1 - score) / 2 of the prompt's verifier: 0 right, 1/2 abstained, 1 wrong (``verifier``), or
    1 where the reply refuses (``refusal``) or says that it does not know (``abstention``) and 0
    elsewhere. Advantages are
    (A_reward - lambda A_cost) / (1 + lambda). After each phase lambda grows where its mean cost
    was above the budget and falls where below: ln lambda += ``learning_rate`` * (cost - budget),
    times lambda where ``update`` is ``scaled`` (the paper's eq. 31; ``plain`` is the authors'
    later answer); plus ``damping`` times what the cost has changed since the phase before (PID
    Lagrangian, arXiv 2007.03964), which keeps it from overshooting.
    """

    cost: Literal["reward_model", "verifier", "refusal", "abstention"]
    model: ModelRef | None = None
    head: str | None = None
    budget: float = Field(description="in units of the cost", allow_inf_nan=False)
    learning_rate: PositiveFloat = 0.1
    initial: PositiveFloat = Field(1.0, description="lambda in the first phase")
    damping: float = Field(0.0, ge=0, allow_inf_nan=False)
    minimum: PositiveFloat = Field(0.01, description="of lambda")
    maximum: PositiveFloat = Field(100.0, description="of lambda")
    update: MultiplierKind = "scaled"

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if (self.cost == "reward_model") != (self.model is not None):
            raise ValueError("model goes with cost: reward_model, and only with it")
        if self.head is not None and self.model is None:
            raise ValueError("head is one of a reward model: it needs model")
        if not self.minimum <= self.initial <= self.maximum or self.minimum == self.maximum:
            raise ValueError("expected minimum <= initial <= maximum, and minimum < maximum")
        return self


@dataclass(frozen=True)
class Constraint:
    """Settings, and the cost of each of some rollouts."""

    settings: ConstraintSettings
    cost: Cost

    def after(self, multiplier: float, cost: float, before: float | None) -> float:
        """The multiplier of the next phase, from this one's, this one's mean cost and that of the
        phase ``before``."""
        own = self.settings
        return next_multiplier(
            multiplier, cost - own.budget, own.learning_rate, own.update,
            change=0.0 if before is None else cost - before, damping=own.damping,
            minimum=own.minimum, maximum=own.maximum,
        )  # fmt: skip


def constraint(
    settings: ConstraintSettings, prompts: Sequence[Prompt], model: str | None, device: str
) -> Constraint:
    """The constraint of these settings.

    Args:
        prompts: those that will be replied to.
        model: the folder that ``settings.model`` refers to.

    Raises:
        InputError: a prompt has nothing to verify its replies by, or ``model`` is not a reward
            model with that head.
    """
    if settings.cost in BY_TEXT:
        said = BY_TEXT[settings.cost]
        return Constraint(settings, lambda found: [float(said(one.completion)) for one in found])
    if settings.cost == "verifier":
        return Constraint(settings, _verifier(prompts))
    assert model is not None
    weights = {settings.head: 1.0} if settings.head else None
    scorer = RewardModel.load(Path(model), device, weights)
    return Constraint(
        settings,
        lambda found: [-score for score in scorer.score([(r.prompt, r.completion) for r in found])],
    )


def _verifier(prompts: Sequence[Prompt]) -> Cost:
    bare = [prompt.id for prompt in prompts if prompt.verify is None]
    if bare:
        text = f"{len(bare)} prompts have no verify, such as {bare[0]}"
        raise InputError(Problem("", None, "constraint.cost", text, "verify in each prompt"))
    by_id: Mapping[str, Prompt] = {prompt.id: prompt for prompt in prompts}

    def cost(rollouts: list[Rollout]) -> list[float]:
        checks = [verify_prompt(by_id[one.prompt_id], one.completion) for one in rollouts]
        return [(1 - check.score) / 2 for check in checks if check is not None]

    return cost
