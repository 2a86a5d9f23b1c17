"""Long-term consistency: the same probe answered by every version of a model, and how they differ.

Two versions agree on an item where its verifier says the same of both replies and both decline or
neither does; an item without a verifier needs the same words. Drift is the share of items on which
they do not agree, whichever of them is better.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from burnish.config import InputError, Problem
from burnish.evals.statistics import mean_figure
from burnish.evals.tasks import Response
from burnish.records import Figure
from burnish.rewards.matching import normalise
from burnish.store import atomic

FILE = "probe.json"
DRIFT = "drift"
"""The metric of a gate that bounds drift: agreement with an earlier version, 1 or 0 an item."""


@dataclass(frozen=True)
class Answer:
    """A version's reply to one item. ``logprob`` is the sum of its ``tokens``' log-probabilities
    (nats) under the version itself, the end token's with them; None where it was served."""

    reply: str
    outcome: str
    refused: bool
    group: str = ""
    logprob: float | None = None
    tokens: int = 0

    def agrees(self, other: Answer) -> bool:
        """Whether two versions' answers to one item come to the same."""
        if not self.outcome and not other.outcome:
            return self.same(other)
        return (self.outcome, self.refused) == (other.outcome, other.refused)

    def same(self, other: Answer) -> bool:
        """Whether they say the same words."""
        return normalise(self.reply) == normalise(other.reply)


@dataclass(frozen=True)
class Version:
    """A model's answers by item. ``divergence`` says, by earlier version, how much less likely its
    replies are under this one: nats a token, an estimate of KL(earlier | this) on greedy replies
    (None where it cannot be known)."""

    name: str
    answers: dict[str, Answer]
    divergence: dict[str, float | None]


def answers(
    responses: Sequence[Response], logprobs: Sequence[tuple[float, int]] | None
) -> dict[str, Answer]:
    """Responses to a probe with their replies' log-probabilities and numbers of tokens."""
    weighed = [(None, 0)] * len(responses) if logprobs is None else logprobs
    return {
        one.item_id: Answer(one.reply, one.outcome, one.refused, one.group, total, count)
        for one, (total, count) in zip(responses, weighed, strict=True)
    }


def divergence(
    earlier: Mapping[str, Answer], under: Mapping[str, tuple[float, int]]
) -> float | None:
    """Nats a token that an earlier version's replies lose under another model, by its own tokens.

    Args:
        under: the log-probability of each reply under the other model, by item.
    """
    known = [(one, under[item][0]) for item, one in earlier.items() if one.logprob is not None]
    tokens = sum(one.tokens for one, _ in known)
    if not tokens:
        return None
    return sum((one.logprob or 0.0) - total for one, total in known) / tokens


def agreement(earlier: Version, later: Version) -> tuple[list[float], list[str]]:
    """1 or 0 for each item that both answered, and the items' groups."""
    shared = [item for item in earlier.answers if item in later.answers]
    values = [float(earlier.answers[item].agrees(later.answers[item])) for item in shared]
    return values, [later.answers[item].group or item for item in shared]


def drift(earlier: Version, later: Version) -> Figure:
    """The share of items on which two versions do not agree."""
    values, groups = agreement(earlier, later)
    return mean_figure([1 - value for value in values], groups)


def furthest(versions: Sequence[Version]) -> Version | None:
    """The earlier version from which the last one has drifted most; None where it is the first."""
    *earlier, last = versions
    return max(earlier, key=lambda one: drift(one, last).value, default=None)


def matrix(versions: Sequence[Version], same_words: bool = False) -> list[list[float]]:
    """Agreement of every two versions, ``[V][V]``; or how often they say the same words."""
    return [[_share(one, other, same_words) for other in versions] for one in versions]


def _share(one: Version, other: Version, same_words: bool) -> float:
    shared = [item for item in one.answers if item in other.answers]
    compare = Answer.same if same_words else Answer.agrees
    return sum(compare(one.answers[i], other.answers[i]) for i in shared) / max(1, len(shared))


def write(folder: Path, versions: Sequence[Version]) -> None:
    """Write all versions into ``folder``."""
    atomic.write_json(folder / FILE, [asdict(version) for version in versions])


def read(folder: Path) -> list[Version]:
    """The versions that ``write`` wrote, oldest first.

    Raises:
        InputError: no such file, or not of that form.
    """
    path = folder / FILE
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [
            Version(
                row["name"],
                {item: Answer(**answer) for item, answer in row["answers"].items()},
                dict(row["divergence"]),
            )
            for row in rows
        ]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        found = f"cannot be read: {error}"
        raise InputError(Problem(str(path), None, "", found, "a probe's versions")) from None
