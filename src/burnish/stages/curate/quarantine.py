"""Data without all that descends from a source or from single records."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict

from burnish.config import DataRef, InputError, Problem, Settings
from burnish.records import Figure
from burnish.stages.base import Context, Inputs, Outcome
from burnish.store import atomic
from burnish.tracing.index import Index
from burnish.tracing.quarantine import quarantine, removed, targets_of


class Config(Settings):
    """Leave out of ``data`` what ``targets`` name and what descends from it.

    ``targets`` are sources, ids, or files that records were imported from. ``lists`` are files that
    ``burnish data quarantine`` wrote: they also name descendants whose parents are not in ``data``.
    A target that names nothing here is no error, since data differs from round to round.
    """

    data: list[DataRef]
    targets: list[str] = []
    lists: list[DataRef] = []


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Write the files of ``data`` into the folder ``data``, and ``removed.tsv``."""
    targets = [*config.targets, *(id for path in inputs.paths("lists") for id in targets_of(path))]
    if not targets:
        expected = "sources, ids or files in targets, or lists"
        raise InputError(Problem("", None, f"{context.name}.targets", "names nothing", expected))
    with Index(inputs.paths("data")) as index:
        found = quarantine(index, targets, context.output / "data", strict=False)
        text = io.StringIO(newline="")
        writer = csv.writer(text, dialect="excel-tab", lineterminator="\n")
        writer.writerow(("id", "step", "reason"))
        for row in removed(index):
            writer.writerow((row["id"], "quarantine", " ← ".join(row["why"][1:])))
    atomic.write_text(context.output / "removed.tsv", text.getvalue())
    figures = {"removed": Figure.exact(found.removed), "kept": Figure.exact(found.kept)}
    return Outcome("data", figures, asdict(found))
