"""Mixing: domain against general text in tokens, tasks by temperature, tiers by share."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from burnish.config import InputError, Problem
from burnish.records import Document, Example, Record, Tier

PYRAMID: dict[Tier, float] = {"expert": 0.05, "selected": 0.25, "bulk": 0.70}
"""The quality pyramid 数据质量金字塔: the shares the seed asks for."""

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class MixReport:
    """What a mix holds, as measured: tokens of each part and general tokens per domain token."""

    domain_tokens: int
    general_tokens: int
    general_documents: int
    repeats: float

    @property
    def ratio(self) -> float:
        """General tokens for one domain token."""
        return self.general_tokens / self.domain_tokens


def mix_documents(
    domain: Sequence[Document],
    general: Sequence[Document],
    ratio: float,
    length: Callable[[Document], int],
    seed: int,
    max_repeats: int = 1,
) -> tuple[list[Document], MixReport]:
    """All domain documents, with general ones drawn until ``ratio`` tokens stand to one.

    General documents are taken whole in shuffled order, so the ratio is met to within one
    document; each is used at most ``max_repeats`` times, and where they run out the report shows
    the smaller ratio reached.

    Args:
        ratio: general tokens per domain token; the seed's 1 : 5 is ``5``.
        length: tokens of a document.

    Returns:
        The mixed documents in shuffled order, and what was measured.

    Raises:
        InputError: the domain has no tokens, or there is no general text to reach a ratio with.
    """
    source = random.Random(seed)
    domain_tokens = sum(length(document) for document in domain)
    if domain_tokens == 0:
        raise InputError(Problem("", None, "domain", "no tokens", "at least one document"))
    if ratio > 0 and not general:
        raise InputError(Problem("", None, "general", "no documents", f"ratio {ratio} needs some"))
    wanted = ratio * domain_tokens
    drawn: list[Document] = []
    tokens = 0
    for document in _passes(general, max_repeats, source):
        size = length(document)
        # Stop where one more document would take the ratio further from the one asked for.
        if tokens + size - wanted > wanted - tokens:
            break
        drawn.append(document)
        tokens += size
    mixed = [*domain, *drawn]
    source.shuffle(mixed)
    repeats = len(drawn) / len(general) if general else 0.0
    return mixed, MixReport(domain_tokens, tokens, len(drawn), repeats)


def _passes(documents: Sequence[Document], count: int, source: random.Random) -> Iterator[Document]:
    for _ in range(count):
        order = list(documents)
        source.shuffle(order)
        yield from order


def task_counts(sizes: Mapping[str, int], total: int, temperature: float) -> dict[str, int]:
    """How many of ``total`` examples each task gets: shares proportional to ``n^(1/temperature)``.

    ``temperature=1`` keeps the natural shares, larger ones move towards equal shares. Rounded by
    largest remainder, so the counts sum to ``total``.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, found {temperature}")
    weights = {task: size ** (1 / temperature) for task, size in sizes.items() if size > 0}
    scale = total / sum(weights.values())
    exact = {task: weight * scale for task, weight in weights.items()}
    counts = {task: int(value) for task, value in exact.items()}
    rest = sorted(exact, key=lambda task: (counts[task] - exact[task], task))
    for task in rest[: total - sum(counts.values())]:
        counts[task] += 1
    return counts


def mix_tasks(
    examples: Sequence[Example], total: int, temperature: float, seed: int
) -> list[Example]:
    """Draw ``total`` examples with the task shares of ``task_counts``, shuffled.

    A task that has fewer examples than its count repeats: every example is used once before any
    is used twice.
    """
    tasks: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        tasks[example.task].append(example)
    counts = task_counts({task: len(group) for task, group in tasks.items()}, total, temperature)
    source = random.Random(seed)
    drawn: list[Example] = []
    for task in sorted(counts):
        passes, rest = divmod(counts[task], len(tasks[task]))
        drawn += tasks[task] * passes + source.sample(tasks[task], rest)
    source.shuffle(drawn)
    return drawn


@dataclass(frozen=True)
class TierReport:
    """Counts and shares by tier beside the wanted shares, and the share that a machine wrote."""

    counts: dict[Tier, int]
    shares: dict[Tier, float]
    wanted: dict[Tier, float]
    synthetic: float


def tier_report(
    records: Sequence[Record], wanted: Mapping[Tier, float] | None = None
) -> TierReport:
    """Measure the quality pyramid of ``records`` (wanted: 5 / 25 / 70 % unless given)."""
    wanted = dict(wanted or PYRAMID)
    found = Counter(record.tier for record in records)
    count = max(1, len(records))
    return TierReport(
        counts={tier: found[tier] for tier in wanted},
        shares={tier: found[tier] / count for tier in wanted},
        wanted=wanted,
        synthetic=sum(record.synthetic for record in records) / count,
    )


def mix_tiers(records: Sequence[R], wanted: Mapping[Tier, float], seed: int) -> list[R]:
    """The largest subset with the wanted tier shares (to within rounding), in input order.

    Raises:
        InputError: a tier that is wanted has no records.
    """
    tiers: dict[Tier, list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        tiers[record.tier].append(index)
    missing = [tier for tier, share in wanted.items() if share > 0 and not tiers[tier]]
    if missing:
        raise InputError(
            [Problem("", None, "tier", f"no records of tier {tier!r}") for tier in missing]
        )
    total = min(len(tiers[tier]) / share for tier, share in wanted.items() if share > 0)
    source = random.Random(seed)
    kept: list[int] = []
    for tier, share in wanted.items():
        kept += source.sample(tiers[tier], min(len(tiers[tier]), round(total * share)))
    return [records[index] for index in sorted(kept)]
