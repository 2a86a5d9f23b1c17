"""What choosing, mixing and deduplicating hold in memory: ``python -m benchmarks.data_state``.

Only the decisions, over made-up facts of so many records, traced by tracemalloc: records, vectors
and ids are on disk then, and what a worker process needs for a part does not grow.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from itertools import product
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from burnish.records import Tier
from burnish.selection.choose import SelectSettings, choose
from burnish.selection.facts import Facts
from burnish.selection.minhash import Hashes, components
from burnish.selection.mix import MixSettings, Pool, draw

TOPICS = 40
BANDS = 14


def hashes(seed: int, count: int) -> Hashes:
    """Made-up hashes of so many records."""
    return np.random.default_rng(seed).integers(0, 2**63, count).astype(np.uint64)


def deduplicate(count: int) -> None:
    """``data dedup``: the clusters."""
    bands = (hashes(band, count) for band in range(BANDS))
    components(hashes(BANDS, count), bands, lambda index: hashes(index, 5), 0.7)


class Numbers:
    """Ids: every record's is its number."""

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.str_]:
        return rows.astype(np.str_)


def select(count: int) -> None:
    """``data select``: duplicates, the best half of every topic, a balanced sample."""
    random = np.random.default_rng(0)
    facts = Facts(
        order=np.arange(count),
        scores=random.random(count),
        lengths=random.integers(50, 900, count),
        content=hashes(1, count),
        draws=hashes(2, count),
        topics=random.integers(0, TOPICS, count),
        names=[f"topic {number}" for number in range(TOPICS)],
        hits=[],
        vectors=cast(Any, None),
        ids=cast(Any, Numbers()),
        shingles=lambda index: hashes(index, 5),
        band=lambda band: hashes(band + 3, count),
    )
    settings = SelectSettings(semantic=None, keep_top=0.5, share=0.3)
    choose(facts, settings, random.integers(0, 700, count), None)


def mix(count: int) -> None:
    """``data mix``: the draw."""
    random = np.random.default_rng(0)
    tiers: tuple[Tier, ...] = ("bulk", "selected", "expert")
    cells = list(product(tiers, (False, True)))
    names = [f"task {number}" for number in range(TOPICS)]
    pool = Pool(
        [cells[number] for number in random.integers(0, len(cells), count).tolist()],
        [names[number] for number in random.integers(0, TOPICS, count).tolist()],
    )
    draw(pool, MixSettings(synthetic=None), 0)


def peak(job: Callable[[int], None], count: int) -> int:
    """Bytes that were held at once, at most."""
    tracemalloc.start()
    job(count)
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def main() -> None:
    """Print a table."""
    sys.stdout.write("| decision of | records | MiB | bytes a record |\n")
    sys.stdout.write("| --- | ---: | ---: | ---: |\n")
    for job, count in product((deduplicate, select, mix), (100_000, 1_000_000)):
        found = peak(job, count)
        row = f"| {job.__name__} | {count:,} | {found / 2**20:.0f} | {found / count:.0f} |\n"
        sys.stdout.write(row)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
