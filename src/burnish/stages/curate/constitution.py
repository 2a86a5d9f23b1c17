"""Constitutional data: reply, critique, revise; examples and preferences come out."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import PositiveInt

from burnish.config import (
    ConstitutionRef,
    InputError,
    ModelRef,
    Problem,
    PromptRef,
    SamplerRef,
    Settings,
)
from burnish.evals.statistics import wilson
from burnish.records import Example, Preference, Prompt, content_id
from burnish.rewards import constitution as rules
from burnish.rewards.constitution import Constitution, Critique, RuleCritic
from burnish.rewards.critic import ModelCritic
from burnish.rewards.ensemble import Aggregate
from burnish.sampling import Sampler, Sampling
from burnish.stages import constitutional, training
from burnish.stages.base import Context, Inputs, Outcome, derived_seed
from burnish.stages.constitutional import balanced, opening
from burnish.stages.replying import replying
from burnish.store import atomic, tables
from burnish.store.lines import as_lines

CRITIQUES = "critiques.jsonl"


class Config(Settings):
    """Have ``model`` reply to ``prompts`` and hold each reply against the ``constitution``.

    ``critic: rules`` is rules plus the reward model (where ``reward`` names one): what a model
    of a few million parameters needs; ``aggregate`` makes one score of those of an ensemble's
    members. ``critic: model`` has the model itself critique and revise
    (Constitutional AI, phase 1, Bai et al. 2022). A violating reply is revised; the revision is
    preferred to it, and for prompts it handled well a reply of the opposite kind is the rejected
    one. ``revisions`` above 1 hold the revision against another drawn principle, and so on. Pairs
    that prefer to help and pairs that prefer to decline are kept in equal number, for the more
    frequent kind is what preference training drifts to.
    """

    model: SamplerRef
    prompts: list[PromptRef]
    constitution: ConstitutionRef
    reward: ModelRef | None = None
    aggregate: Aggregate = Aggregate()
    critic: Literal["rules", "model"] = "rules"
    revisions: PositiveInt = 1
    limit: PositiveInt | None = None
    sampling: Sampling = Sampling(temperature=0.7, top_p=0.9, max_new_tokens=32)


class Critic(Protocol):
    """``RuleCritic`` or ``ModelCritic``."""

    def critique(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[Critique | None]:
        """One critique a reply; None where it is missing."""
        ...

    def revise(
        self, prompts: Sequence[Prompt], replies: Sequence[str], found: Sequence[Critique]
    ) -> list[str]:
        """A better reply for each violating one."""
        ...


@dataclass(frozen=True)
class Handled:
    """A prompt with the model's reply, the critiques in their order and the reply that is kept.

    A reply without a first verdict is not handled at all; one whose later verdict is missing stays
    as it was.
    """

    prompt: Prompt
    reply: str
    steps: tuple[Critique, ...]
    kept: str

    @property
    def critique(self) -> Critique:
        """The first that found a violation, or the first of all."""
        return next((step for step in self.steps if step.violated), self.steps[0])


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Reply, critique, revise; write ``examples.jsonl``, ``preferences.jsonl`` and
    ``critiques.jsonl``, which says which principles drove which of them."""
    file = inputs.path("constitution")
    constitution = rules.load(file)
    if config.critic == "rules":
        constitutional.check_ruled(constitution, file)
    prompts = training.drawn(inputs.paths("prompts"), Prompt, config.limit, context.seed)
    model = replying(inputs.model("model"), context)
    replies = constitutional.replies(
        model.sampler, [p.messages for p in prompts], config.sampling, context, context.seed
    )
    handled = _handle(config, inputs, context, model.sampler, constitution, prompts, replies)
    if prompts and not handled:
        found = f"none of {len(prompts)} replies got a verdict that can be read"
        raise InputError(Problem("", None, "critic", found, "a model that can judge, or rules"))
    examples = [_example(item) for item in handled]
    made = [_pair(item, constitution, context.seed) for item in handled]
    preferences = balanced([pair for pair in made if pair])
    tables.write(context.output / "examples.jsonl", examples)
    tables.write(context.output / "preferences.jsonl", preferences)
    rows = map(_trace, handled, examples, made)
    atomic.write_text(context.output / CRITIQUES, as_lines(rows))
    violated = [item.critique.violated for item in handled]
    steps = [step for item in handled for step in item.steps]
    details = {
        "critic": "model" if config.critic == "model" else "rules+reward",
        "prompts": len(prompts),
        "unread_verdicts": len(prompts) - len(handled),
        "examples": len(examples),
        "preferences": len(preferences),
        "violations": dict(
            Counter(h.critique.principle_id for h in handled if h.critique.violated)
        ),
        "principles": constitutional.by_principle(
            constitution,
            [step.principle_id for step in steps],
            violated=[step.principle_id for step in steps if step.violated],
        ),
        "samples": [_sample(item) for item in handled if item.critique.violated][:6],
        **model.details,
    }
    figures = {"violated": wilson(sum(violated), len(violated))}
    return Outcome("data", figures | constitutional.refusals(prompts, replies), details)


