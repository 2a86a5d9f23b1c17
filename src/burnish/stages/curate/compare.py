"""Preferences by AI feedback: which of two replies keeps a drawn principle better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from pydantic import Field, PositiveInt, model_validator

from burnish.config import ConstitutionRef, ModelRef, PromptRef, SamplerRef, Settings
from burnish.evals.statistics import mean_figure, wilson
from burnish.records import Figure, Message, Preference, Prompt
from burnish.rewards import constitution as rules
from burnish.rewards.constitution import Constitution
from burnish.rewards.critic import Ask
from burnish.rewards.ensemble import Aggregate
from burnish.rewards.labels import Label, ModelLabeller, Pair, RuleLabeller
from burnish.rewards.options import Shares, Weigh, by_likelihood, by_top_tokens, by_votes
from burnish.sampling import Sampling, ServedSampler
from burnish.stages import constitutional, training
from burnish.stages.base import Context, Inputs, Outcome, derived_seed
from burnish.stages.constitutional import balanced
from burnish.stages.judging import JOURNAL
from burnish.stages.replying import Replying, reply_with, replying
from burnish.store import atomic, tables
from burnish.store.lines import as_lines
from burnish.store.names import LABELS

VOTES = 5
"""Where ``votes`` are needed and not set."""


class Config(Settings):
    """Have ``model`` reply twice to each of ``prompts`` and compare the two replies.

    Constitutional AI, phase 2 (Bai et al. 2022, section 4). ``by: model`` asks ``judge`` (the model
    itself where none is named) which reply keeps a drawn principle of ``constitution`` better, in
    both orders. The ``soft`` label of a pair is its probability, which ``fit.reward`` and
    ``fit.dpo`` learn from; ``hard`` keeps the preferred side alone. A judge is read by its
    log-probabilities of the answers, a served one by those that its server tells of the likeliest
    tokens; ``votes`` draws so many answers instead, and 5 are drawn where a server tells none. With
    ``reasons`` it thinks step by step first, and the probability is held between 0.4 and 0.6. ``by:
    rules`` is rules plus the reward model, where ``reward`` names one (``aggregate``: of an
    ensemble's members). Pairs without a preference are left out, and so are pairs with an order
    that gave none.
    """

    model: SamplerRef
    prompts: list[PromptRef]
    constitution: ConstitutionRef
    by: Literal["rules", "model"] = "rules"
    judge: SamplerRef | None = None
    reward: ModelRef | None = None
    aggregate: Aggregate = Aggregate()
    labels: Literal["soft", "hard"] = "soft"
    votes: PositiveInt | None = None
    reasons: bool = False
    reasoning: Sampling = Sampling(temperature=0.7, top_p=0.9, max_new_tokens=128)
    limit: PositiveInt | None = None
    pairs_per_prompt: PositiveInt = 1
    sampling: Sampling = Field(
        Sampling(max_new_tokens=32), description="a temperature above 0: two replies must differ"
    )

    @model_validator(mode="after")
    def _fitting(self) -> Config:
        if self.sampling.temperature == 0:
            raise ValueError("sampling.temperature: 0 gives the same reply twice")
        if self.by == "rules" and (self.judge or self.votes or self.reasons):
            raise ValueError("judge, votes and reasons: of no use with by: rules")
        if self.by == "model" and self.reward:
            raise ValueError("reward: of no use with by: model")
        return self


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Reply, compare; write ``preferences.jsonl`` and ``labels.jsonl``, which says what became of
    each pair and which principle it was held against."""
    file = inputs.path("constitution")
    constitution = rules.load(file)
    if config.by == "rules":
        constitutional.check_ruled(constitution, file)
    prompts = training.drawn(inputs.paths("prompts"), Prompt, config.limit, context.seed)
    model = replying(inputs.model("model"), context)
    pairs, said = _pairs(config, context, model, prompts)
    found, read = _labels(config, inputs, context, model, constitution, pairs)
    made = [_preference(config, pair, label) for pair, label in zip(pairs, found, strict=True)]
    preferences = balanced([one for one in made if one])
    tables.write(context.output / "preferences.jsonl", preferences)
    rows = [_trace(*row) for row in zip(pairs, found, made, strict=True)]
    atomic.write_text(context.output / LABELS, as_lines(rows))
    details = {
        "labeller": "rules+reward" if config.by == "rules" else "model",
        "labels": config.labels,
        "read": read,
        "prompts": len(prompts),
        "pairs": len(pairs),
        "preferences": len(preferences),
        "no_principle": sum(not one.principle_id for one in found),
        "missing": sum(bool(one.principle_id) and one.probability is None for one in found),
        "equal": sum(one.probability == 0.5 for one in found),
        "principles": constitutional.by_principle(
            constitution,
            [one.principle_id for one in found],
            preferences=[one.principle_id for one, pair in zip(found, made, strict=True) if pair],
        ),
        **model.details,
    }
    owners = [prompt for prompt, _, _ in pairs for _ in range(2)]
    return Outcome("data", _figures(found) | constitutional.refusals(owners, said), details)


def _pairs(
    config: Config, context: Context, model: Replying, prompts: Sequence[Prompt]
) -> tuple[list[Pair], list[str]]:
    """Two replies a pair, drawn with seeds of their own, and all replies in order."""
    asked = [prompt for prompt in prompts for _ in range(2 * config.pairs_per_prompt)]
    said = constitutional.replies(
        model.sampler, [p.messages for p in asked], config.sampling, context, context.seed
    )
    places = range(0, len(said), 2)
    return [(asked[at], said[at], said[at + 1]) for at in places], said


def _labels(
    config: Config,
    inputs: Inputs,
    context: Context,
    model: Replying,
    constitution: Constitution,
    pairs: Sequence[Pair],
) -> tuple[list[Label], str]:
    """The labels, and what they were read from."""
    if config.by == "rules":
        score = constitutional.scoring(inputs, context, config.aggregate)
        return RuleLabeller(constitution, score, context.seed).labels(pairs), "rules"
    judge = model
    if ref := inputs.optional_model("judge"):
        judge = reply_with(ref, context.endpoint, context.scratch / JOURNAL, context.device)
    think: Ask | None = None
    if config.reasons:

        def think(asked: Any) -> list[str]:
            seed = derived_seed(context.seed, "reasons")
            sampling = config.reasoning
            return constitutional.replies(judge.sampler, asked, sampling, context, seed, "reasons")

    ways: list[str] = []
    weigh = _weigh(config, context, judge, ways.append)
    found = ModelLabeller(constitution, weigh, think, context.seed).labels(pairs)
    return found, ways[-1] if ways else "log-probabilities"


def _weigh(
    config: Config, context: Context, judge: Replying, told: Callable[[str], object]
) -> Weigh:
    """How the answers are weighed; ``told`` that votes had to be drawn."""
    votes = config.votes or VOTES
    drawn = Sampling(temperature=float(votes > 1), max_new_tokens=8)
    voting = by_votes(judge.sampler, votes, drawn, derived_seed(context.seed, "votes"))

    def vote(conversations: Sequence[Sequence[Message]], answers: Sequence[str]) -> list[Shares]:
        told(f"{votes} votes")
        return voting(conversations, answers)

    if config.votes is None and judge.loaded is not None:
        return by_likelihood(judge.loaded.model, judge.loaded.tokenizer)
    if config.votes is None and isinstance(judge.sampler, ServedSampler):
        return by_top_tokens(judge.sampler, otherwise=vote)
    return vote


def _preference(config: Config, pair: Pair, label: Label) -> Preference | None:
    """The pair with its better reply as the chosen one; None where there is no better one."""
    better = label.probability
    if better is None or better == 0.5:
        return None
    prompt, left, right = pair
    sure = max(better, 1 - better)
    chosen, rejected = (left, right) if better > 0.5 else (right, left)
    if not chosen or not rejected:
        return None
    made_by = ("compare", f"compare:{'rules+reward' if config.by == 'rules' else 'model'}")
    probability = sure if config.labels == "soft" else 1.0
    return constitutional.preference(prompt, chosen, rejected, made_by, 2 * sure - 1, probability)


def _trace(pair: Pair, label: Label, made: Preference | None) -> dict[str, Any]:
    """One line of ``labels.jsonl``; a pair that balancing left out is named too."""
    return {
        "prompt": pair[0].id,
        "preference": made.id if made else None,
        "principle": label.principle_id,
        "left_better": label.probability,
        "left_first": label.forward,
        "right_first": label.backward,
        "asked": label.asked,
    }


def _figures(found: Sequence[Label]) -> dict[str, Figure]:
    """How sure the labels are, and how often the order of the replies turned one."""
    sure = [max(p, 1 - p) for one in found if (p := one.probability) is not None]
    whole = [one for one in found if one.asked and one.probability is not None]
    return {
        "confidence": mean_figure(sure),
        "order_decides": wilson(sum(one.split for one in whole), len(whole)),
    }
