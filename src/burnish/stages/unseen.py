"""Pairs that a reward model is measured on and not trained on: other topics, lengths, languages,
files, and a policy's own replies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from pydantic import Field, PositiveInt, model_validator

from burnish.config import InputError, ModelRef, PreferenceRef, Problem, PromptRef, Settings
from burnish.evals.statistics import mean_figure
from burnish.models.load import load_model
from burnish.records import Figure, Language, Preference, Prompt, Rollout
from burnish.rewards.reward_model import RewardModel
from burnish.rewards.verifiers import verify_prompt
from burnish.rollouts.collect import collect
from burnish.sampling import LocalSampler, Sampling
from burnish.selection.pairs import PairSettings, make_pairs
from burnish.stages import training
from burnish.stages.base import Context, Inputs

TOPICS, LONGEST, SHORTEST, OWN = "left_out", "longest", "shortest", "own"


class OwnReplies(Settings):
    """A policy's own replies to prompts that have a verifier: it samples ``per_prompt`` replies to
    each, and those that the verifier tells apart make pairs.

    The reward model's favourite of each prompt's replies (best of n) is held against their mean and
    against the best there is, by the verifier's score.
    """

    model: ModelRef
    prompts: list[PromptRef] = Field(min_length=1)
    limit: PositiveInt = Field(200, description="prompts drawn of those that have a verifier")
    per_prompt: int = Field(4, ge=2)
    pairs_per_prompt: PositiveInt = 2
    sampling: Sampling = Sampling(temperature=1.0, max_new_tokens=32)


class Unseen(Settings):
    """What the reward model is measured on besides held-out pairs.

    Of the data, the share ``longest`` and the share ``shortest`` of pairs (by characters of both
    replies) and all pairs in ``languages`` are taken out of training. ``files`` are pairs of one's
    own by name. ``own`` are pairs of a policy's replies.
    """

    longest: float = Field(0.0, ge=0, lt=0.5)
    shortest: float = Field(0.0, ge=0, lt=0.5)
    languages: list[Language] = []
    files: dict[str, list[PreferenceRef]] = {}
    own: OwnReplies | None = None

    @model_validator(mode="after")
    def _names(self) -> Self:
        taken = {TOPICS, LONGEST, SHORTEST, OWN, "heldout", *map(of_language, ("en", "zh"))}
        for name, refs in self.files.items():
            if name in taken or not name.isidentifier():
                raise ValueError(f"files: {name!r} is not a name of letters, digits and _ "
                                 "that no other set has")  # fmt: skip
            if not refs:
                raise ValueError(f"files.{name}: no file")
        return self


def of_language(language: str) -> str:
    """The name of the set of one language's pairs."""
    return f"language_{language}"


def take_out(
    records: Sequence[Preference], topics: Sequence[str], unseen: Unseen
) -> tuple[list[Preference], dict[str, list[Preference]]]:
    """The pairs that may be trained on, and those that are not, by the name of their set.

    A pair that belongs to several sets is in each of them.

    Raises:
        InputError: nothing is left to train on.
    """
    ranked = sorted(records, key=lambda record: (_length(record), record.id))
    longest = ranked[len(ranked) - int(unseen.longest * len(ranked)) :]
    sets = {
        TOPICS: [record for record in records if record.topic in topics],
        SHORTEST: ranked[: int(unseen.shortest * len(ranked))],
        LONGEST: longest,
    }
    for language in unseen.languages:
        sets[of_language(language)] = [record for record in records if record.lang == language]
    out = {id(record) for part in sets.values() for record in part}
    rest = [record for record in records if id(record) not in out]
    if records and not rest:
        found = f"all {len(records)} pairs are left out of training"
        raise InputError(Problem("", None, "ood", found, "some pairs to train on"))
    return rest, {name: part for name, part in sets.items() if part}


def _length(record: Preference) -> int:
    return sum(len(turn["content"]) for turn in (*record.chosen, *record.rejected))


@dataclass(frozen=True)
class Own:
    """A policy's replies, ``per_prompt`` in turn for each of ``prompts``, with the verifier's score
    of each, and the pairs made of them."""

    prompts: list[Prompt]
    rollouts: list[Rollout]
    scores: list[float]
    pairs: list[Preference]


def own_replies(settings: OwnReplies, inputs: Inputs, context: Context) -> Own:
    """Sample, verify and pair.

    Raises:
        InputError: as ``load_model``, or no prompt has a verifier.
    """
    every = training.drawn(inputs.paths("ood.own.prompts"), Prompt, None, context.seed)
    prompts = [prompt for prompt in every if prompt.verify is not None][: settings.limit]
    if not prompts:
        found = f"none of {len(every)} prompts has a verifier"
        raise InputError(Problem("", None, "ood.own.prompts", found, "prompts with verify"))
    loaded = load_model(inputs.model("ood.own.model"), device=context.device)
    sampler = LocalSampler(loaded.model, loaded.tokenizer)
    rollouts = collect(
        sampler, prompts, settings.sampling, per_prompt=settings.per_prompt, seed=context.seed
    )
    by_id = {prompt.id: prompt for prompt in prompts}
    checks = [verify_prompt(by_id[one.prompt_id], one.completion) for one in rollouts]
    scores = [check.score for check in checks if check is not None]
    choice = PairSettings(
        choose="window", pairs_per_prompt=settings.pairs_per_prompt, seed=context.seed
    )
    pairs, _ = make_pairs(by_id, rollouts, choice)
    return Own(prompts, rollouts, scores, pairs)


def best_of_n(model: RewardModel, own: Own) -> dict[str, Any]:
    """Mean verifier scores: of the reply that the model rates highest (``picked``; the first of
    equals), of all (``average``: what a random pick gets) and of the ``best`` there is, and ``n``
    replies a prompt."""
    rewards = model.score([(one.prompt, one.completion) for one in own.rollouts])
    n = len(own.rollouts) // len(own.prompts)
    rows: dict[str, list[float]] = {"picked": [], "average": [], "best": []}
    for start in range(0, len(rewards), n):
        scores = own.scores[start : start + n]
        best = max(range(n), key=rewards[start : start + n].__getitem__)
        rows["picked"].append(scores[best])
        rows["average"].append(sum(scores) / n)
        rows["best"].append(max(scores))
    groups = [prompt.group or prompt.id for prompt in own.prompts]
    found: dict[str, Figure] = {name: mean_figure(row, groups) for name, row in rows.items()}
    return {"n": n, **{name: vars(figure) for name, figure in found.items()}}
