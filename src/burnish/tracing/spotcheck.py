"""A sample of records for people to label, spread over strata, without what a machine said of them.

What is drawn within a stratum is random, so that its labels speak for all of it; the most
uncertain records come first, so that a reviewer who stops early has seen those.
"""

from __future__ import annotations

import random
import statistics
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.config import InputError, Problem
from burnish.records import Document, Feedback, Message, Preference, Prompt, Rollout
from burnish.selection.texts import texts_of
from burnish.store import formats, tables
from burnish.tracing.collect import collect
from burnish.tracing.files import Found, records_of, scores_of

MOST_TOPICS = 50
BANDS = ("low", "middle", "high")
_MAIN = ("total", "reward")


@dataclass(frozen=True)
class Drawn:
    """A record of the sample; ``weight`` is how many records of its stratum it stands for."""

    found: Found
    file: Path
    stratum: str
    weight: float
    uncertainty: float


def main_score(found: Found) -> float | None:
    """What a machine thinks of a record: its total, reward or mean score; a preference's margin."""
    if isinstance(found.record, Preference):
        return found.record.margin
    scores = scores_of(found)
    named = [scores[name] for name in _MAIN if name in scores]
    return named[0] if named else (statistics.fmean(scores.values()) if scores else None)


def draw(path: Path, count: int, seed: int = 0) -> list[Drawn]:
    """Draw ``count`` records (all where there are fewer), the most uncertain first.

    Strata are topic, tier and third of the main score. Each gets its share of ``count``, by largest
    remainder, and at least one where there are as many places as strata. Uncertain is a score near
    the median, of a preference a margin near 0. Of several records of one id the first counts.

    Raises:
        InputError: nothing to read, or rows that are no records.
    """
    scores = array("d")
    topics: Counter[str] = Counter()
    for found, _ in _records(path):
        score = main_score(found)
        scores.extend([] if score is None else [score])
        topics[found.column("topic") or found.column("task")] += 1
    cuts = statistics.quantiles(scores, n=3) if len(scores) > 1 else []
    middle = statistics.median(scores) if scores else 0.0
    common = {name for name, _ in topics.most_common(MOST_TOPICS)}
    rng = random.Random(seed)
    pools: dict[str, list[tuple[Found, Path]]] = defaultdict(list)
    sizes: Counter[str] = Counter()
    for found, file in _records(path):
        name = _stratum(found, common, cuts)
        sizes[name] += 1
        # Each stratum keeps a uniform sample of at most ``count`` (reservoir sampling).
        place = sizes[name] - 1 if sizes[name] <= count else rng.randrange(sizes[name])
        if place < count:
            pools[name][place : place + 1] = [(found, file)]
    given = places(sizes, count)
    chosen = [
        Drawn(found, file, name, sizes[name] / given[name], _uncertainty(found, middle))
        for name in sorted(pools)
        if given[name]
        for found, file in rng.sample(pools[name], given[name])
    ]
    rng.shuffle(chosen)
    return sorted(chosen, key=lambda one: one.uncertainty)


def _records(path: Path) -> Iterator[tuple[Found, Path]]:
    problems: list[Problem] = []
    seen: set[int] = set()
    for file in collect([path]).files:
        kind = tables.kind_of(file.path)
        for found in records_of(file.path, kind, problems) if kind is not None else ():
            if hash(found.record.id) not in seen:
                seen.add(hash(found.record.id))
                yield found, file.path
    if problems:
        raise InputError(problems[:20])
    if not seen:
        raise InputError(Problem(str(path), None, "", "holds no known records"))


def _stratum(found: Found, common: set[str], cuts: Sequence[float]) -> str:
    topic = found.column("topic") or found.column("task")
    score = main_score(found)
    band = "no score" if score is None else BANDS[sum(score > cut for cut in cuts)]
    return " · ".join((topic if topic in common else "other topics", found.record.tier, band))


def _uncertainty(found: Found, middle: float) -> float:
    score = main_score(found)
    if score is None:
        return 0.0
    return abs(score if isinstance(found.record, Preference) else score - middle)


