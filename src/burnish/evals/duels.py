"""Two models' replies to the same conversations, and what a judge or reward model makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from burnish.evals.ratings import Game, Ratings, bradley_terry
from burnish.evals.tasks import Response
from burnish.evals.winrates import WinRate, win_rate
from burnish.records import content_id
from burnish.rewards.candidates import Candidate
from burnish.rewards.judge import settle

Pair = tuple[Candidate, Candidate]
Decide = Callable[[Sequence[Pair]], list[float | None]]
"""For each pair 1 where the second reply is better, 0 the first, 0.5 neither, None no verdict."""


@dataclass(frozen=True)
class Duels:
    """What came of all pairs of models: each one's win rate over the first, and ratings of all
    (None where nothing was decided)."""

    win_rates: dict[str, WinRate]
    ratings: Ratings | None


@dataclass(frozen=True)
class Asked:
    """One model's replies by conversation, with the group of each."""

    replies: dict[str, Candidate]
    groups: dict[str, str]


def asked(responses: Sequence[Response]) -> Asked:
    """The replies that a model wrote, one a conversation; options chosen by likelihood are none."""
    found = Asked({}, {})
    for one in responses:
        key = content_id(one.messages)
        if one.options or key in found.replies:
            continue
        found.replies[key] = Candidate(
            one.item_id, one.messages, one.reply, one.lang, one.verify, one.finish == "stop"
        )
        found.groups[key] = one.group or key
    return found


def duel(models: Mapping[str, Sequence[Response]], decide: Decide) -> Duels:
    """Let every two models meet on the conversations that both were asked.

    Args:
        models: responses by name; win rates are over the first.
        decide: called once for each two models.
    """
    everyone = {name: asked(responses) for name, responses in models.items()}
    first = next(iter(models))
    games: list[Game] = []
    win_rates: dict[str, WinRate] = {}
    for one, other in combinations(models, 2):
        left, right = everyone[one], everyone[other]
        shared = [key for key in left.replies if key in right.replies]
        pairs = [(left.replies[key], right.replies[key]) for key in shared]
        outcomes, groups = decide(pairs), [left.groups[key] for key in shared]
        games += [
            Game(one, other, 1 - outcome, group)
            for outcome, group in zip(outcomes, groups, strict=True)
            if outcome is not None
        ]
        if one == first:
            gaps = [len(b.reply) - len(a.reply) for a, b in pairs]
            win_rates[other] = win_rate(outcomes, gaps, groups)
    return Duels(win_rates, bradley_terry(games) if games else None)


def by_score(score: Callable[[Sequence[Candidate]], Sequence[float]]) -> Decide:
    """Decide by the higher score. A reply that says nothing loses, and the same sentences are a
    tie, whatever the score says."""

    def decide(pairs: Sequence[Pair]) -> list[float | None]:
        settled = [settle(*pair) for pair in pairs]
        open_pairs = [pair for pair, value in zip(pairs, settled, strict=True) if value is None]
        scores = iter(score([one for pair in open_pairs for one in pair]))
        return [
            _outcome(next(scores) - next(scores)) if value is None else (1 - value) / 2
            for value in settled
        ]

    return decide


def _outcome(lead: float) -> float:
    """1, 0.5 or 0 of the second, from the first's lead."""
    return 0.5 if lead == 0 else float(lead < 0)
