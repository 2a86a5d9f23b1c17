"""Constitutional data: reply, critique, revise; examples and preferences come out."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import PositiveInt

from burnish.config import DataRef, ModelRef, PromptRef, SamplerRef, Settings
from burnish.evals.statistics import wilson
from burnish.records import Example, Message, Preference, Prompt, content_id
from burnish.rewards import constitution as rules
from burnish.rewards.constitution import Constitution, Critique
from burnish.rewards.critic import ModelCritic
from burnish.rewards.ensemble import Aggregate
from burnish.rewards.reward_model import RewardModel
from burnish.sampling import Request, Sampler, Sampling
from burnish.stages import training
from burnish.stages.base import Context, Inputs, Outcome, derived_seed
from burnish.stages.replying import replying
from burnish.store import tables


class Config(Settings):
    """Have ``model`` reply to ``prompts`` and hold each reply against the ``constitution``.

    ``critic: rules`` is rules plus the reward model (where ``reward`` names one): what a model
    of a few million parameters needs; ``aggregate`` makes one score of those of an ensemble's
    members. ``critic: model`` has the model itself critique and revise
    (Constitutional AI, Bai et al. 2022). A violating reply is revised; the revision is preferred
    to it, and for prompts it handled well a reply of the opposite kind is the rejected one. Pairs
    that prefer to help and pairs that prefer to decline are kept in equal number, for the more
    frequent kind is what preference training drifts to.
    """

    model: SamplerRef
    prompts: list[PromptRef]
    constitution: DataRef
    reward: ModelRef | None = None
    aggregate: Aggregate = Aggregate()
    critic: Literal["rules", "model"] = "rules"
    limit: PositiveInt | None = None
    sampling: Sampling = Sampling(temperature=0.7, top_p=0.9, max_new_tokens=32)


KINDS = ("refuse", "comply")


@dataclass(frozen=True)
class Handled:
    """A prompt with the model's reply, its critique and the reply that is kept."""

    prompt: Prompt
    reply: str
    critique: Critique
    kept: str


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Reply, critique, revise; write ``examples.jsonl`` and ``preferences.jsonl``."""
    constitution = rules.load(inputs.path("constitution"))
    prompts = training.drawn(inputs.paths("prompts"), Prompt, config.limit, context.seed)
    model = replying(inputs.model("model"), context)
    replies = _replies(model.sampler, [p.messages for p in prompts], config.sampling, context)
    handled = _handle(config, inputs, context, model.sampler, constitution, prompts, replies)
    examples = [_example(item) for item in handled]
    preferences = balanced(
        [pair for item in handled if (pair := _pair(item, constitution, context.seed))]
    )
    tables.write(context.output / "examples.jsonl", examples)
    tables.write(context.output / "preferences.jsonl", preferences)
    violated = [item.critique.violated for item in handled]
    details = {
        "critic": "model" if config.critic == "model" else "rules+reward",
        "prompts": len(prompts),
        "examples": len(examples),
        "preferences": len(preferences),
        "violations": dict(
            Counter(h.critique.principle_id for h in handled if h.critique.violated)
        ),
        "samples": [_sample(item) for item in handled if item.critique.violated][:6],
        **model.details,
    }
    return Outcome("data", {"violated": wilson(sum(violated), len(violated))}, details)


def _replies(
    sampler: Sampler,
    conversations: Sequence[list[Message]],
    sampling: Sampling,
    context: Context,
) -> list[str]:
    requests = [
        Request(messages, derived_seed(context.seed, index), f"conversation {index + 1}")
        for index, messages in enumerate(conversations)
    ]
    with context.progress.task(f"{context.name}: replies", len(requests)) as bar:
        completions = sampler.complete(requests, sampling, bar.advance)
    return [completion.text.strip() for completion in completions]


def _handle(
    config: Config,
    inputs: Inputs,
    context: Context,
    sampler: Sampler,
    constitution: Constitution,
    prompts: Sequence[Prompt],
    replies: Sequence[str],
) -> list[Handled]:
    """Critique every reply and revise those that violate."""
    if config.critic == "model":
        critic = ModelCritic(
            constitution,
            lambda asked: _replies(sampler, asked, config.sampling, context),
            context.seed,
        )
        judged = critic.critique(prompts, replies)
        found = [(p, r, c) for p, r, c in zip(prompts, replies, judged, strict=True) if c]
        broken = [item for item in found if item[2].violated]
        new = critic.revise(
            [p for p, _, _ in broken], [r for _, r, _ in broken], [c for _, _, c in broken]
        )
        revised = iter(new)
        return [Handled(p, r, c, next(revised) if c.violated else r) for p, r, c in found]
    scores: Sequence[float | None] = [None] * len(prompts)
    if reward := inputs.optional_model("reward"):
        pairs = [(p.messages, reply) for p, reply in zip(prompts, replies, strict=True)]
        model = RewardModel.load(Path(reward), context.device, aggregate=config.aggregate)
        scores = model.score(pairs)
    handled = []
    for prompt, reply, score in zip(prompts, replies, scores, strict=True):
        judged_one = rules.critique(constitution, prompt, reply, score, seed=context.seed)
        kept = reply
        if judged_one.violated:
            kept = rules.revise(constitution, judged_one, prompt, seed=context.seed)
        handled.append(Handled(prompt, reply, judged_one, kept))
    return handled


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

    Of a violating reply to a harmful prompt only the bare opening is written down.
    """
    rejected = opening(item.reply) if item.critique.violated else None
    if rejected is None:
        rejected = _opposite(item, constitution, seed)
    if not rejected or rejected == item.kept or not item.kept:
        return None
    return Preference(
        id=content_id("constitution-pair", item.prompt.id, item.kept, rejected),
        source=f"constitution:{item.critique.critic}",
        lang=item.prompt.lang,
        tier="selected",
        synthetic=True,
        parents=(item.prompt.id,),
        prompt=item.prompt.messages,
        chosen=[{"role": "assistant", "content": item.kept}],
        rejected=[{"role": "assistant", "content": rejected}],
        margin=1.0,
        task="safety",
        topic=str((item.prompt.verify or {}).get("kind", "")),
        group=item.prompt.group or item.prompt.id,
    )


