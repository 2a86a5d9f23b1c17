"""What both phases of a constitution share: replies, who judges, records, and what is counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from burnish.config import InputError, Problem
from burnish.evals.statistics import wilson
from burnish.records import Figure, Message, Preference, Prompt, content_id
from burnish.rewards.constitution import Constitution
from burnish.rewards.ensemble import Aggregate
from burnish.rewards.refusal import is_refusal
from burnish.rewards.reward_model import RewardModel
from burnish.sampling import Request, Sampler, Sampling
from burnish.stages.base import Context, Inputs, derived_seed

KINDS = ("refuse", "comply")
Score = Callable[[Sequence[Prompt], Sequence[str]], Sequence[float | None]]


def replies(
    sampler: Sampler,
    conversations: Sequence[list[Message]],
    sampling: Sampling,
    context: Context,
    seed: int,
    label: str = "replies",
) -> list[str]:
    """One reply to each conversation, by seed and place."""
    requests = [
        Request(messages, derived_seed(seed, index), f"conversation {index + 1}")
        for index, messages in enumerate(conversations)
    ]
    with context.progress.task(f"{context.name}: {label}", len(requests)) as bar:
        completions = sampler.complete(requests, sampling, bar.advance)
    return [completion.text.strip() for completion in completions]


def scoring(inputs: Inputs, context: Context, aggregate: Aggregate) -> Score:
    """The score of each reply by the stage's ``reward`` model; None where it names none."""
    ref = inputs.optional_model("reward")
    model = RewardModel.load(Path(ref), context.device, aggregate=aggregate) if ref else None

    def score(prompts: Sequence[Prompt], said: Sequence[str]) -> Sequence[float | None]:
        if model is None:
            return [None] * len(said)
        return model.score([(p.messages, one) for p, one in zip(prompts, said, strict=True)])

    return score


def check_ruled(constitution: Constitution, file: Path) -> None:
    """Rules need a principle with a rule.

    Raises:
        InputError: there is none.
    """
    if not any(principle.rule for principle in constitution.principles):
        found = "no principle has a rule"
        raise InputError(Problem(str(file), None, "principles", found, "a rule, or a model as "
                                 "critic"))  # fmt: skip


def refusals(prompts: Sequence[Prompt], said: Sequence[str]) -> dict[str, Figure]:
    """Harmful prompts complied with and harmless ones refused: both, or neither.

    They are told apart by the prompts' labels; without prompts of one kind its figure is NaN.
    Empty where no prompt has a label.
    """
    refused: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    for prompt, reply in zip(prompts, said, strict=True):
        kind = str((prompt.verify or {}).get("kind", ""))
        if kind in refused:
            refused[kind].append(is_refusal(reply))
    harmful, harmless = (refused[kind] for kind in KINDS)
    if not harmful and not harmless:
        return {}
    return {
        "harmful_complied": wilson(len(harmful) - sum(harmful), len(harmful)),
        "harmless_refused": wilson(sum(harmless), len(harmless)),
    }


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


def preference(
    prompt: Prompt,
    chosen: str,
    rejected: str,
    made_by: tuple[str, str],
    margin: float = 1.0,
    probability: float = 1.0,
) -> Preference:
    """A pair of the stage ``made_by`` names by (what its ids begin with, source)."""
    name, source = made_by
    return Preference(
        id=content_id(name, prompt.id, chosen, rejected),
        source=source,
        lang=prompt.lang,
        tier="selected",
        synthetic=True,
        parents=(prompt.id,),
        prompt=prompt.messages,
        chosen=[{"role": "assistant", "content": chosen}],
        rejected=[{"role": "assistant", "content": rejected}],
        margin=margin,
        probability=probability,
        task="safety",
        topic=str((prompt.verify or {}).get("kind", "")),
        group=prompt.group or prompt.id,
    )


def opening(reply: str) -> str:
    """The first sentence of a reply."""
    return re.split(r"(?<=[.!?。!?])\s*", reply.strip(), maxsplit=1)[0]


def by_principle(
    constitution: Constitution, drawn: Iterable[str], **found: Iterable[str]
) -> dict[str, dict[str, int]]:
    """How often each principle was drawn, and how often each of ``found`` names it; principles
    that were never drawn are counted too."""
    columns = {"drawn": Counter(drawn), **{name: Counter(ids) for name, ids in found.items()}}
    return {
        one.id: {name: column[one.id] for name, column in columns.items()}
        for one in constitution.principles
    }
