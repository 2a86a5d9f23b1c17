"""What choosing needs to know of records, worked out part by part.

Records stay on disk. In memory are 60 bytes of each; vectors and ids are read where they are
asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish import flow
from burnish.config.progress import Progress
from burnish.selection.decontaminate import Leaks
from burnish.selection.dedup import DedupSettings
from burnish.selection.dedup_parts import Shingles, describe_part
from burnish.selection.embed import HASHED, Counts, EmbedSettings, encoder, rows, term_counts
from burnish.selection.minhash import Hashes, Indices
from burnish.selection.texts import texts_of
from burnish.store import atomic


@dataclass(frozen=True)
class Asked:
    """What is to be found out: everything in ``Facts`` depends on this and on the records."""

    near: DedupSettings
    leaks: Leaks
    within: str
    embed: EmbedSettings
    seed: int

    def plan(self) -> dict[str, Any]:
        """All of it as JSON."""
        settings = {"near": self.near, "leaks": self.leaks.settings, "embed": self.embed}
        return {
            **{name: value.model_dump(mode="json") for name, value in settings.items()},
            "items": self.leaks.fingerprint,
            "within": self.within,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Facts:
    """Of every record, in an order of contents, so that nothing depends on that of the input.

    ``order [n]`` is a record's number in the input; ``scores [n]`` are NaN where missing, None
    where there are none; ``lengths [n]`` of texts in characters; ``content [n]`` is equal where
    words are; ``draws [n]`` are random numbers that follow from content, id and seed. ``topics
    [n]`` are places in ``names``. ``hits`` are (record, evaluation item, share of its words).
    """

    order: Indices
    scores: NDArray[np.float64] | None
    lengths: Indices
    content: Hashes
    draws: Hashes
    topics: Indices
    names: Sequence[str]
    hits: Sequence[tuple[int, int, float]]
    vectors: flow.Column
    ids: flow.Column
    shingles: Callable[[int], Hashes]
    band: Callable[[int], Hashes]

    def __len__(self) -> int:
        return len(self.order)

    @property
    def ranks(self) -> NDArray[np.float64]:
        """``[n]``: the less the better, 0 for a record without a score."""
        return np.zeros(len(self)) if self.scores is None else -np.nan_to_num(self.scores)


def find(
    source: flow.Source,
    scores: NDArray[np.float64] | None,
    asked: Asked,
    work: Path,
    executor: flow.Executor,
    progress: Progress,
    cache: Path | None = None,
) -> Facts:
    """Work the facts out in ``work``, or take those parts that are there.

    Args:
        scores: ``[n]`` in the order of the input.
        cache: where vectors are kept beyond this work, see ``embed.rows``.

    Raises:
        InputError: an optional package is missing, or a record is bad.
    """
    count = len(source)
    described = flow.Arrays(source, partial(_describe, asked=asked), work / "described")
    vectors_of = work / "vectors"
    for folder in (described.folder, vectors_of):
        atomic.sweep(folder)
    flow.execute(described, count, executor, progress, "described")
    hashed = asked.embed.encoder == HASHED
    sizes = described.sizes("content")
    embed = partial(
        _embed,
        settings=asked.embed,
        counts=described.total("terms") if hashed else None,
        texts=sum(sizes),
        cache=cache,
    )
    embedded = flow.Arrays(source, embed, vectors_of)
    flow.execute(embedded, count, executor, progress, "vectors")
    order = _order(described, flow.Rows(sizes))
    ordered = flow.Rows(sizes, order)
    topics, names = _topics(described)
    return Facts(
        order=order,
        scores=None if scores is None else scores[order],
        lengths=-described.gather("lengths")[order],
        content=described.gather("content")[order],
        draws=described.gather("draws")[order],
        topics=topics[order],
        names=names,
        hits=list(_hits(described, order)),
        vectors=flow.Column(embedded, "rows", ordered),
        ids=flow.Column(described, "ids", ordered),
        shingles=Shingles(described, ordered),
        band=lambda band: described.row("bands", band)[order],
    )


def _describe(part: flow.Part, asked: Asked) -> Mapping[str, NDArray[Any]]:
    texts = [texts_of(record) for record in part.records]
    digests = [hashlib.sha256("\x1f".join(said).encode()).hexdigest() for said in texts]
    draws = [
        hashlib.sha256(f"{asked.seed}:{digest}:{record.id}".encode()).hexdigest()
        for digest, record in zip(digests, part.records, strict=True)
    ]
    topics = [str(getattr(record, asked.within, "")) for record in part.records]
    hits = [
        (row, number, share)
        for row, record in enumerate(part.records)
        for number, share in asked.leaks.find(record)
    ]
    if asked.embed.encoder == HASHED:
        terms = {"terms": term_counts(["\n".join(said) for said in texts])}
    else:
        terms = {}
    return {
        **describe_part(part, asked.near),
        **terms,
        "contents": _begins(digests),
        "draws": _begins(draws),
        "topics": np.array(topics, dtype=np.str_),
        "hits": np.array(hits, dtype=np.float64).reshape(-1, 3),
    }


def _begins(digests: Sequence[str]) -> Hashes:
    """The first 64 bits, which sort as the digests do."""
    return np.array([int(digest[:16], 16) for digest in digests], dtype=np.uint64)


def _embed(
    part: flow.Part,
    settings: EmbedSettings,
    counts: Counts | None,
    texts: int,
    cache: Path | None,
) -> Mapping[str, NDArray[Any]]:
    said = ["\n".join(texts_of(record)) for record in part.records]
    return {"rows": rows(said, encoder(settings, counts, texts), cache)}


def _order(described: flow.Arrays, rows: flow.Rows) -> Indices:
    """Records by content; those of equal content by id."""
    contents = described.gather("contents")
    order = np.argsort(contents, kind="stable")
    same = contents[order][1:] == contents[order][:-1]
    tied = np.flatnonzero(np.append(same, False) | np.concatenate([[False], same])[: len(order)])
    ids = flow.Column(described, "ids", rows)[order[tied]]
    order[tied] = order[tied][np.lexsort((ids, contents[order[tied]]))]
    return order


def _topics(described: flow.Arrays) -> tuple[Indices, list[str]]:
    codes: dict[str, int] = {}
    found = []
    for part in range(len(described.source)):
        names, inverse = np.unique(described.load(part, "topics"), return_inverse=True)
        places = [codes.setdefault(str(name), len(codes)) for name in names]
        found.append(np.array(places, dtype=np.int64)[inverse])
    return np.concatenate(found), list(codes)


def _hits(described: flow.Arrays, order: Indices) -> Iterator[tuple[int, int, float]]:
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    found = []
    begin = 0
    for part in range(len(described.source)):
        for row, number, share in described.load(part, "hits").tolist():
            found.append((int(rank[begin + int(row)]), int(number), share))
        begin += len(described.load(part, "content"))
    return iter(sorted(found))
