"""Statistics of data for the page about it, in one pass; texts are kept of a sample only."""

from __future__ import annotations

import random
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from burnish.config import InputError, Problem
from burnish.config.optional import needed
from burnish.reporting.datapage import Duplicates, Profile, Spread
from burnish.reporting.plots import Dot, Histogram
from burnish.selection.dedup import exact_duplicates, near_duplicates
from burnish.selection.texts import texts_of, words
from burnish.store import tables
from burnish.tracing.collect import collect
from burnish.tracing.files import Found, one_line, records_of, scores_of

SAMPLE = 2000
COLUMNS = ("lang", "tier", "source", "task", "topic")
BINS = 28
MOST_SCORES = 24
_TEXT = 4000

Floats = NDArray[np.float64]


@dataclass
class _Sampled:
    """A record of the sample: its text (the beginning of a long one) and its columns."""

    text: str
    columns: Mapping[str, str]


@dataclass
class _Pass:
    """What one pass over the records adds up."""

    tokenize: Callable[[str], int] | None
    rng: random.Random
    kinds: Counter[str] = field(default_factory=Counter)
    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    characters: array[int] = field(default_factory=lambda: array("L"))
    tokens: array[int] = field(default_factory=lambda: array("L"))
    scores: dict[str, array[float]] = field(default_factory=dict)
    ids: set[int] = field(default_factory=set)
    repeated: int = 0
    synthetic: int = 0
    sample: list[_Sampled] = field(default_factory=list)

    def add(self, found: Found) -> None:
        """Count a record; it enters the sample with the chance that every other one has."""
        record = found.record
        texts = texts_of(record)
        self.kinds[found.kind] += 1
        self.characters.append(sum(map(len, texts)))
        if self.tokenize is not None:
            self.tokens.append(sum(map(self.tokenize, texts)))
        columns = {name: found.column(name) for name in COLUMNS}
        for name, value in columns.items():
            if value:
                self.counts[name][value] += 1
        for name, score in scores_of(found).items():
            if name in self.scores or len(self.scores) < MOST_SCORES:
                self.scores.setdefault(name, array("d")).append(score)
        self.synthetic += record.synthetic
        key = hash(record.id)
        self.repeated += key in self.ids
        self.ids.add(key)
        seen = len(self.characters)
        place = seen - 1 if seen <= SAMPLE else self.rng.randrange(seen)
        if place < SAMPLE:
            one = _Sampled("\n".join(texts)[:_TEXT], columns)
            self.sample[place : place + 1] = [one]


def profile(path: Path, tokenize: Callable[[str], int] | None = None, seed: int = 0) -> Profile:
    """Statistics of a file, a folder or a run.

    Args:
        path: what to read; rows that are no records are counted, not refused.
        tokenize: the number of tokens in a text; None leaves tokens out.
        seed: of the sample that the map and the duplicates are of.

    Raises:
        InputError: nothing to read, or scikit-learn is not installed.
    """
    counted = _Pass(tokenize, random.Random(seed))
    problems: list[Problem] = []
    files = 0
    for file in collect([path]).files:
        kind = tables.kind_of(file.path)
        if kind is not None:
            files += 1
            for found in records_of(file.path, kind, problems):
                counted.add(found)
    if not counted.characters:
        raise InputError(problems[:20] or Problem(str(path), None, "", "holds no known records"))
    lengths = {"characters": counted.characters}
    lengths |= {"tokens": counted.tokens} if tokenize is not None else {}
    column = _grouping(counted)
    return Profile(
        name=path.name,
        files=files,
        kinds=dict(counted.kinds.most_common()),
        records=len(counted.characters),
        repeated=counted.repeated,
        bad=len(problems),
        totals={name: sum(values) for name, values in lengths.items()},
        lengths={name: spread(np.array(v, dtype=float), log=True) for name, v in lengths.items()},
        counts={name: dict(c.most_common()) for name, c in counted.counts.items()},
        synthetic=counted.synthetic,
        scores={n: spread(np.array(v)) for n, v in sorted(counted.scores.items())},
        dots=_dots(counted.sample, column, seed),
        coloured_by=column,
        duplicates=duplicates([one.text for one in counted.sample]),
    )


def spread(values: Floats, log: bool = False) -> Spread:
    """Bins, quantiles and mean of ``values [n]``, at least one.

    ``log`` bins are for whole numbers: they begin at 1 or above, end between two of them, and none
    is too narrow to hold one.
    """
    low, median, high = (float(v) for v in np.quantile(values, [0.1, 0.5, 0.9]))
    least, most = float(values.min()), float(values.max())
    if log:
        least = max(least, 1.0)
        steps = np.unique(np.floor(np.geomspace(least, max(most, least) + 1, BINS + 1)))
        edges = steps - 0.5
        counts, _ = np.histogram(np.maximum(values, 1.0), edges)
    else:
        if most <= least:
            least, most = least - 0.5, most + 0.5
        edges = np.linspace(least, most, BINS + 1)
        counts, _ = np.histogram(values, edges)
    bins = Histogram(edges.tolist(), counts.tolist(), log)
    return Spread(bins, low, median, high, float(values.mean()), len(values))


def duplicates(texts: Sequence[str], groups: int = 5) -> Duplicates:
    """How many of ``texts`` repeat another one, exactly or nearly, and the largest groups."""
    exact, near = exact_duplicates(texts), near_duplicates(texts)
    largest = sorted(near.clusters, key=len, reverse=True)[:groups]
    shown = [(len(group), one_line(texts[group[0]], 200)) for group in largest]
    return Duplicates(len(texts), exact.removed, near.removed, shown)


def _grouping(counted: _Pass) -> str:
    """The column that tells records apart best: the first with more than one value."""
    for name in ("topic", "task", "source", "lang"):
        if len(counted.counts[name]) > 1:
            return name
    return "source"


def _dots(sample: Sequence[_Sampled], column: str, seed: int) -> list[Dot]:
    places = layout([one.text for one in sample], seed)
    return [
        Dot(float(x), float(y), one.columns[column], one_line(one.text, 90))
        for one, (x, y) in zip(sample, places, strict=True)
    ]


def layout(texts: Sequence[str], seed: int = 0) -> Floats:
    """Where texts lie on a map, ``[n, 2]``: near each other where they share rare words.

    TF-IDF over words (a Chinese character is one), 24 directions of a truncated SVD, each text
    scaled to length 1, of those the two principal components. All zero where texts share no words.

    Raises:
        InputError: scikit-learn is not installed.
    """
    needed("data", "sklearn", at="--html")
    from sklearn.decomposition import PCA, TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    said = [words(text) for text in texts]
    frequent = Counter(word for one in said for word in set(one))
    if sum(count > 1 for count in frequent.values()) < 3 or len(texts) < 3:
        return np.zeros((len(texts), 2))
    weigh = TfidfVectorizer(
        analyzer=lambda one: one, min_df=2, max_df=0.9 if len(texts) > 50 else 1.0,
        max_features=20_000, sublinear_tf=True,
    )  # fmt: skip
    vectors = weigh.fit_transform(said)
    size = min(24, vectors.shape[1] - 1, len(texts) - 1)
    # Texts that are all alike have no variance, by which scikit-learn divides for its report.
    with np.errstate(divide="ignore", invalid="ignore"):
        near = normalize(TruncatedSVD(size, random_state=seed).fit_transform(vectors))
        places: Floats = PCA(2, random_state=seed).fit_transform(near)
    return places
