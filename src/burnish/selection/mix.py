"""Mixing: domain against general text in tokens, tasks by temperature, tiers by share."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from burnish.config import InputError, Problem, Settings
from burnish.records import Document, Tier
from burnish.selection.pyramid import CURRICULUM, PYRAMID, SYNTHETIC, Cell, tier_counts
from burnish.selection.shares import divide

Share = Annotated[float, Field(ge=0, le=1)]


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


def left_over(
    general: Sequence[Document], used: Sequence[Document], max_repeats: int, seed: int
) -> list[Document]:
    """What a mix did not take of ``general``, in shuffled passes; the least used come first.

    Args:
        used: the mix's general documents, with repeats.
        max_repeats: how often each may be used in all.
    """
    source, counts = random.Random(seed), Counter(document.id for document in used)
    left: list[Document] = []
    for number in range(max_repeats):
        order = [document for document in general if counts[document.id] <= number]
        source.shuffle(order)
        left += order
    return left


def _passes(documents: Sequence[Document], count: int, source: random.Random) -> Iterator[Document]:
    for _ in range(count):
        order = list(documents)
        source.shuffle(order)
        yield from order


class MixSettings(Settings):
    """How a mix is drawn from what there is.

    ``tiers`` are the shares of expert, selected and bulk records, ``synthetic`` the bounds of the
    share that machines wrote, both inclusive; empty and None take what there is. ``count`` is the
    size; without it the mix is as large as the shares allow. Where a tier cannot give its share,
    nothing is drawn and the message says how many are missing. Tasks share each tier in
    proportion to ``weight · min(n, task_cap)^(1 / temperature)``; an example is used at most
    ``repeats`` times. ``tier_weights`` multiply the examples' loss weights.
    """

    tiers: dict[Tier, float] = Field(default_factory=lambda: dict(PYRAMID))
    synthetic: tuple[Share, Share] | None = SYNTHETIC
    count: PositiveInt | None = None
    temperature: PositiveFloat = 1.0
    task_cap: PositiveInt | None = None
    task_weights: dict[str, NonNegativeFloat] = {}
    repeats: PositiveInt = 1
    tier_weights: dict[Tier, PositiveFloat] = {}

    @model_validator(mode="after")
    def _possible(self) -> MixSettings:
        if self.tiers and (min(self.tiers.values()) < 0 or sum(self.tiers.values()) <= 0):
            raise ValueError("tiers: shares must not be negative, and one must be above 0")
        if self.synthetic is not None and self.synthetic[0] > self.synthetic[1]:
            raise ValueError(f"synthetic: {self.synthetic}, expected the lower bound first")
        return self


@dataclass(frozen=True)
class Pool:
    """What a draw needs to know of examples, in an order of contents: tier, synthetic or not and
    task of each."""

    cells: Sequence[Cell]
    tasks: Sequence[str]


def draw(pool: Pool, settings: MixSettings, seed: int) -> list[int]:
    """Numbers of examples by tier, synthetic share and task, shuffled.

    Raises:
        InputError: a tier, synthetic or human records are short, and by how much.
    """
    usable = [n for n, task in enumerate(pool.tasks) if settings.task_weights.get(task, 1.0) > 0]
    cells: dict[Cell, list[int]] = defaultdict(list)
    for number in usable:
        cells[pool.cells[number]].append(number)
    sizes = {cell: len(group) for cell, group in cells.items()}
    found = {tier: sum(sizes.get((tier, s), 0) for s in (False, True)) for tier in CURRICULUM}
    if settings.tiers or settings.synthetic is not None:
        wanted = settings.tiers or {tier: float(count) for tier, count in found.items() if count}
        counts = tier_counts(sizes, wanted, settings.count, settings.synthetic)
        parts = [(cells[cell], count) for cell, count in sorted(counts.items()) if count]
    else:
        parts = [(usable, settings.count or len(usable))]
    drawn: list[int] = []
    for group, count in parts:
        drawn += draw_tasks(
            {number: pool.tasks[number] for number in group},
            count,
            settings.temperature,
            seed,
            cap=settings.task_cap,
            weights=settings.task_weights,
            repeats=settings.repeats,
        )
    random.Random(seed).shuffle(drawn)
    return drawn


def task_counts(
    sizes: Mapping[str, int],
    total: int,
    temperature: float,
    *,
    cap: int | None = None,
    weights: Mapping[str, float] | None = None,
    repeats: int | None = None,
) -> dict[str, int]:
    """How many of ``total`` examples each task gets: proportional to ``w · min(n, cap)^(1/T)``.

    Examples-proportional mixing with a cap K and a temperature T, Raffel et al. 2020 (arXiv
    1910.10683), section 3.5.2. ``temperature=1`` keeps the natural shares, larger ones move
    towards equal shares. No task gets more than ``repeats`` times what it has; what it cannot give
    the others do. Rounded by largest remainder, so the counts sum to ``total``.

    Args:
        sizes: examples of each task.
        weights: factors by task, 1 where not named.
        repeats: None for no bound.

    Raises:
        ValueError: the temperature is not positive.
        InputError: all tasks together cannot give ``total``.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, found {temperature}")
    weighted = {
        task: (weights or {}).get(task, 1.0) * min(size, cap or size) ** (1 / temperature)
        for task, size in sizes.items()
        if size > 0
    }
    limits = None if repeats is None else {task: sizes[task] * repeats for task in weighted}
    counts = divide(weighted, total, limits)
    if sum(counts.values()) < total:
        found = f"the tasks can give {sum(counts.values())} examples"
        raise InputError(Problem("", None, "count", found, f"{total}, or more repeats"))
    return counts


def draw_tasks(
    task_of: Mapping[int, str],
    total: int,
    temperature: float,
    seed: int,
    *,
    cap: int | None = None,
    weights: Mapping[str, float] | None = None,
    repeats: int | None = None,
) -> list[int]:
    """Draw ``total`` of the keys of ``task_of`` with the shares of ``task_counts``, shuffled.

    A task that has fewer examples than its count repeats: every example is used once before any
    is used twice.

    Raises:
        InputError: as ``task_counts``.
    """
    tasks: dict[str, list[int]] = defaultdict(list)
    for number, task in task_of.items():
        tasks[task].append(number)
    sizes = {task: len(group) for task, group in tasks.items()}
    counts = task_counts(sizes, total, temperature, cap=cap, weights=weights, repeats=repeats)
    source = random.Random(seed)
    drawn: list[int] = []
    for task in sorted(counts):
        passes, rest = divmod(counts[task], len(tasks[task]))
        drawn += tasks[task] * passes + source.sample(tasks[task], rest)
    source.shuffle(drawn)
    return drawn
