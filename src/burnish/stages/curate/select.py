"""Records chosen by score and diversity: duplicates, leaks, the best of a topic, a balance."""

from __future__ import annotations

from pydantic import Field

from burnish import flow
from burnish.config import DataRef, PromptRef, Settings
from burnish.config.base import RecordKind
from burnish.evals.statistics import mean_figure, wilson
from burnish.records import KINDS, Figure, Prompt
from burnish.selection.choose import SelectSettings
from burnish.selection.select import Selection, select
from burnish.stages.base import Context, Inputs, Outcome
from burnish.store import formats, tables


class Config(Settings):
    """Keep part of ``data``.

    ``score`` is the column that holds each record's score, higher is better: ``total`` where
    ``burnish data score`` wrote it, ``reward`` of rollouts. Records without one are left out.
    Records that hold an item of the ``evaluation`` files are left out and listed. ``part`` is the
    number of records a part; ``executor`` says who works on the parts.
    """

    data: list[DataRef] = Field(min_length=1)
    kind: RecordKind = Field("example", description="what ``data`` holds")
    score: str | None = Field(None, description="such as ``total`` or ``scores.relevance``")
    evaluation: list[PromptRef] = []
    select: SelectSettings = SelectSettings()
    part: int = Field(flow.PART_RECORDS, ge=1)
    executor: flow.Executor = flow.Executor()


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Write ``selected.jsonl``, ``selected.removed.tsv`` and, of leaks, ``selected.hits.tsv``."""
    found = select(
        inputs.paths("data"),
        KINDS[config.kind],
        context.output / "selected.jsonl",
        context.scratch / "select",
        config.select,
        score=config.score,
        evaluations={
            formats.stem(path): tables.read(path, Prompt) for path in inputs.paths("evaluation")
        },
        seed=context.seed,
        means=flow.Means(config.executor, config.part, context.progress),
        cache=context.cache,
        lists=context.output / "selected",
    )
    return Outcome("data", figures(found), found.report())


def figures(found: Selection) -> dict[str, Figure]:
    """What was kept, and how far apart records are before, after and in a random choice.

    The share of leaks is an estimate of the pool's source, with Wilson's interval; the distance to
    the nearest neighbour has an interval over the records looked at. The others are counts.
    """
    spread = found.spread
    entered = spread.before.records
    measured = {
        "records": Figure.exact(float(entered)),
        "kept": Figure.exact(float(found.kept)),
        "clusters_covered": Figure.exact(spread.after.covered / max(1, spread.after.clusters)),
        "leaked": wilson(len({hit.record_id for hit in found.hits}), entered),
    }
    for name, of in (("before", spread.before), ("after", spread.after), ("random", spread.random)):
        measured[f"entropy_{name}"] = Figure.exact(of.entropy)
        measured[f"pairwise_distance_{name}"] = Figure.exact(of.pairwise)
        if of.nearest:
            measured[f"nearest_distance_{name}"] = mean_figure(of.nearest)
    return measured
