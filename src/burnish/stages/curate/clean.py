"""A corpus cleaned: other languages, boilerplate, poor text, personal data and copies go."""

from __future__ import annotations

from dataclasses import asdict

from burnish.cleaning.quality import read_words
from burnish.config import DocumentRef, Settings
from burnish.records import Document, Figure
from burnish.selection.corpus import CleanSettings, clean
from burnish.stages.base import Context, Inputs, Outcome
from burnish.store import tables


class Config(Settings):
    """Clean ``documents``. What is left is a corpus by itself: ``domain: ["@clean"]``."""

    documents: list[DocumentRef]
    clean: CleanSettings = CleanSettings()


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Write ``documents.jsonl`` and ``clean.json``, the report."""
    words = [w for path in inputs.paths("clean.quality.bad_words") for w in read_words(path)]
    documents = (d for path in inputs.paths("documents") for d in tables.iterate(path, Document))
    context.scratch.mkdir(parents=True, exist_ok=True)
    with context.progress.task(context.name, None) as bar:
        report = clean(documents, context.output, context.scratch, config.clean, words, bar.advance)
    figures = {
        f"{name}_{when}": Figure.exact(value)
        for name, both in (("documents", report.documents), ("characters", report.characters))
        for when, value in zip(("before", "after"), both, strict=True)
    }
    return Outcome("data", figures, asdict(report))
