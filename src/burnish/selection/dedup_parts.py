"""Near duplicates among records on disk, in bounded memory; ``minhash`` says how they are found.

First the signatures of every part, each by itself; then all bands together, one at a time, where
only pairs that share a band are read again to be compared; then every part without its duplicates.
In memory at once are a part a worker and some 50 bytes a record.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish import flow
from burnish.config.progress import Progress, SilentProgress
from burnish.records import Record
from burnish.selection.dedup import DedupSettings, preference
from burnish.selection.minhash import (
    Hashes,
    Indices,
    band_hashes,
    components,
    shingles,
    signatures,
)
from burnish.selection.texts import texts_of
from burnish.store import atomic
from burnish.store.lock import held

STEP = "dedup"


def dedup(
    source: flow.Source,
    output: Path,
    kind: type[Record],
    settings: DedupSettings | None = None,
    executor: flow.Executor | None = None,
    progress: Progress | None = None,
    rerun: bool = False,
) -> flow.Report:
    """Write ``source`` without near duplicates into the parts folder ``output``.

    Of each cluster the record with the longest text is kept, whatever the order of the records.
    An interrupted run goes on where it stopped. Until it is done, signatures lie beside ``output``.

    Raises:
        InputError: the input is bad, or ``output`` holds other work.
        WorkFailed: processes died too often on one part.
    """
    settings = settings or DedupSettings()
    work = work_folder(output)
    signatures_of = work / "signatures"
    removed = signatures_of / "removed"
    step = flow.Step(STEP, partial(_drop, removed=removed), settings.model_dump(mode="json"))
    flow.begin(output, flow.plan(source, [step]), rerun)
    if flow.is_finished(output):
        report = flow.run(source, output, [step], kind)
    else:
        with held(work / "lock"):
            flow.begin(signatures_of, flow.plan(source, [step]), rerun=True)
            atomic.sweep(signatures_of)
            describe = partial(describe_part, settings=settings)
            arrays = flow.Arrays(source, describe, signatures_of)
            flow.execute(arrays, len(source), executor, progress, "signatures")
            _decide(arrays, removed, settings, progress or SilentProgress())
            report = flow.run(source, output, [step], kind, executor, progress)
    shutil.rmtree(work, ignore_errors=True)
    return report


def work_folder(output: Path) -> Path:
    """Where what is needed until ``output`` is done lies, beside it."""
    return output.with_name(f".{output.name}.work")


def describe_part(part: flow.Part, settings: DedupSettings) -> Mapping[str, NDArray[Any]]:
    """What the global decision needs of a part's records.

    ``bands [bands, records]``, ``content [records]`` (equal words), ``shingles`` with ``starts``
    as in ``minhash.Shingles``, ``lengths`` and ``digests`` (the preference) and ``ids``.
    """
    texts = ["\n".join(texts_of(record)) for record in part.records]
    found = shingles(texts, settings.ngram)
    rows = signatures(found, settings.bands * settings.rows, settings.seed)
    lengths, digests = zip(*map(preference, texts), strict=True) if texts else ((), ())
    return {
        "bands": band_hashes(rows, settings.bands),
        "content": found.content,
        "shingles": found.values,
        "starts": found.starts,
        "lengths": np.array(lengths, dtype=np.int64),
        "digests": np.array(digests, dtype=np.uint64),
        "ids": np.array([record.id for record in part.records], dtype=np.str_),
    }


class _Stored:
    """The shingles of all parts, read text by text."""

    def __init__(self, arrays: flow.Arrays) -> None:
        self.arrays = arrays
        self.starts = [arrays.load(part, "starts")[:] for part in range(len(arrays.source))]
        self.begins = np.cumsum([0, *(len(starts) - 1 for starts in self.starts)])

    def place(self, index: int) -> tuple[int, int]:
        """The part and the row in it of a record, by its number among all."""
        part = int(np.searchsorted(self.begins, index, side="right")) - 1
        return part, index - int(self.begins[part])

    def shingles(self, index: int) -> Hashes:
        part, row = self.place(index)
        path = self.arrays.path(part, "shingles")
        first, last = (int(value) for value in self.starts[part][row : row + 2])
        header = path.stat().st_size - 8 * int(self.starts[part][-1])
        # Read, not mapped: pages that were touched would stay resident.
        values = np.fromfile(path, np.uint64, count=last - first, offset=header + 8 * first)
        return np.unique(values)


def _decide(
    arrays: flow.Arrays, removed: Path, settings: DedupSettings, progress: Progress
) -> None:
    """Write which rows of each part go, and the id of the record that each is a duplicate of."""
    if removed.is_dir():
        return
    stored = _Stored(arrays)
    with progress.task("duplicates", settings.bands) as bar:

        def bands() -> Any:
            for band in range(settings.bands):
                yield _row(arrays, "bands", band)
                bar.advance(1)

        content = arrays.gather("content")
        labels = components(content, bands(), stored.shingles, settings.threshold)
    losers = _losers(arrays, labels, stored.place)
    with atomic.new_folder(removed) as folder:
        for part in range(len(arrays.source)):
            rows, keepers = zip(*sorted(losers[part]), strict=True) if losers[part] else ((), ())
            np.save(folder / f"{part}-rows.npy", np.array(rows, dtype=np.int64))
            np.save(folder / f"{part}-keepers.npy", np.array(keepers, dtype=np.str_))


def _row(arrays: flow.Arrays, name: str, row: int) -> Hashes:
    return np.concatenate([arrays.load(part, name)[row] for part in range(len(arrays.source))])


def _losers(
    arrays: flow.Arrays, labels: Indices, place: Callable[[int], tuple[int, int]]
) -> dict[int, list[tuple[int, str]]]:
    """By part: rows that go, each with the id of the record kept in its stead."""
    order = np.argsort(labels, kind="stable")
    _, first, sizes = np.unique(labels[order], return_index=True, return_counts=True)
    lengths, digests = arrays.gather("lengths"), arrays.gather("digests")
    clusters: list[tuple[list[int], list[int]]] = []
    for begin, size in zip(first[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        members = order[begin : begin + size].tolist()
        keys = [(lengths[index], digests[index]) for index in members]
        best = min(keys)
        clusters.append((members, [i for i, key in zip(members, keys, strict=True) if key == best]))
    ids = _ids(arrays, sorted(i for _, equal in clusters for i in equal), place)
    losers: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for members, equal in clusters:
        keeper = min(equal, key=lambda index: (ids[index], index))
        for part, row in (place(index) for index in members if index != keeper):
            losers[part].append((row, ids[keeper]))
    return losers


def _ids(
    arrays: flow.Arrays, wanted: Sequence[int], place: Callable[[int], tuple[int, int]]
) -> dict[int, str]:
    """Ids of records by their numbers among all, ascending; each part is opened once."""
    found: dict[int, str] = {}
    for part, group in groupby(wanted, key=lambda index: place(index)[0]):
        ids = arrays.load(part, "ids")
        found |= {index: str(ids[place(index)[1]]) for index in group}
    return found


def _drop(part: flow.Part, removed: Path) -> flow.Sifted:
    rows = np.load(removed / f"{part.index}-rows.npy").tolist()
    keepers = np.load(removed / f"{part.index}-keepers.npy").tolist()
    kept_for = dict(zip(rows, keepers, strict=True))
    return flow.Sifted(
        [record for row, record in enumerate(part.records) if row not in kept_for],
        [
            flow.Removed(record.id, f"near duplicate of {kept_for[row]}")
            for row, record in enumerate(part.records)
            if row in kept_for
        ],
    )
