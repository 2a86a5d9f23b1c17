"""Records chosen by score and diversity: duplicates, leaks, the best of a topic, a balance."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from burnish.config import DataRef, PromptRef, Settings
from burnish.evals.statistics import mean_figure, wilson
from burnish.records import KINDS, Figure, Prompt, Record
from burnish.selection.select import Selection, SelectSettings, read, select
from burnish.stages.base import Context, Inputs, Outcome
from burnish.store import formats, tables

Kind = Literal["document", "example", "prompt", "preference", "feedback", "rollout"]


class Config(Settings):
    """Keep part of ``data``.

    ``score`` is the column that holds each record's score, higher is better: ``total`` where
    ``burnish data score`` wrote it, ``reward`` of rollouts. Records without one are left out.
    Records that hold an item of the ``evaluation`` files are left out and listed.
    """

    data: list[DataRef] = Field(min_length=1)
    kind: Kind = Field("example", description="what ``data`` holds")
    score: str | None = Field(None, description="such as ``total`` or ``scores.relevance``")
    evaluation: list[PromptRef] = []
    select: SelectSettings = SelectSettings()


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Write ``selected.jsonl``, ``selected.removed.tsv`` and, of leaks, ``selected.hits.tsv``."""
    records, scores = read(inputs.paths("data"), KINDS[config.kind], config.score)
    found = select(
        records,
        config.select,
        scores=scores,
        evaluations={
            formats.stem(path): tables.read(path, Prompt) for path in inputs.paths("evaluation")
        },
        seed=context.seed,
        cache=context.cache,
    )
    tables.write(context.output / "selected.jsonl", found.kept)
    found.write_lists(context.output / "selected")
    return Outcome("data", figures(found), found.report())


def figures(found: Selection[Record]) -> dict[str, Figure]:
    """What was kept, and how far apart records are before, after and in a random choice.

    The share of leaks is an estimate of the pool's source, with Wilson's interval; the distance to
    the nearest neighbour has an interval over the records looked at. The others are counts.
    """
    spread = found.spread
    entered = spread.before.records
    measured = {
        "records": Figure.exact(float(entered)),
        "kept": Figure.exact(float(len(found.kept))),
        "clusters_covered": Figure.exact(spread.after.covered / max(1, spread.after.clusters)),
        "leaked": wilson(len({hit.record_id for hit in found.hits}), entered),
    }
    for name, of in (("before", spread.before), ("after", spread.after), ("random", spread.random)):
        measured[f"entropy_{name}"] = Figure.exact(of.entropy)
        measured[f"pairwise_distance_{name}"] = Figure.exact(of.pairwise)
        if of.nearest:
            measured[f"nearest_distance_{name}"] = mean_figure(of.nearest)
    return measured
