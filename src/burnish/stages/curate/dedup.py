"""Near duplicates out of any amount of data, part by part."""

from __future__ import annotations

import shutil

from pydantic import Field

from burnish import flow
from burnish.config import DataRef, Settings
from burnish.config.base import RecordKind
from burnish.records import KINDS, Figure
from burnish.selection.dedup import DedupSettings
from burnish.selection.dedup_parts import dedup
from burnish.stages.base import Context, Inputs, Outcome


class Config(Settings):
    """Keep one record of each group in ``data`` whose texts share most of their words, in order.

    ``part`` is the number of records a part; ``executor`` says who works on the parts.
    """

    data: DataRef
    kind: RecordKind = "example"
    near: DedupSettings = DedupSettings()
    part: int = Field(flow.PART_RECORDS, ge=1)
    executor: flow.Executor = flow.Executor()


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Write ``part-N.parquet`` and, for what was removed, ``removed-N.tsv``."""
    kind = KINDS[config.kind]
    source = flow.source_of(
        inputs.path("data"), kind, context.scratch / "source", config.part, rerun=True
    )
    made = context.scratch / "kept"
    report = dedup(source, made, kind, config.near, config.executor, context.progress, rerun=True)
    for path in sorted([*made.glob("part-*.parquet"), *made.glob("removed-*.tsv")]):
        shutil.move(path, context.output / path.name)
    removed = sum(report.removed.values())
    return Outcome(
        "data",
        {"kept": Figure.exact(report.kept), "removed": Figure.exact(removed)},
    )
