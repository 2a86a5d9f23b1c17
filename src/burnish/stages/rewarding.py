"""What the replies of a policy are worth: the rewards that a fit mixes, and how the mix moves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from pydantic import Field, NonNegativeFloat

from burnish.config import InputError, Problem, Settings, process
from burnish.evals.scored import JUDGE
from burnish.records import Prompt, Rollout
from burnish.rewards.ensemble import Aggregate
from burnish.rewards.reward_model import RewardModel
from burnish.rewards.scorers import Resources, ScorerSettings
from burnish.rewards.scoring import ScoreCache, score
from burnish.rewards.verifiers import verify_prompt
from burnish.rollouts.online import Anneal
from burnish.stages.base import Context, Inputs
from burnish.stages.judging import JudgeSettings, load_judge
from burnish.stages.scoring import SCORES

log = logging.getLogger(__name__)

Part = Literal["verifier", "model", "judge"]
Grades = Callable[[list[Rollout]], list[float | None]]


class RewardMix(Settings):
    """Weights of the rewards: the verifier's +1 / 0 / -1, the reward model's score, and the
    ``judge``'s grade between 0 (worst) and 1 (best).

    ``objectives`` weighs the heads of a reward model that has several, by name, in that score;
    those not named count for nothing. Left empty, the score is their mean. ``aggregate`` makes one
    score of those of an ensemble's members. ``until`` names weights that the last phase has
    instead; those of the phases before lie on a straight line to there.
    """

    verifier: float = Field(1.0, ge=0)
    model: float = Field(0.1, ge=0)
    judge: float = Field(1.0, ge=0)
    objectives: dict[str, float] = {}
    aggregate: Aggregate = Aggregate()
    until: dict[Part, NonNegativeFloat] = {}

    def at(self, share: float) -> RewardMix:
        """The weights at ``share`` of the way from the first phase (0) to the last (1)."""
        moved: dict[str, float] = {
            part: (1 - share) * getattr(self, part) + share * to for part, to in self.until.items()
        }
        return self.model_copy(update=moved)

    def ever(self, part: Part) -> bool:
        """Whether a reward counts in any phase."""
        weights: list[float] = [getattr(self, part), self.until.get(part, 0.0)]
        return max(weights) > 0


class Rewards(Protocol):
    """Rewards of rollouts by the weights of the first phase, or by those of ``now``."""

    def __call__(
        self, rollouts: list[Rollout], now: RewardMix | None = None
    ) -> list[float | None]: ...


def reward_function(
    prompts: Sequence[Prompt],
    mix: RewardMix,
    reward: str | None,
    device: str,
    judge: Grades | None = None,
) -> Rewards:
    """Rewards of rollouts: the weighted sum of what applies to each prompt.

    A reply that ``judge`` gave no grade has no reward: a sum without the judge's part does not
    compare with the others.

    Raises:
        InputError: a prompt has neither a verifier nor a reward model nor a judge to score it.
    """
    model = None
    if reward and mix.ever("model"):
        model = RewardModel.load(Path(reward), device, mix.objectives, mix.aggregate)
    bare = [prompt.id for prompt in prompts if prompt.verify is None]
    if bare and model is None and judge is None:
        found = f"{len(bare)} prompts have no verify, such as {bare[0]}"
        raise InputError(Problem("", None, "prompts", found, "verify, a reward model or a judge"))
    by_id: Mapping[str, Prompt] = {prompt.id: prompt for prompt in prompts}

    def rewards(rollouts: list[Rollout], now: RewardMix | None = None) -> list[float | None]:
        weights = now or mix
        checks = [verify_prompt(by_id[one.prompt_id], one.completion) for one in rollouts]
        totals = [weights.verifier * check.score if check else 0.0 for check in checks]
        if model is not None:
            scores = model.score([(one.prompt, one.completion) for one in rollouts])
            totals = [t + weights.model * s for t, s in zip(totals, scores, strict=True)]
        if judge is None or weights.judge == 0:
            return list(totals)
        grades = judge(rollouts)
        return [
            None if grade is None else total + weights.judge * grade
            for total, grade in zip(totals, grades, strict=True)
        ]

    return rewards


def judge_function(
    judge: JudgeSettings | None,
    mix: RewardMix,
    inputs: Inputs,
    context: Context,
    prompts: Sequence[Prompt],
) -> Grades | None:
    """The judge's grades between 0 and 1, None where it gives none; kept in the run's cache. None
    in place of the function where there is no judge, or people's labels say it may not be used.

    Raises:
        InputError: as ``load_judge``; or several processes share the fit, which would all ask it.
    """
    if judge is None or not mix.ever("judge"):
        return None
    if process.count() > 1:
        found = f"{process.count()} processes share this fit"
        raise InputError(Problem("", None, "judge", found, "one process: a judge keeps a journal"))
    cache = ScoreCache(context.cache / SCORES)
    judging = load_judge(judge, inputs, context, cache)
    if not judging.usable:
        assert judging.tested is not None
        log.warning("the judge is left out: %s", "; ".join(judging.tested.reasons))
        return None
    resources = Resources(None, None, judge=judging.judge)
    settings = ScorerSettings(weights={JUDGE: 1.0})
    by_id = {prompt.id: prompt for prompt in prompts}

    def grades(rollouts: list[Rollout]) -> list[float | None]:
        rows = score(by_id, rollouts, settings, resources, cache)
        return [row.get(JUDGE) for row in rows]

    return grades


def annealing(mix: RewardMix, rewards: Rewards) -> Anneal | None:
    """What ``OnlineSource`` asks for the rewards of a phase; None where the weights stay."""
    if not mix.until:
        return None

    def anneal(share: float) -> tuple[Grades, dict[str, float]]:
        now = mix.at(share)
        weights = {f"weight_{part}": float(getattr(now, part)) for part in mix.until}
        return partial(rewards, now=now), weights

    return anneal


def at_last(mix: RewardMix, rewards: Rewards) -> Grades:
    """The rewards by the last phase's weights: one scale for replies of all phases."""
    return partial(rewards, now=mix.at(1.0)) if mix.until else rewards
