"""The passes of cleaning over parts of documents, and what has to be decided between them."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from burnish import flow
from burnish.cleaning.boilerplate import BoilerplateSettings, line_keys, strip_boilerplate
from burnish.cleaning.language import identifier
from burnish.cleaning.normalise import normalise
from burnish.cleaning.paragraphs import (
    ParagraphSettings,
    paragraph_keys,
    rank,
    strip_paragraphs,
)
from burnish.cleaning.pii import PiiSettings, scrub
from burnish.cleaning.quality import flaw, word_pattern
from burnish.records import Document
from burnish.selection.clean_settings import CleanSettings
from burnish.selection.dedup import DedupSettings
from burnish.selection.dedup_parts import Shingles, describe_part
from burnish.selection.filters import Reason
from burnish.selection.groups import firsts
from burnish.selection.minhash import components
from burnish.store import atomic, tables

SHOWN = 200
EMPTY = "empty: no text is left"
DUPLICATES = ("exact", "near")


@dataclass(frozen=True)
class RemovedDocument:
    """One removed document, for the report: how its text began when it went, and why. Personal
    data is replaced here as well."""

    id: str
    text: str
    reason: Reason


@dataclass
class Notes:
    """What passes count: documents that came to a step, the reasons for which it took some out and
    the first ``examples`` of these; and ``counts`` of other things, by kind."""

    examples: int
    pii: PiiSettings | None
    entered: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    shown: dict[str, list[RemovedDocument]] = field(default_factory=lambda: defaultdict(list))
    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def passes(self, step: str, document: Document, reason: Reason) -> bool:
        """Whether a document goes on after a step, which it does without a reason."""
        self.entered[step] += 1
        if reason:
            self.reasons[step][reason.partition(":")[0]] += 1
            if len(self.shown[step]) < self.examples:
                begin = document.text[: 2 * SHOWN]
                if self.pii is not None:  # a report is passed on, too
                    begin = scrub(begin, document.lang, self.pii)[0]
                self.shown[step].append(RemovedDocument(document.id, begin[:SHOWN], reason))
        return not reason

    def as_json(self) -> dict[str, Any]:
        """All that was counted."""
        shown = {step: [asdict(one) for one in some] for step, some in self.shown.items()}
        return {
            "entered": self.entered, "reasons": self.reasons, "counts": self.counts, "shown": shown
        }  # fmt: skip

    def add(self, path: Path) -> None:
        """What another one counted, as JSON in a file."""
        found = json.loads(path.read_bytes())
        self.entered.update(found["entered"])
        for mine, theirs in ((self.reasons, found["reasons"]), (self.counts, found["counts"])):
            for name, some in theirs.items():
                mine[name].update(some)
        for step, rows in found["shown"].items():
            room = self.examples - len(self.shown[step])
            self.shown[step] += [RemovedDocument(**row) for row in rows[:room]]


@dataclass(frozen=True)
class Made:
    """What a pass makes of a part."""

    documents: Sequence[Document]
    notes: Notes
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


class Pass(flow.Arrays):
    """A task whose function gives ``Made``, and a source of the documents it left."""

    @property
    def fingerprint(self) -> str:
        """Passes begin in a folder of their own, so that this is only asked of a first source."""
        return self.source.fingerprint

    def __len__(self) -> int:
        return len(self.source)

    def save(self, folder: Path, found: Made) -> None:
        """Documents, notes and arrays."""
        super().save(folder, found.arrays)
        atomic.write_json(folder / "notes.json", found.notes.as_json())
        tables.write(folder / "documents.parquet", found.documents)

    def read(self, index: int) -> Sequence[Document]:
        """The documents that are left of a part."""
        return flow.read_part(self.path(index, "").parent / "documents.parquet", Document)

    def note(self, notes: Notes) -> None:
        """Add up what was counted in all parts."""
        for index in range(len(self)):
            notes.add(self.path(index, "").parent / "notes.json")


def normalised(part: flow.Part, settings: CleanSettings) -> Made:
    """First pass: one form of every text; how many documents of each source have a line."""
    notes = Notes(settings.examples, settings.pii)
    kept = []
    lines: dict[str, Counter[int]] = defaultdict(Counter)
    for document in _documents(part):
        notes.counts["characters"]["before"] += len(document.text)
        text = normalise(document.text, settings.normalise)
        if notes.passes("normalise", document, "" if text else EMPTY):
            kept.append(replace(document, text=text))
            if settings.boilerplate is not None:
                lines[document.source].update(line_keys(text))
    return Made(kept, notes, line_arrays(lines, Counter(one.source for one in kept)))


def line_arrays(
    lines: Mapping[str, Mapping[int, int]], documents: Mapping[str, int]
) -> dict[str, NDArray[Any]]:
    """Counts of lines by source, as ``shared_lines`` reads them."""
    sources = sorted(documents)
    rows = [
        (key, number, count)
        for number, source in enumerate(sources)
        for key, count in lines.get(source, {}).items()
    ]
    rows.sort()
    keys, owners, counts = zip(*rows, strict=True) if rows else ((), (), ())
    return {
        "keys": np.array(keys, dtype=np.uint64),
        "owners": np.array(owners, dtype=np.int64),
        "counts": np.array(counts, dtype=np.int64),
        "sources": np.array(sources, dtype=np.str_),
        "documents": np.array([documents[source] for source in sources], dtype=np.int64),
    }


def shared_lines(arrays: flow.Arrays, settings: BoilerplateSettings) -> dict[str, frozenset[int]]:
    """The keys of the lines that many documents of a source share, of every source."""
    documents: Counter[str] = Counter()
    names = [arrays.load(part, "sources").tolist() for part in range(len(arrays.source))]
    for part, some in enumerate(names):
        documents.update(dict(zip(some, arrays.load(part, "documents").tolist(), strict=True)))
    code = {source: number for number, source in enumerate(documents)}
    least = np.array([max(settings.documents, settings.share * n) for n in documents.values()])
    codes = [np.array([code[source] for source in some], dtype=np.int64) for some in names]
    begins = np.cumsum([0, *map(len, codes)])
    every = np.concatenate(codes)
    found: dict[str, set[int]] = {source: set() for source in documents}
    sources = list(documents)
    for parts, (keys, owners, counts) in arrays.ranges("keys", "owners", "counts"):
        of = every[begins[parts] + owners]
        order = np.lexsort((keys, of))
        line, line_of = keys[order], of[order]
        new = (line[1:] != line[:-1]) | (line_of[1:] != line_of[:-1])
        begin = np.flatnonzero(np.concatenate([[True], new]))
        many = begin[np.add.reduceat(counts[order], begin) >= least[line_of[begin]]]
        for number, key in zip(line_of[many].tolist(), line[many].tolist(), strict=True):
            found[sources[number]].add(key)
    return {source: frozenset(keys) for source, keys in found.items()}


def single(
    part: flow.Part,
    settings: CleanSettings,
    bad_words: Sequence[str],
    shared: Mapping[str, frozenset[int]],
) -> Made:
    """Second pass: everything that looks at one document alone."""
    notes = Notes(settings.examples, settings.pii)
    bad = word_pattern(bad_words)
    kept = []
    for document in _documents(part):
        found = _cleaned(document, settings, bad, shared.get(document.source, frozenset()), notes)
        if found is not None:
            kept.append(found)
    described = describe_part(flow.Part(part.index, kept), settings.near or DedupSettings())
    return Made(kept, notes, described)


def _cleaned(
    document: Document,
    settings: CleanSettings,
    bad: Any,
    shared: frozenset[int],
    notes: Notes,
) -> Document | None:
    """A document cleaned, or None where a step removed it."""
    text, lang = document.text, document.lang
    if settings.boilerplate is not None:
        text, removed = strip_boilerplate(text, shared, settings.boilerplate.notices)
        notes.counts["removed"]["lines"] += removed
        if not notes.passes("boilerplate", document, "" if text.strip() else EMPTY):
            return None
    if settings.language is not None:
        code = identifier(settings.language)(text)
        kept = next((known for known in settings.language.keep if known == code), None)
        said = "" if kept else f"{code}: none of those to keep"
        if not notes.passes("language", document, said):
            return None
        lang = kept or lang
    document = replace(document, text=text, lang=lang)
    if settings.quality is not None and not notes.passes(
        "quality", document, flaw(text, lang, settings.quality, bad)
    ):
        return None
    if settings.pii is not None:
        text, counts = scrub(text, lang, settings.pii)
        notes.counts["pii"].update(counts)
    return replace(document, text=text)


def duplicates(arrays: flow.Arrays, near: DedupSettings | None, folder: Path) -> None:
    """Write which documents are copies: of each part their rows, the step that finds each (its
    place in ``DUPLICATES``), and the id of the document that is kept."""
    if folder.is_dir():
        return
    content = arrays.gather("content")
    lengths, digests = arrays.gather("lengths"), arrays.gather("digests")
    rows = flow.Rows(arrays.sizes("content"))
    best = firsts(content, lengths, digests)
    steps = np.where(best == np.arange(len(best)), -1, 0)
    if near is not None:
        alive, shingles = np.flatnonzero(steps < 0), Shingles(arrays, rows)
        groups = components(
            content[alive],
            (arrays.row("bands", band)[alive] for band in range(near.bands)),
            lambda row: shingles(int(alive[row])),
            near.threshold,
        )
        best[alive] = alive[firsts(groups, lengths[alive], digests[alive])]
        steps[alive[best[alive] != alive]] = 1
    ids = flow.Column(arrays, "ids", rows)
    gone = {part: inside for part, _, inside in rows.placed(np.flatnonzero(steps >= 0))}
    with atomic.new_folder(folder) as made:
        for part, begin in enumerate(rows.begins[:-1].tolist()):
            inside = gone.get(part, np.zeros(0, np.int64))
            np.save(made / f"{part}-rows.npy", inside)
            np.save(made / f"{part}-steps.npy", steps[begin + inside])
            np.save(made / f"{part}-keepers.npy", ids[best[begin + inside]])


def _copies(folder: Path, part: int) -> dict[int, tuple[str, str]]:
    """By row: the step that takes a document out, and the id of the one it is a copy of."""
    columns = (np.load(folder / f"{part}-{name}.npy") for name in ("rows", "steps", "keepers"))
    rows, steps, keepers = (column.tolist() for column in columns)
    return {
        row: (DUPLICATES[step], keeper)
        for row, step, keeper in zip(rows, steps, keepers, strict=True)
    }


def paragraph_arrays(
    part: flow.Part, settings: ParagraphSettings, copies: Path
) -> Mapping[str, NDArray[Any]]:
    """The paragraphs of documents that are no copies, and the ranks of these."""
    gone = _copies(copies, part.index)
    rows = sorted(
        (key, *rank(document.text), row)
        for row, document in enumerate(_documents(part))
        if row not in gone
        for key in paragraph_keys(document.text, settings)
    )
    keys, lengths, hashes, numbers = zip(*rows, strict=True) if rows else ((), (), (), ())
    return {
        "keys": np.array(keys, dtype=np.uint64),
        "lengths": np.array(lengths, dtype=np.int64),
        "hashes": np.array(hashes, dtype=np.uint64),
        "rows": np.array(numbers, dtype=np.int64),
    }


def elsewhere(arrays: flow.Arrays, folder: Path) -> None:
    """Write of each part the paragraphs (row and key) that another document keeps."""
    if folder.is_dir():
        return
    lost: dict[int, list[NDArray[Any]]] = defaultdict(list)
    for parts, (keys, lengths, hashes, rows) in arrays.ranges("keys", "lengths", "hashes", "rows"):
        best = firsts(keys, lengths, hashes)
        gone = (lengths != lengths[best]) | (hashes != hashes[best])
        for part in np.unique(parts[gone]).tolist():
            here = gone & (parts == part)
            lost[part].append(np.stack([rows[here].astype(np.uint64), keys[here]]))
    with atomic.new_folder(folder) as made:
        for part in range(len(arrays.source)):
            none = np.zeros((2, 0), np.uint64)
            np.save(made / f"{part}.npy", np.concatenate([none, *lost[part]], axis=1))


def finished(
    part: flow.Part,
    settings: CleanSettings,
    bad_words: Sequence[str],
    copies: Path,
    kept_elsewhere: Path,
) -> Made:
    """Third pass: copies go, and paragraphs that a longer document has; what is left of a document
    must be good still."""
    notes = Notes(settings.examples, settings.pii)
    bad = word_pattern(bad_words)
    gone = _copies(copies, part.index)
    lost: dict[int, set[int]] = defaultdict(set)
    if settings.paragraphs is not None:
        for row, key in np.load(kept_elsewhere / f"{part.index}.npy").T.tolist():
            lost[row].add(key)
    kept = []
    for row, document in enumerate(_documents(part)):
        step, keeper = gone.get(row, ("", ""))
        if not _distinct(document, step, keeper, settings, notes):
            continue
        found = _without(document, lost[row], settings, bad, notes)
        if found is not None:
            notes.counts["languages"][found.lang] += 1
            notes.counts["characters"]["after"] += len(found.text)
            kept.append(found)
    return Made(kept, notes)


def _without(
    document: Document, lost: set[int], settings: CleanSettings, bad: Any, notes: Notes
) -> Document | None:
    """A document without ``lost`` paragraphs, or None where too little is left of it."""
    if settings.paragraphs is None:
        return document
    text, removed = strip_paragraphs(document.text, lost, settings.paragraphs)
    notes.counts["removed"]["paragraphs"] += removed
    reason = _rest(text, document, settings, bad) if removed else ""
    return replace(document, text=text) if notes.passes("paragraphs", document, reason) else None


def _distinct(
    document: Document, step: str, keeper: str, settings: CleanSettings, notes: Notes
) -> bool:
    """Whether a document is no copy, by the steps in their order."""
    for name in DUPLICATES if settings.near is not None else DUPLICATES[:1]:
        if not notes.passes(name, document, f"{name} duplicate: of {keeper}" * (name == step)):
            return False
    return True


def _rest(text: str, document: Document, settings: CleanSettings, bad: Any) -> Reason:
    if not text.strip():
        return "copied: every paragraph stands in longer documents"
    rules = settings.quality
    found = flaw(text, document.lang, rules, bad) if rules is not None else ""
    return f"rest, {found}" if found else ""


def _documents(part: flow.Part) -> Sequence[Document]:
    return cast(Sequence[Document], part.records)
