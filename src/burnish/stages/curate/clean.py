"""A corpus cleaned: other languages, boilerplate, poor text, personal data and copies go."""

from __future__ import annotations

from dataclasses import asdict

from pydantic import Field

from burnish import flow
from burnish.cleaning.quality import read_words
from burnish.config import DocumentRef, Settings
from burnish.records import Figure
from burnish.selection.clean_settings import CleanSettings
from burnish.selection.corpus import clean
from burnish.stages.base import Context, Inputs, Outcome


class Config(Settings):
    """Clean ``documents``. What is left is a corpus by itself: ``domain: ["@clean"]``.

    ``part`` is the number of documents a part; ``executor`` says who works on the parts.
    """

    documents: list[DocumentRef]
    clean: CleanSettings = CleanSettings()
    part: int = Field(flow.PART_RECORDS, ge=1)
    executor: flow.Executor = flow.Executor()


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Write ``documents.jsonl`` and ``clean.json``, the report."""
    words = [w for path in inputs.paths("clean.quality.bad_words") for w in read_words(path)]
    means = flow.Means(config.executor, config.part, context.progress)
    work = context.scratch / "clean"
    report = clean(inputs.paths("documents"), context.output, work, config.clean, words, means)
    figures = {
        f"{name}_{when}": Figure.exact(value)
        for name, both in (("documents", report.documents), ("characters", report.characters))
        for when, value in zip(("before", "after"), both, strict=True)
    }
    return Outcome("data", figures, asdict(report))
