"""A corpus cleaned from end to end: every step of ``burnish.cleaning``, duplicates, a funnel.

Three passes over parts of the documents: normalise and count shared lines; everything that looks at
one document; duplicates. What was finished is kept when the work is interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from burnish import flow
from burnish.cleaning.language import identifier
from burnish.config import InputError, Problem
from burnish.records import Document
from burnish.selection import corpus_parts
from burnish.selection.clean_settings import CleanSettings
from burnish.selection.corpus_parts import Notes, Pass, RemovedDocument
from burnish.selection.filters import Step
from burnish.store import atomic, tables
from burnish.store.names import CLEAN_REPORT


@dataclass(frozen=True)
class CleanReport:
    """What was done. ``reasons`` counts the rules by step; ``characters`` are before and after;
    ``lines`` (boilerplate) and ``paragraphs`` (duplicates) went out of documents, and ``pii`` was
    replaced in them."""

    funnel: list[Step[RemovedDocument]]
    reasons: dict[str, dict[str, int]]
    languages: dict[str, int]
    characters: tuple[int, int]
    lines: int
    paragraphs: int
    pii: dict[str, int]

    @property
    def documents(self) -> tuple[int, int]:
        """How many documents came in and how many are left."""
        return (self.funnel[0].entered, self.funnel[-1].left) if self.funnel else (0, 0)


def clean(
    paths: Sequence[Path],
    output: Path,
    work: Path,
    settings: CleanSettings | None = None,
    bad_words: Sequence[str] = (),
    means: flow.Means | None = None,
) -> CleanReport:
    """Clean a corpus: write what is left, in the order it came, and ``clean.json``, the report.

    An interrupted call goes on. What is written depends on the documents and the settings alone.

    Args:
        output: a folder; ``documents.jsonl`` in it is written whole or not at all.
        work: a folder of this call's own, removed when all is done: as much room as the documents
            take, some four times.
        settings: the steps.
        bad_words: the words that ``quality.bad_words`` names.

    Raises:
        InputError: a row is bad, nothing is left (the message has the funnel), or a package is
            missing.
        WorkFailed: processes died too often on one part.
    """
    settings, means = settings or CleanSettings(), means or flow.Means()
    if settings.language is not None:
        identifier(settings.language)  # what is missing is said before any work is done
    with flow.workplace(work):
        source = flow.source_of(paths, Document, work / "source", means.part, rerun=True)
        plan = {
            "source": source.fingerprint,
            "settings": settings.model_dump(mode="json"),
            "bad_words": list(bad_words),
        }
        passes = work / "passes"
        flow.begin(passes, plan, rerun=True)
        atomic.sweep(passes)
        notes = Notes(settings.examples, settings.pii)
        last = _run(source, passes, settings, bad_words, means, notes)
        report = _report(notes, settings)
        if report.documents[1] == 0:
            steps = ", ".join(f"{step.name} {step.left}" for step in report.funnel)
            found = f"nothing is left of {report.documents[0]} documents: {steps}"
            raise InputError(Problem("", None, "clean", found, "looser settings, or other text"))
        atomic.sweep(output)
        with tables.writer(output / "documents.jsonl", Document) as add:
            for index in range(len(last)):
                add([vars(document) for document in last.read(index)])
        atomic.write_json(output / CLEAN_REPORT, asdict(report))
    return report


def _run(
    source: flow.Source,
    folder: Path,
    settings: CleanSettings,
    bad_words: Sequence[str],
    means: flow.Means,
    notes: Notes,
) -> Pass:
    """Run what is missing of the passes; what all of them counted goes to ``notes``."""

    def run(task: Any, label: str) -> Any:
        atomic.sweep(task.folder)
        flow.execute(task, len(source), means.executor, means.progress, label)
        if isinstance(task, Pass):
            task.note(notes)
        return task

    first = partial(corpus_parts.normalised, settings=settings)
    normalised = run(Pass(source, first, folder / "normalised"), "normalise")
    boilerplate = settings.boilerplate
    shared = {} if boilerplate is None else corpus_parts.shared_lines(normalised, boilerplate)
    each = partial(
        corpus_parts.single, settings=settings, bad_words=tuple(bad_words), shared=shared
    )
    single = run(Pass(normalised, each, folder / "single"), "clean")
    copies, kept_elsewhere = folder / "copies", folder / "elsewhere"
    corpus_parts.duplicates(single, settings.near, copies)
    if settings.paragraphs is not None:
        function = partial(
            corpus_parts.paragraph_arrays, settings=settings.paragraphs, copies=copies
        )
        found = run(flow.Arrays(single, function, folder / "paragraphs"), "paragraphs")
        corpus_parts.elsewhere(found, kept_elsewhere)
    finish = partial(
        corpus_parts.finished,
        settings=settings,
        bad_words=tuple(bad_words),
        copies=copies,
        kept_elsewhere=kept_elsewhere,
    )
    last: Pass = run(Pass(single, finish, folder / "finished"), "copies")
    return last


def _report(notes: Notes, settings: CleanSettings) -> CleanReport:
    """What was counted."""
    names = ("boilerplate", "language", "quality", "near", "paragraphs")
    used = [name for name in names if getattr(settings, name) is not None]
    used.insert(len([name for name in used if name in names[:3]]), "exact")
    funnel = [
        Step(
            name,
            notes.entered[name],
            notes.entered[name] - notes.reasons[name].total(),
            notes.shown[name],
        )
        for name in ("normalise", *used)
    ]
    counts = notes.counts
    return CleanReport(
        funnel=funnel,
        reasons={
            step.name: dict(c.most_common()) for step in funnel if (c := notes.reasons[step.name])
        },
        languages=dict(counts["languages"]),
        characters=(counts["characters"]["before"], counts["characters"]["after"]),
        lines=counts["removed"]["lines"],
        paragraphs=counts["removed"]["paragraphs"],
        pii=dict(sorted(counts["pii"].items())),
    )