def _handle(
    config: Config,
    inputs: Inputs,
    context: Context,
    sampler: Sampler,
    constitution: Constitution,
    prompts: Sequence[Prompt],
    replies: Sequence[str],
) -> list[Handled]:
    """Critique every reply and revise those that violate, as often as asked."""
    score = constitutional.scoring(inputs, context, config.aggregate)
    handled: list[Handled] = []
    for round in range(config.revisions):
        seed = context.seed if round == 0 else derived_seed(context.seed, "revision", round)
        critic: Critic = RuleCritic(constitution, score, seed)
        if config.critic == "model":
            ask = _asking(sampler, config.sampling, context, seed)
            critic = ModelCritic(constitution, ask, seed)
        if round == 0:
            found = critic.critique(prompts, replies)
            handled = [
                Handled(prompt, reply, (one,), reply)
                for prompt, reply, one in zip(prompts, replies, found, strict=True)
                if one is not None
            ]
        else:
            again = critic.critique([h.prompt for h in handled], [h.kept for h in handled])
            handled = [
                Handled(h.prompt, h.reply, (*h.steps, one) if one else h.steps, h.kept)
                for h, one in zip(handled, again, strict=True)
            ]
            found = again
        handled = _revised(critic, handled, [one for one in found if round or one])
    return handled


def _revised(
    critic: Critic, handled: Sequence[Handled], found: Sequence[Critique | None]
) -> list[Handled]:
    """What was handled, revised where this round's critique found a violation."""
    broken = [(h, one) for h, one in zip(handled, found, strict=True) if one and one.violated]
    new = iter(
        critic.revise(
            [h.prompt for h, _ in broken], [h.kept for h, _ in broken], [one for _, one in broken]
        )
    )
    return [
        Handled(h.prompt, h.reply, h.steps, next(new) if one and one.violated else h.kept)
        for h, one in zip(handled, found, strict=True)
    ]


def _asking(sampler: Sampler, sampling: Sampling, context: Context, seed: int) -> Any:
    return lambda asked: constitutional.replies(
        sampler, asked, sampling, context, seed, "critique and revision"
    )


def _example(item: Handled) -> Example:
    return Example(
        id=content_id("constitution", item.prompt.id, item.kept),
        source=f"constitution:{item.critique.critic}",
        lang=item.prompt.lang,
        tier="selected",
        synthetic=True,
        parents=(item.prompt.id,),
        messages=[*item.prompt.messages, {"role": "assistant", "content": item.kept}],
        task="safety",
    )


def _pair(item: Handled, constitution: Constitution, seed: int) -> Preference | None:
    """The kept reply against the violating one, or against one of the opposite kind.

    Of a reply that violates a rule only the bare opening is written down.
    """
    rejected = None
    if item.critique.violated:
        ruled = constitution.principle(item.critique.principle_id).rule is not None
        rejected = opening(item.reply) if ruled else item.reply
    if rejected is None:
        rejected = _opposite(item, constitution, seed)
    if not rejected or rejected == item.kept or not item.kept:
        return None
    made_by = ("constitution-pair", f"constitution:{item.critique.critic}")
    return constitutional.preference(item.prompt, item.kept, rejected, made_by)


def _opposite(item: Handled, constitution: Constitution, seed: int) -> str | None:
    """A refusal of a harmless prompt, a helpful opening for a harmful one."""
    wanted = {"refuse": "help", "comply": "decline"}.get(
        str((item.prompt.verify or {}).get("kind"))
    )
    texts = [
        text
        for principle in constitution.principles
        if principle.rule == wanted and principle.revise is not None
        for text in (principle.revise.en if item.prompt.lang == "en" else principle.revise.zh)
    ]
    return random.Random(f"{seed}:{item.prompt.id}:opposite").choice(texts) if texts else None


def _trace(item: Handled, example: Example, pair: Preference | None) -> dict[str, Any]:
    """One line of ``critiques.jsonl``; a pair that balancing left out is named too."""
    return {
        "prompt": item.prompt.id,
        "example": example.id,
        "preference": pair.id if pair else None,
        "critic": item.critique.critic,
        "steps": [
            {"principle": step.principle_id, "violated": step.violated, "reason": step.reason}
            for step in item.steps
        ],
    }


def _sample(item: Handled) -> dict[str, str]:
    return {
        "prompt": item.prompt.messages[-1]["content"],
        "reply": opening(item.reply),
        "principle": item.critique.principle_id,
        "revision": item.kept,
    }
