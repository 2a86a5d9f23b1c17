"""What a run may cost, and what it has cost so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from burnish.config import Settings

MILLION = 1e6


class Price(Settings):
    """Of one served model, in any currency, for a million tokens of prompts and of replies."""

    prompt: NonNegativeFloat
    reply: NonNegativeFloat


class Budget(Settings):
    """Limits of a run over all its invocations; None is no limit.

    ``hours`` of stages' work by the clock; ``tokens`` trained on and sampled, those of served
    models' replies too; ``money`` for served models at ``prices``, by model name. A run that is
    at a limit makes no further stage; a stage under way is finished. With a higher limit the
    same command goes on.
    """

    hours: PositiveFloat | None = None
    tokens: PositiveInt | None = None
    money: PositiveFloat | None = None
    prices: dict[str, Price] = {}


class BudgetSpent(Exception):
    """A limit is reached and a stage is still to be made; the message says which limit."""


@dataclass(frozen=True)
class Spent:
    """What a run has cost; ``money`` is that of the models with a price."""

    seconds: float
    trained_tokens: int
    sampled_tokens: int
    served_tokens: dict[str, tuple[int, int]]
    money: float

    @property
    def tokens(self) -> int:
        """Tokens trained on, sampled here, and replied by served models."""
        served = sum(reply for _, reply in self.served_tokens.values())
        return self.trained_tokens + self.sampled_tokens + served

    def limit(self, budget: Budget) -> str | None:
        """The sentence that says which limit is reached, or None."""
        hours = self.seconds / 3600
        for spent, most, text in (
            (hours, budget.hours, f"{hours:.3g} hours of {budget.hours} have passed"),
            (self.tokens, budget.tokens, f"{self.tokens:,} tokens of {budget.tokens} are spent"),
            (
                self.money,
                budget.money,
                f"{self.money:.4g} of {budget.money} are spent on served models",
            ),
        ):
            if most is not None and spent >= most:
                return f"budget reached: {text}"
        return None


def spent(rows: Iterable[Mapping[str, Any]], prices: Mapping[str, Price]) -> Spent:
    """Add up the ``stage_ended`` events of a run, also of stages that failed or were stopped."""
    seconds, trained, sampled = 0.0, 0, 0
    served: dict[str, tuple[int, int]] = {}
    for row in rows:
        if row.get("event") != "stage_ended":
            continue
        seconds += row.get("seconds", 0.0)
        trained += row.get("trained_tokens", 0)
        sampled += row.get("sampled_tokens", 0)
        for model, (prompt, reply) in row.get("served_tokens", {}).items():
            before = served.get(model, (0, 0))
            served[model] = (before[0] + prompt, before[1] + reply)
    money = sum(
        (prompt * prices[model].prompt + reply * prices[model].reply) / MILLION
        for model, (prompt, reply) in served.items()
        if model in prices
    )
    return Spent(seconds, trained, sampled, served, money)
