"""Near duplicates among records on disk, in bounded memory; ``minhash`` says how they are found.

First the signatures of every part, each by itself; then all bands together, one at a time, where
only pairs that share a band are read again to be compared; then every part without its duplicates.
In memory at once are a part a worker and some 50 bytes a record.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish import flow
from burnish.config.progress import Progress, SilentProgress
from burnish.records import Record
from burnish.selection.dedup import DedupSettings, preference
from burnish.selection.groups import firsts
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
    work = flow.work_folder(output)
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


class Shingles:
    """The shingles of all parts, read text by text: called with the number of a record."""

    def __init__(self, arrays: flow.Arrays, rows: flow.Rows) -> None:
        self._arrays, self._rows = arrays, rows
        self._starts = [arrays.load(part, "starts")[:] for part in range(len(arrays.source))]

    def __call__(self, index: int) -> Hashes:
        """The sorted distinct shingles of one text."""
        ((part, _, inside),) = self._rows.placed(np.array([index]))
        row = int(inside[0])
        path = self._arrays.path(part, "shingles")
        first, last = (int(value) for value in self._starts[part][row : row + 2])
        header = path.stat().st_size - 8 * int(self._starts[part][-1])
        # Read, not mapped: pages that were touched would stay resident.
        values = np.fromfile(path, np.uint64, count=last - first, offset=header + 8 * first)
        return np.unique(values)


def _decide(
    arrays: flow.Arrays, removed: Path, settings: DedupSettings, progress: Progress
) -> None:
    """Write which rows of each part go, and the id of the record that each is a duplicate of."""
    if removed.is_dir():
        return
    rows = flow.Rows(arrays.sizes("content"))
    with progress.task("duplicates", settings.bands) as bar:

        def bands() -> Any:
            for band in range(settings.bands):
                yield arrays.row("bands", band)
                bar.advance(1)

        content = arrays.gather("content")
        labels = components(content, bands(), Shingles(arrays, rows), settings.threshold)
    losers = _losers(arrays, labels, rows)
    with atomic.new_folder(removed) as folder:
        for part in range(len(arrays.source)):
            places, keepers = zip(*sorted(losers[part]), strict=True) if losers[part] else ((), ())
            np.save(folder / f"{part}-rows.npy", np.array(places, dtype=np.int64))
            np.save(folder / f"{part}-keepers.npy", np.array(keepers, dtype=np.str_))


def _losers(
    arrays: flow.Arrays, labels: Indices, rows: flow.Rows
) -> dict[int, list[tuple[int, str]]]:
    """By part: rows that go, each with the id of the record kept in its stead."""
    lengths, digests = arrays.gather("lengths"), arrays.gather("digests")
    best = firsts(labels, lengths, digests)
    # Of texts that are equal to the letter the one with the least id stays.
    _, inverse, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    ties = (lengths == lengths[best]) & (digests == digests[best]) & (sizes[inverse] > 1)
    equal = np.flatnonzero(ties)
    ids = flow.Column(arrays, "ids", rows)
    names = np.unique(ids[equal], return_inverse=True)[1].astype(np.int64)
    keeper_of = dict(zip(labels[equal].tolist(), equal[firsts(labels[equal], names)].tolist(),
                         strict=True))  # fmt: skip
    members = np.flatnonzero(sizes[inverse] > 1)
    keepers = np.array([keeper_of[label] for label in labels[members].tolist()], np.int64)
    gone, keepers = members[members != keepers], keepers[members != keepers]
    said = ids[keepers]
    losers: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for part, asked, inside in rows.placed(gone):
        losers[part] = list(zip(inside.tolist(), said[asked].tolist(), strict=True))
    return losers


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
