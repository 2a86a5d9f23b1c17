"""Preference pairs from the candidates of one prompt, and the best of n."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from pydantic import Field

from burnish.config import Settings
from burnish.records import Message, Preference, Prompt, Rollout, content_id
from burnish.rewards.verifiers import verify_prompt

Choose = Literal["best_worst", "best_random", "window", "hard"]


class PairSettings(Settings):
    """How pairs are chosen.

    ``best_worst`` takes the widest margin first; ``best_random`` sets the best reply against
    worse ones drawn by seed; ``window`` draws by seed among all pairs; ``hard`` sets replies that
    the verifier finds right against the wrong ones that the reward rates highest (hard negatives).
    A pair needs a margin above 0 (equal scores say nothing) that lies in ``[min_margin,
    max_margin]``. ``max_length_ratio`` pairs only replies of which the longer has at most so many
    times the characters of the shorter. ``ties="reward"`` lets the reward decide between replies
    the verifier scores equal.
    """

    choose: Choose = "best_worst"
    pairs_per_prompt: int = 1
    min_margin: float = 0.0
    max_margin: float = math.inf
    max_length_ratio: float | None = Field(None, ge=1)
    ties: Literal["drop", "reward"] = "drop"
    seed: int = 0


@dataclass(frozen=True)
class PairReport:
    """What became of the prompts, and whether longer replies win.

    ``chosen_longer`` is the share of pairs whose chosen reply has more characters, among the
    ``unequal`` pairs, those of unequal length (0.5 says no bias); ``chosen_length``,
    ``rejected_length`` are means in characters. ``length_correlation`` is that of all usable pairs
    of the prompts between margin and characters, better reply minus worse (Pearson, each pair taken
    both ways round): above 0 the scores themselves favour length.
    ``dropped_length``: pairs that ``max_length_ratio`` left out.
    """

    prompts: int
    prompts_with_pair: int
    pairs: int
    dropped_equal: int
    dropped_length: int
    mean_margin: float
    chosen_length: float
    rejected_length: float
    chosen_longer: float
    unequal: int
    length_correlation: float


def make_pairs(
    prompts: Mapping[str, Prompt], rollouts: Sequence[Rollout], settings: PairSettings
) -> tuple[list[Preference], PairReport]:
    """Pair candidates of the same prompt; deterministic, whatever the order of the rollouts.

    Quality is the verifier's score where the prompt has one (right 1 > abstained 0 > wrong −1, a
    share for formats), otherwise the rollout's reward. The margin is the difference of the two
    qualities (of the two rewards for a verifier's tie).

    Args:
        prompts: the prompt of every rollout by ``prompt_id``.
        rollouts: candidates with their aggregate score in ``reward``.
    """
    groups: dict[str, list[Rollout]] = defaultdict(list)
    for rollout in rollouts:
        groups[rollout.prompt_id].append(rollout)
    preferences: list[Preference] = []
    usable: list[_Pair] = []
    equal = paired = unlike = 0
    for prompt_id in sorted(groups):
        prompt = prompts[prompt_id]
        pairs, same = _margins(prompt, groups[prompt_id], settings)
        fitting = [pair for pair in pairs if _alike(pair, settings.max_length_ratio)]
        chosen = _choose(prompt_id, fitting, settings)
        usable += pairs
        equal += same
        unlike += len(pairs) - len(fitting)
        paired += bool(chosen)
        preferences += [_preference(prompt, pair) for pair in chosen]
    counts = {
        "prompts": len(groups),
        "prompts_with_pair": paired,
        "dropped_equal": equal,
        "dropped_length": unlike,
    }
    return preferences, _report(preferences, usable, counts)


@dataclass(frozen=True)
class _Candidate:
    """``quality`` orders the candidates of a prompt; ``outcome`` is the verifier's, or empty."""

    rollout: Rollout
    quality: float
    outcome: str

    @property
    def length(self) -> int:
        return len(self.rollout.completion)


@dataclass(frozen=True)
class _Pair:
    better: _Candidate
    worse: _Candidate
    margin: float


def _margins(
    prompt: Prompt, rollouts: Sequence[Rollout], settings: PairSettings
) -> tuple[list[_Pair], int]:
    """Every usable pair of one prompt, and how many were equal."""
    distinct: dict[str, _Candidate] = {}
    for rollout in sorted(rollouts, key=lambda item: item.id):
        check = verify_prompt(prompt, rollout.completion)
        quality, outcome = (rollout.reward, "") if check is None else (check.score, check.outcome)
        found = _Candidate(rollout, quality, outcome)
        distinct.setdefault(rollout.completion.strip(), found)
    pairs: list[_Pair] = []
    equal = 0
    for left, right in combinations(distinct.values(), 2):
        margin = left.quality - right.quality
        if margin == 0 and settings.ties == "reward":
            margin = left.rollout.reward - right.rollout.reward
        if margin == 0:
            equal += 1
            continue
        better, worse = (left, right) if margin > 0 else (right, left)
        if settings.min_margin <= abs(margin) <= settings.max_margin:
            pairs.append(_Pair(better, worse, abs(margin)))
    return pairs, equal


def _alike(pair: _Pair, ratio: float | None) -> bool:
    short, long = sorted((pair.better.length, pair.worse.length))
    return ratio is None or long <= ratio * short


def _choose(prompt_id: str, pairs: list[_Pair], settings: PairSettings) -> list[_Pair]:
    # Among equals the pair of most similar length, so that length is not what is learnt.
    ranked = sorted(
        pairs, key=lambda p: (-p.margin, _gap(p), p.better.rollout.id, p.worse.rollout.id)
    )
    most = settings.pairs_per_prompt
    if settings.choose == "best_worst" or not pairs:
        return ranked[:most]
    if settings.choose == "hard":
        hard = [p for p in ranked if (p.better.outcome, p.worse.outcome) == ("right", "wrong")]
        return sorted(hard, key=lambda p: (-p.worse.rollout.reward, _gap(p)))[:most]
    if settings.choose == "best_random":
        best = max(p.better.quality for p in pairs)
        first = next(p.better for p in ranked if p.better.quality == best)
        pairs = [p for p in pairs if p.better is first]
    source = random.Random(f"{settings.seed}:{prompt_id}")
    return source.sample(pairs, min(most, len(pairs)))


def _gap(pair: _Pair) -> int:
    return abs(pair.better.length - pair.worse.length)


def _preference(prompt: Prompt, pair: _Pair) -> Preference:
    def turn(rollout: Rollout) -> list[Message]:
        return [{"role": "assistant", "content": rollout.completion}]

    better, worse = pair.better.rollout, pair.worse.rollout
    return Preference(
        id=content_id("pair", prompt.id, better.id, worse.id),
        source="pairs",
        lang=prompt.lang,
        tier="selected",
        synthetic=True,
        parents=(prompt.id, better.id, worse.id),
        prompt=prompt.messages,
        chosen=turn(better),
        rejected=turn(worse),
        margin=pair.margin,
        task=prompt.task,
        topic=prompt.topic,
        group=prompt.group,
    )


def _report(
    pairs: Sequence[Preference], usable: Sequence[_Pair], counts: Mapping[str, int]
) -> PairReport:
    chosen = [len(pair.chosen[-1]["content"]) for pair in pairs]
    rejected = [len(pair.rejected[-1]["content"]) for pair in pairs]
    unequal = [c > r for c, r in zip(chosen, rejected, strict=True) if c != r]
    count = max(1, len(pairs))
    return PairReport(
        **counts,
        pairs=len(pairs),
        mean_margin=sum(pair.margin for pair in pairs) / count,
        chosen_length=sum(chosen) / count,
        rejected_length=sum(rejected) / count,
        chosen_longer=sum(unequal) / len(unequal) if unequal else 0.5,
        unequal=len(unequal),
        length_correlation=_correlation(
            [pair.margin for pair in usable],
            [float(pair.better.length - pair.worse.length) for pair in usable],
        ),
    )


def _correlation(margins: Sequence[float], lengths: Sequence[float]) -> float:
    """Pearson's over the differences and the same with both signs turned, whose means are 0."""
    product = sum(m * n for m, n in zip(margins, lengths, strict=True))
    scale = math.sqrt(sum(m * m for m in margins) * sum(n * n for n in lengths))
    return product / scale if scale else 0.0


def best_of(rollouts: Sequence[Rollout], n: int, seed: int = 0) -> list[Rollout]:
    """The best of the first ``n`` candidates of every prompt, by reward; ties drawn by seed.

    With ``n == 1`` it is the first candidate: nothing is selected.
    """
    groups: dict[str, list[Rollout]] = defaultdict(list)
    for rollout in rollouts:
        groups[rollout.prompt_id].append(rollout)
    best = []
    for prompt_id, group in groups.items():
        considered = group[:n]
        top = max(rollout.reward for rollout in considered)
        tied = [rollout for rollout in considered if rollout.reward == top]
        best.append(random.Random(f"{seed}:{prompt_id}").choice(tied))
    return best


def best_of_kl(n: int) -> float:
    """``ln n − (n − 1) / n`` nats: how far best-of-n moves from the sampler (an upper bound)."""
    if n < 1:
        raise ValueError(f"n must be at least 1, found {n}")
    return math.log(n) - (n - 1) / n
