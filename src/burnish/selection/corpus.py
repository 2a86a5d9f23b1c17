"""A corpus cleaned from end to end: every step of ``burnish.cleaning``, duplicates, a funnel.

Three passes, with the documents on disk between them: normalise and count shared lines; everything
that looks at one document; duplicates. Memory holds hashes of lines and paragraphs and what the
search for duplicates needs, no text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import NonNegativeInt

from burnish.cleaning.boilerplate import BoilerplateSettings, SharedLines, strip_boilerplate
from burnish.cleaning.language import LanguageSettings, identifier
from burnish.cleaning.normalise import NormaliseSettings, normalise
from burnish.cleaning.paragraphs import Owners, ParagraphSettings
from burnish.cleaning.pii import PiiSettings, scrub
from burnish.cleaning.quality import QualitySettings, flaw, word_pattern
from burnish.config import InputError, Problem, Settings
from burnish.records import Document
from burnish.selection.dedup import Clusters, DedupSettings, exact_duplicates, near_duplicates
from burnish.selection.filters import Reason, Step
from burnish.selection.spool import Spool, Texts, line
from burnish.store import atomic

SHOWN = 200
EMPTY = "empty: no text is left"


class CleanSettings(Settings):
    """The steps in their order; null leaves one out.

    Normalise, boilerplate, language, quality, pii, then exact duplicates of documents, ``near``
    ones, and ``paragraphs`` that a longer document has too. The report shows ``examples`` removed
    documents of each step.
    """

    normalise: NormaliseSettings = NormaliseSettings()
    boilerplate: BoilerplateSettings | None = BoilerplateSettings()
    language: LanguageSettings | None = LanguageSettings()
    quality: QualitySettings | None = QualitySettings()
    pii: PiiSettings | None = PiiSettings()
    near: DedupSettings | None = DedupSettings()
    paragraphs: ParagraphSettings | None = ParagraphSettings()
    examples: NonNegativeInt = 3


@dataclass(frozen=True)
class RemovedDocument:
    """One removed document, for the report: how its text began when it went, and why. Personal
    data is replaced here as well."""

    id: str
    text: str
    reason: Reason


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
    documents: Iterable[Document],
    output: Path,
    work: Path,
    settings: CleanSettings | None = None,
    bad_words: Sequence[str] = (),
    advance: Callable[[], object] = lambda: None,
) -> CleanReport:
    """Clean a corpus: write what is left, in the order it came, and ``clean.json``, the report.

    Args:
        documents: read once.
        output: a folder; ``documents.jsonl`` in it is written whole or not at all.
        work: a folder for the passes in between; as much room as the documents take, twice.
        settings: the steps.
        bad_words: the words that ``quality.bad_words`` names.
        advance: called after each document of each pass.

    Raises:
        InputError: nothing is left (the message has the funnel), or a package is missing.
    """
    cleaner = _Cleaner(settings or CleanSettings(), bad_words, advance)
    with Spool(work / "normalised.jsonl") as normalised, Spool(work / "single.jsonl") as single:
        cleaner.normalise(documents, normalised)
        cleaner.each(normalised, single)
        kept = cleaner.duplicates(single)
        with atomic.open_file(output / "documents.jsonl") as file:
            for document in cleaner.without_paragraphs(single, kept):
                file.write(line(document))
            report = cleaner.report()
            if report.documents[1] == 0:
                steps = ", ".join(f"{step.name} {step.left}" for step in report.funnel)
                found = f"nothing is left of {report.documents[0]} documents: {steps}"
                expected = "looser settings, or other text"
                raise InputError(Problem("", None, "clean", found, expected))
    atomic.write_json(output / "clean.json", asdict(report))
    return report


class _Cleaner:
    """One run: settings, the passes, and what they count."""

    def __init__(
        self, settings: CleanSettings, bad_words: Sequence[str], advance: Callable[[], object]
    ) -> None:
        self.settings, self.advance = settings, advance
        self.bad = word_pattern(bad_words)
        self.identify = identifier(settings.language) if settings.language else None
        names = ("boilerplate", "language", "quality", "near", "paragraphs")
        used = [name for name in names if getattr(settings, name) is not None]
        used.insert(len([name for name in used if name in names[:3]]), "exact")
        self.entered: dict[str, int] = dict.fromkeys(["normalise", *used], 0)
        self.examples: dict[str, list[RemovedDocument]] = {name: [] for name in self.entered}
        self.reasons: dict[str, Counter[str]] = {name: Counter() for name in self.entered}
        self.shared = SharedLines()
        self.pii: Counter[str] = Counter()
        self.languages: Counter[str] = Counter()
        self.before = self.after = self.lines = self.paragraphs = 0

    def normalise(self, documents: Iterable[Document], spool: Spool) -> None:
        """First pass: one form of every text, and the lines that documents of a source share."""
        for document in documents:
            self.before += len(document.text)
            text = normalise(document.text, self.settings.normalise)
            if self._passes("normalise", document, "" if text else EMPTY):
                if self.settings.boilerplate is not None:
                    self.shared.add(document.source, text)
                spool.add(replace(document, text=text))
            self.advance()

    def each(self, documents: Iterable[Document], spool: Spool) -> None:
        """Second pass: everything that looks at one document alone."""
        boilerplate = self.settings.boilerplate
        shared = self.shared.of(boilerplate) if boilerplate is not None else {}
        self.shared = SharedLines()
        for document in documents:
            found = self._single(document, shared.get(document.source, frozenset()))
            if found is not None:
                spool.add(found)
            self.advance()

    def _single(self, document: Document, shared: frozenset[int]) -> Document | None:
        """A document cleaned, or None where a step removed it."""
        settings, text, lang = self.settings, document.text, document.lang
        if settings.boilerplate is not None:
            text, removed = strip_boilerplate(text, shared, settings.boilerplate.notices)
            self.lines += removed
            if not self._passes("boilerplate", document, "" if text.strip() else EMPTY):
                return None
        if settings.language is not None and self.identify is not None:
            code = self.identify(text)
            kept = next((known for known in settings.language.keep if known == code), None)
            if not self._passes(
                "language", document, "" if kept else f"{code}: none of those to keep"
            ):
                return None
            lang = kept or lang
        document = replace(document, text=text, lang=lang)
        if settings.quality is not None and not self._passes(
            "quality", document, flaw(text, lang, settings.quality, self.bad)
        ):
            return None
        if settings.pii is not None:
            text, counts = scrub(text, lang, settings.pii)
            self.pii += counts
        return replace(document, text=text)

    def duplicates(self, spool: Spool) -> list[int]:
        """The numbers of the documents that are no copies of others."""
        numbers = list(range(len(spool)))
        numbers = self._distinct("exact", spool, numbers, exact_duplicates(Texts(spool, numbers)))
        near = self.settings.near
        if near is not None:
            found = near_duplicates(Texts(spool, numbers), near)
            numbers = self._distinct("near", spool, numbers, found)
        return numbers

    def _distinct(
        self, name: str, spool: Spool, numbers: Sequence[int], found: Clusters
    ) -> list[int]:
        kept = set(found.kept)
        of = {
            member: next(other for other in cluster if other in kept)
            for cluster in found.clusters
            for member in cluster
        }
        left = []
        for index, number in enumerate(numbers):
            if index in kept:
                self.entered[name] += 1
                left.append(number)
            else:
                same = spool[numbers[of[index]]].id
                self._passes(name, spool[number], f"{name} duplicate: of {same}")
        return left

    def without_paragraphs(self, spool: Spool, numbers: Sequence[int]) -> Iterator[Document]:
        """Third pass: paragraphs that a longer document has go; what is left must be good still."""
        owners = Owners(self.settings.paragraphs) if self.settings.paragraphs else None
        if owners is not None:
            for text in Texts(spool, numbers):
                owners.add(text)
        for number in numbers:
            document = spool[number]
            if owners is not None:
                text, removed = owners.strip(document.text)
                self.paragraphs += removed
                reason = self._rest(text, document) if removed else ""
                if not self._passes("paragraphs", document, reason):
                    continue
                document = replace(document, text=text)
            self.languages[document.lang] += 1
            self.after += len(document.text)
            self.advance()
            yield document

    def _rest(self, text: str, document: Document) -> Reason:
        if not text.strip():
            return "copied: every paragraph stands in longer documents"
        rules = self.settings.quality
        found = flaw(text, document.lang, rules, self.bad) if rules is not None else ""
        return f"rest, {found}" if found else ""

    def _passes(self, name: str, document: Document, reason: Reason) -> bool:
        self.entered[name] += 1
        if reason:
            self.reasons[name][reason.partition(":")[0]] += 1
            if len(self.examples[name]) < self.settings.examples:
                begin = document.text[: 2 * SHOWN]
                if self.settings.pii is not None:  # a report is passed on, too
                    begin = scrub(begin, document.lang, self.settings.pii)[0]
                self.examples[name].append(RemovedDocument(document.id, begin[:SHOWN], reason))
        return not reason

    def report(self) -> CleanReport:
        """What was counted."""
        funnel = [
            Step(name, count, count - self.reasons[name].total(), self.examples[name])
            for name, count in self.entered.items()
        ]
        return CleanReport(
            funnel=funnel,
            reasons={name: dict(c.most_common()) for name, c in self.reasons.items() if c},
            languages=dict(self.languages),
            characters=(self.before, self.after),
            lines=self.lines,
            paragraphs=self.paragraphs,
            pii=dict(sorted(self.pii.items())),
        )