def balanced(pairs: Sequence[Preference]) -> list[Preference]:
    """The pairs without the surplus of the kind (topic) that has more, in the same order.

    Which pairs are surplus is set by their ids alone. Pairs of a single kind are all kept.
    """
    kinds = [[pair for pair in pairs if pair.topic == kind] for kind in KINDS]
    least = min(map(len, kinds))
    if least == 0:
        return list(pairs)
    ranked = (sorted(kind, key=lambda pair: content_id(pair.id)) for kind in kinds)
    surplus = {pair.id for kind in ranked for pair in kind[least:]}
    return [pair for pair in pairs if pair.id not in surplus]


def _opposite(item: Handled, constitution: Constitution, seed: int) -> str | None:
    """A refusal of a harmless prompt, a helpful opening for a harmful one."""
    wanted = {"refuse": "help", "comply": "decline"}.get(
        str((item.prompt.verify or {}).get("kind"))
    )
    texts = [
        text
        for principle in constitution.principles
        if principle.rule == wanted
        for text in (principle.revise.en if item.prompt.lang == "en" else principle.revise.zh)
    ]
    return random.Random(f"{seed}:{item.prompt.id}:opposite").choice(texts) if texts else None


def opening(reply: str) -> str:
    """The first sentence of a reply."""
    return re.split(r"(?<=[.!?。!?])\s*", reply.strip(), maxsplit=1)[0]


def _sample(item: Handled) -> dict[str, str]:
    return {
        "prompt": item.prompt.messages[-1]["content"],
        "reply": opening(item.reply),
        "principle": item.critique.principle_id,
        "revision": item.kept,
    }
