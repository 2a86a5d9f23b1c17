"""Preference pairs from the candidates of one prompt, and the best of n."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from burnish.config import Settings
from burnish.records import Message, Preference, Prompt, Rollout, content_id
from burnish.rewards.verifiers import verify_prompt


class PairSettings(Settings):
    """How pairs are chosen.

    ``best_worst`` takes the widest margin first; ``window`` draws by seed among all pairs whose
    margin lies in ``[min_margin, max_margin]``. A pair needs a margin above 0: equal scores say
    nothing. ``ties="reward"`` lets the reward decide between replies the verifier scores equal.
    """

    choose: Literal["best_worst", "window"] = "best_worst"
    pairs_per_prompt: int = 1
    min_margin: float = 0.0
    max_margin: float = math.inf
    ties: Literal["drop", "reward"] = "drop"
    seed: int = 0


@dataclass(frozen=True)
class PairReport:
    """What became of the prompts, and whether longer replies win.

    ``chosen_longer`` is the share of pairs whose chosen reply has more characters, among those of
    unequal length (0.5 says no bias); ``chosen_length``, ``rejected_length`` are means in
    characters.
    """

    prompts: int
    prompts_with_pair: int
    pairs: int
    dropped_equal: int
    mean_margin: float
    chosen_length: float
    rejected_length: float
    chosen_longer: float


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
    dropped = paired = 0
    for prompt_id in sorted(groups):
        prompt = prompts[prompt_id]
        margins, equal = _margins(prompt, groups[prompt_id], settings)
        dropped += equal
        chosen = _choose(prompt_id, margins, settings)
        paired += bool(chosen)
        preferences += [_preference(prompt, *pair) for pair in chosen]
    return preferences, _report(preferences, len(groups), paired, dropped)


Pair = tuple[Rollout, Rollout, float]


def _margins(
    prompt: Prompt, rollouts: Sequence[Rollout], settings: PairSettings
) -> tuple[list[Pair], int]:
    """Every usable (better, worse, margin) of one prompt, and how many were equal."""
    distinct: dict[str, tuple[Rollout, float]] = {}
    for rollout in sorted(rollouts, key=lambda item: item.id):
        check = verify_prompt(prompt, rollout.completion)
        quality = rollout.reward if check is None else check.score
        distinct.setdefault(rollout.completion.strip(), (rollout, quality))
    pairs: list[Pair] = []
    equal = 0
    for (left, left_quality), (right, right_quality) in combinations(distinct.values(), 2):
        margin = left_quality - right_quality
        if margin == 0 and settings.ties == "reward":
            margin = left.reward - right.reward
        if margin == 0:
            equal += 1
            continue
        better, worse = (left, right) if margin > 0 else (right, left)
        if settings.min_margin <= abs(margin) <= settings.max_margin:
            pairs.append((better, worse, abs(margin)))
    return pairs, equal


def _choose(prompt_id: str, pairs: list[Pair], settings: PairSettings) -> list[Pair]:
    if settings.choose == "window":
        source = random.Random(f"{settings.seed}:{prompt_id}")
        return source.sample(pairs, min(settings.pairs_per_prompt, len(pairs)))
    # Among equal margins the pair of most similar length, so that length is not what is learnt.
    ranked = sorted(pairs, key=lambda pair: (-pair[2], _gap(pair), pair[0].id, pair[1].id))
    return ranked[: settings.pairs_per_prompt]


def _gap(pair: Pair) -> int:
    return abs(len(pair[0].completion) - len(pair[1].completion))


def _preference(prompt: Prompt, better: Rollout, worse: Rollout, margin: float) -> Preference:
    def turn(rollout: Rollout) -> list[Message]:
        return [{"role": "assistant", "content": rollout.completion}]

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
        margin=margin,
        task=prompt.task,
        topic=prompt.topic,
        group=prompt.group,
    )


def _report(pairs: Sequence[Preference], prompts: int, paired: int, dropped: int) -> PairReport:
    chosen = [len(pair.chosen[-1]["content"]) for pair in pairs]
    rejected = [len(pair.rejected[-1]["content"]) for pair in pairs]
    unequal = [c > r for c, r in zip(chosen, rejected, strict=True) if c != r]
    count = max(1, len(pairs))
    return PairReport(
        prompts=prompts,
        prompts_with_pair=paired,
        pairs=len(pairs),
        dropped_equal=dropped,
        mean_margin=sum(pair.margin for pair in pairs) / count,
        chosen_length=sum(chosen) / count,
        rejected_length=sum(rejected) / count,
        chosen_longer=sum(unequal) / len(unequal) if unequal else 0.5,
    )


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