def places(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """``count`` places among strata by size, one each first where there are enough of them.

    Largest remainder; no stratum gets more than it has.
    """
    whole = sum(sizes.values())
    count = min(count, whole)
    least = 1 if count >= len(sizes) else 0
    exact = {name: count * size / whole for name, size in sizes.items()}
    given = {name: max(least, int(value)) for name, value in exact.items()}
    # Above what is there only through the ones given first, below by the remainders.
    order = sorted(sizes, key=lambda name: (exact[name] - given[name], name))
    while sum(given.values()) > count:
        given[next(name for name in order if given[name] > least)] -= 1
        order = sorted(sizes, key=lambda name: (exact[name] - given[name], name))
    while sum(given.values()) < count:
        open_ = [name for name in sizes if given[name] < sizes[name]]
        given[max(open_, key=lambda name: (exact[name] - given[name], name))] += 1
    return given


def sheet(
    drawn: Sequence[Drawn], annotators: Sequence[str], seed: int = 0
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows for reviewers, and the key to them.

    A row has ``id``, ``prompt``, ``completion`` (of a preference ``first`` and ``second``, in
    random order), and an empty ``label_NAME`` for each annotator. The key has by ``id`` what must
    not be seen before: ``judge`` (``first`` or ``second``, ``liked`` or ``disliked``, or a score),
    the stratum, its weight and where the record stands.
    """
    rng = random.Random(seed)
    rows, keys = [], []
    for one in drawn:
        record = one.found.record
        shown, judge = _shown(one.found, rng)
        labels = {f"label_{name}": None for name in annotators}
        rows.append({"id": record.id, **shown, **labels})
        keys.append(
            {
                "id": record.id,
                "judge": judge,
                "stratum": one.stratum,
                "weight": round(one.weight, 6),
                "file": str(one.file),
                "line": one.found.line,
            }
        )
    return rows, keys


def _shown(found: Found, rng: random.Random) -> tuple[dict[str, str], str | float | None]:
    record = found.record
    if isinstance(record, Preference):
        sides = [_spoken(record.chosen), _spoken(record.rejected)]
        turned = rng.random() < 0.5
        first, second = reversed(sides) if turned else sides
        shown = {"prompt": _spoken(record.prompt), "first": first, "second": second}
        return shown, "second" if turned else "first"
    if isinstance(record, Feedback):
        shown = {"prompt": _spoken(record.prompt), "completion": _spoken(record.completion)}
        return shown, "liked" if record.label else "disliked"
    if isinstance(record, Rollout):
        shown = {"prompt": _spoken(record.prompt), "completion": record.completion}
    elif isinstance(record, Document):
        shown = {"prompt": "", "completion": record.text}
    elif isinstance(record, Prompt):
        shown = {"prompt": _spoken(record.messages), "completion": ""}
    else:
        *before, last = texts_of(record)
        shown = {"prompt": "\n\n".join(before), "completion": last}
    return shown, main_score(found)


def _spoken(messages: Sequence[Message]) -> str:
    """Turns as text; roles are named where there is more than one turn."""
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in messages)


def unblind(filled: Path, key: Path) -> list[dict[str, Any]]:
    """The filled rows with their key: what ``burnish data agree`` reads, ``judge`` beside labels.

    White space around labels is taken off; an empty label is missing.

    Raises:
        InputError: a row's id is not in the key, or a file cannot be read.
    """
    keys = {row["id"]: row for row in _rows(key)}
    joined, problems = [], []
    for place, row in enumerate(_rows(filled)):
        if row["id"] not in keys:
            problems.append(Problem(str(filled), None, f"[{place}].id", f"{row['id']!r:.80} is not "
                                    f"in {key}", "the key written with this sample"))  # fmt: skip
            continue
        labels = {
            name: (value.strip() or None) if isinstance(value, str) else value
            for name, value in row.items()
            if name.startswith("label_")
        }
        joined.append({**row, **labels, **keys[row["id"]]})
    if problems:
        raise InputError(problems[:20])
    return joined


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    for row in formats.rows(file):
        if isinstance(row, Problem):
            raise InputError(row)
        if "id" not in row.value:
            raise InputError(Problem(str(file), row.line, "id", "missing", "a record's id"))
        yield row.value
