"""What changed from one set of records to another."""

from __future__ import annotations

import json
import sqlite3
import tempfile
import zlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from burnish.config import InputError, Problem
from burnish.records import Feedback, Preference
from burnish.selection.texts import texts_of
from burnish.store import tables
from burnish.tracing.collect import collect
from burnish.tracing.files import Found, content_hash, records_of, scores_of, shortened
from burnish.tracing.triggers import Rows, Texts, TriggerDiff, compare

FIELDS = ("kind", "source", "tier", "lang", "task", "topic", "synthetic")
MOST_VALUES = 12
MOST_WORDS = 1_500_000
"""About how many characters' worth of words a side is compared in phrases; above it, a sample."""
_CHARACTERS = 5 * MOST_WORDS
_LEAST_GROUP = 20
_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE a (id TEXT PRIMARY KEY, content TEXT, marks TEXT, shown TEXT) WITHOUT ROWID;
CREATE INDEX a_content ON a (content);
CREATE TABLE b (id TEXT PRIMARY KEY, content TEXT, marks TEXT, shown TEXT) WITHOUT ROWID;
"""


@dataclass
class Side:
    """One of both sets: how many records, of what, and how long (characters, by quantile)."""

    records: int = 0
    repeated: int = 0
    characters: int = 0
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    lengths: dict[str, float] = field(default_factory=dict)


@dataclass
class Difference:
    """Ids only in one set and in both; ``changed`` counts the fields that differ in those.

    ``renamed`` counts records of only B whose text is in A under another id. ``triggers`` has the
    phrases that B's texts which A lacks have more of than A, and, with ``by``, each group of B
    against the rest of B. They are of the share ``sampled`` of each side, or of more.
    """

    a: Side
    b: Side
    only_a: int
    only_b: int
    both: int
    changed: dict[str, int]
    renamed: int
    examples: dict[str, list[str]]
    triggers: dict[str, TriggerDiff]
    sampled: float


def difference(
    a: Path, b: Path, by: str | None = None, alpha: float = 0.01, examples: int = 5
) -> Difference:
    """Compare two files, folders or runs, record by record and in the phrases they hold.

    Args:
        by: a column (or ``label``: a feedback's label, a preference's chosen and rejected side)
            whose groups in B are also compared with the rest of B.
        alpha: the chance of any false phrase in each comparison.
        examples: ids to show of each kind of difference.

    Raises:
        InputError: nothing to read in a set, rows that are no records, or a column that no
            record of B has.
    """
    texts = Texts()
    with tempfile.TemporaryDirectory(prefix="burnish-diff-") as folder:
        base = sqlite3.connect(Path(folder) / "diff.sqlite")
        try:
            base.executescript(_SCHEMA)
            sides = [_read(base, name, path) for name, path in (("a", a), ("b", b))]
            shares = [min(1.0, _CHARACTERS / max(side.characters, 1)) for side in sides]
            triggers = {}
            # Texts that A has too say nothing of what is new, and would only thin it out.
            new = (found for found in _sampled(b, shares[1]) if not _known(base, found))
            rows_b = [texts.row(texts_of(found.record)) for found in new]
            if rows_b:
                rows_a = [texts.row(texts_of(found.record)) for found in _sampled(a, shares[0])]
                triggers["new texts of B against A"] = compare(texts, rows_a, rows_b, alpha)
            if by is not None:
                triggers |= _grouped(texts, b, by, shares[1], alpha)
            return _difference(base, sides, triggers, min(shares), examples)
        finally:
            base.close()


def _found(path: Path) -> Iterator[Found]:
    problems: list[Problem] = []
    some = False
    for file in collect([path]).files:
        kind = tables.kind_of(file.path)
        if kind is None:
            continue
        for found in records_of(file.path, kind, problems):
            some = True
            yield found
    if problems:
        raise InputError(problems[:20])
    if not some:
        raise InputError(Problem(str(path), None, "", "holds no known records"))


def _read(base: sqlite3.Connection, name: str, path: Path) -> Side:
    side = Side()
    lengths = array("L")
    counts: dict[str, Counter[str]] = {key: Counter() for key in FIELDS}
    for found in _found(path):
        record = found.record
        size = sum(map(len, texts_of(record)))
        marks = {
            "scores": scores_of(found),
            **{key: found.column(key) for key in FIELDS if key != "kind"},
        }
        row = (record.id, content_hash(record), json.dumps(marks), shortened(record, 60))
        done = base.execute(f"INSERT OR IGNORE INTO {name} VALUES (?, ?, ?, ?)", row)  # noqa: S608
        side.repeated += done.rowcount == 0
        side.records += 1
        side.characters += size
        lengths.append(size)
        for key in FIELDS:
            value = found.kind if key == "kind" else found.column(key)
            if value:
                counts[key][value] += 1
    side.counts = {key: dict(found.most_common()) for key, found in counts.items()}
    values = np.array(lengths, dtype=np.float64)
    side.lengths = {f"{q} %": float(np.quantile(values, q / 100)) for q in (10, 50, 90)}
    side.lengths["mean"] = float(values.mean())
    return side


def _sampled(path: Path, share: float) -> Iterator[Found]:
    """A share of the records, drawn by their ids, so that both sides draw the same ones."""
    for found in _found(path):
        if share >= 1.0 or zlib.crc32(found.record.id.encode()) < share * 2**32:
            yield found


def _known(base: sqlite3.Connection, found: Found) -> bool:
    """Whether A has a record of the same texts."""
    content = content_hash(found.record)
    return base.execute("SELECT 1 FROM a WHERE content = ?", (content,)).fetchone() is not None


def _grouped(
    texts: Texts, path: Path, by: str, share: float, alpha: float
) -> dict[str, TriggerDiff]:
    groups: dict[str, Rows] = defaultdict(list)
    for found in _sampled(path, share):
        for name, turns in _in_group(found, by):
            groups[name].append(texts.row(turns))
    if set(groups) <= {""}:
        raise InputError(Problem(str(path), None, by, "no record has it", "a column of B"))
    large = sorted((name for name in groups if len(groups[name]) >= _LEAST_GROUP and name),
                   key=lambda name: (-len(groups[name]), name))  # fmt: skip
    result = {}
    for name in large[:MOST_VALUES]:
        rest = [row for other, rows in groups.items() if other != name for row in rows]
        if rest:
            result[f"{by} {name} against the rest of B"] = compare(texts, rest, groups[name], alpha)
    return result


def _in_group(found: Found, by: str) -> Iterable[tuple[str, Sequence[str]]]:
    record = found.record
    if by == "label" and isinstance(record, Preference):
        yield "chosen", [turn["content"] for turn in record.chosen]
        yield "rejected", [turn["content"] for turn in record.rejected]
    elif by == "label" and isinstance(record, Feedback):
        yield ("liked" if record.label else "disliked"), texts_of(record)
    else:
        yield found.column(by), texts_of(record)


def _difference(
    base: sqlite3.Connection,
    sides: Sequence[Side],
    triggers: dict[str, TriggerDiff],
    share: float,
    most: int,
) -> Difference:
    def number(query: str) -> int:
        return int(base.execute(f"SELECT count(*) FROM {query}").fetchone()[0])  # noqa: S608

    def some(query: str) -> list[str]:
        rows = base.execute(f"SELECT id, shown FROM {query} LIMIT {most}")  # noqa: S608
        return [f"{id}  {shown}" for id, shown in rows]

    only_a, only_b = "a WHERE id NOT IN (SELECT id FROM b)", "b WHERE id NOT IN (SELECT id FROM a)"
    differ = "a.content <> b.content OR a.marks <> b.marks"
    changed: Counter[str] = Counter()
    examples = {"only in A": some(only_a), "only in B": some(only_b), "changed": []}
    for row in base.execute(
        "SELECT id, a.content <> b.content, a.marks, b.marks, b.shown FROM a JOIN b USING (id)"  # noqa: S608
        f" WHERE {differ}"
    ):
        names = _changes(row[1], json.loads(row[2]), json.loads(row[3]))
        changed.update(names)
        if len(examples["changed"]) < most:
            examples["changed"].append(f"{row[0]}  {', '.join(names)}  {row[4]}")
    return Difference(
        a=sides[0],
        b=sides[1],
        only_a=number(only_a),
        only_b=number(only_b),
        both=number("a JOIN b USING (id)"),
        changed=dict(changed.most_common()),
        renamed=number(f"{only_b} AND content IN (SELECT content FROM a)"),  # noqa: S608
        examples=examples,
        triggers=triggers,
        sampled=share,
    )


def _changes(text: bool, before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    names = ["text"] if text else []
    return names + [name for name in before if before[name] != after[name]]
