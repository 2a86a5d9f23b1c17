"""Chained filters over candidates, with a funnel that says what each one removed and why."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from burnish.config import Settings
from burnish.records import Prompt, Rollout
from burnish.rewards.formats import split_words
from burnish.rewards.refusal import is_refusal
from burnish.rewards.textstats import language_of, repetition


class FilterSettings(Settings):
    """Which filters run and how strict they are, in the order they are applied.

    ``min_reward`` is compared with the rollout's aggregate score; ``keep_top`` keeps this share of
    what is left, the best of every topic, at least one a topic. None switches either off.
    """

    finished: bool = True
    min_words: int = 1
    max_words: int = 400
    max_repetition: float = 0.5
    match_language: bool = True
    no_unwanted_refusal: bool = True
    min_reward: float | None = 0.8
    keep_top: float | None = None
    examples: int = 3


E = TypeVar("E")


@dataclass(frozen=True)
class Removed:
    """One removed candidate, kept for the report."""

    rollout_id: str
    prompt: str
    reply: str
    reason: str


@dataclass(frozen=True)
class Step(Generic[E]):
    """What one filter did: ``entered`` candidates came in, ``left`` went on."""

    name: str
    entered: int
    left: int
    examples: list[E]

    @property
    def removed(self) -> int:
        """How many candidates this filter took out."""
        return self.entered - self.left


@dataclass(frozen=True)
class Filtered:
    """The candidates that passed every filter, in their order, and the funnel."""

    kept: list[Rollout]
    funnel: list[Step[Removed]]


Reason = str
"""Why a candidate is removed; empty when it stays."""


def run_filters(
    prompts: Mapping[str, Prompt], rollouts: Sequence[Rollout], settings: FilterSettings
) -> Filtered:
    """Apply the filters one after another.

    Args:
        prompts: the prompt of every rollout by ``prompt_id``.
        rollouts: scored candidates; ``reward`` is their aggregate score.
    """
    kept = list(rollouts)
    funnel = []
    for name, check in _checks(prompts, settings):
        reasons = [check(rollout) for rollout in kept]
        funnel.append(_step(name, kept, reasons, settings.examples))
        kept = [rollout for rollout, reason in zip(kept, reasons, strict=True) if not reason]
    if settings.keep_top is not None:
        rows = [(rollout.topic, rollout.reward, rollout.id) for rollout in kept]
        best = best_within(rows, settings.keep_top)
        reasons = ["" if index in best else "not among the best" for index in range(len(kept))]
        funnel.append(_step("keep_top", kept, reasons, settings.examples))
        kept = [rollout for index, rollout in enumerate(kept) if index in best]
    return Filtered(kept, funnel)


def _checks(
    prompts: Mapping[str, Prompt], settings: FilterSettings
) -> list[tuple[str, Callable[[Rollout], Reason]]]:
    checks: list[tuple[str, Callable[[Rollout], Reason]]] = []
    if settings.finished:
        checks.append(("finished", lambda r: "" if r.finish == "stop" else "cut off"))
    checks.append(("length", lambda r: _length(r, settings)))
    checks.append(("repetition", lambda r: _repetition(r, settings.max_repetition)))
    if settings.match_language:
        checks.append(("language", lambda r: _language(prompts[r.prompt_id], r)))
    if settings.no_unwanted_refusal:
        checks.append(("unwanted_refusal", lambda r: _refusal(prompts[r.prompt_id], r)))
    low = settings.min_reward
    if low is not None:
        checks.append(("reward", lambda r: "" if r.reward >= low else f"{r.reward:.3f} < {low}"))
    return checks


def _length(rollout: Rollout, settings: FilterSettings) -> Reason:
    count = len(split_words(rollout.completion))
    if count < settings.min_words:
        return f"{count} words, fewer than {settings.min_words}"
    return f"{count} words, more than {settings.max_words}" if count > settings.max_words else ""


def _repetition(rollout: Rollout, limit: float) -> Reason:
    share = repetition(rollout.completion)
    return f"repetition {share:.2f} over {limit}" if share > limit else ""


def _language(prompt: Prompt, rollout: Rollout) -> Reason:
    found = language_of(rollout.completion)
    return (
        f"answers in {found}, asked in {prompt.lang}" if found not in ("none", prompt.lang) else ""
    )


def _refusal(prompt: Prompt, rollout: Rollout) -> Reason:
    wanted = prompt.verify is not None and prompt.verify.get("kind") == "refuse"
    return "refuses a harmless request" if not wanted and is_refusal(rollout.completion) else ""


def best_within(rows: Sequence[tuple[str, float, str]], share: float) -> set[int]:
    """Indices of the best ``share`` of every topic, rounded up, so at least one of each.

    Args:
        rows: topic, score and what decides between equal scores (the lesser stays).
    """
    topics: dict[str, list[int]] = defaultdict(list)
    for index, (topic, _, _) in enumerate(rows):
        topics[topic].append(index)
    best: set[int] = set()
    for group in topics.values():
        ranked = sorted(group, key=lambda index: (-rows[index][1], rows[index][2]))
        best.update(ranked[: max(1, math.ceil(share * len(ranked)))])
    return best


def _step(
    name: str, entered: Sequence[Rollout], reasons: Sequence[Reason], count: int
) -> Step[Removed]:
    removed = [
        Removed(rollout.id, rollout.prompt[-1]["content"], rollout.completion, reason)
        for rollout, reason in zip(entered, reasons, strict=True)
        if reason
    ]
    return Step(name, len(entered), len(entered) - len(removed), removed[:count])
