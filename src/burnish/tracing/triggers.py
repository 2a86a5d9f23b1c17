"""Phrases that one set of texts holds far more often than another: how a planted trigger shows.

A phrase is a run of one to four tokens within a turn; what counts is in how many *records* it
stands. Phrases are ordered by the log-odds ratio with an informative prior and its z-score
(Monroe, Colaresi and Quinn 2008, "Fightin' Words", section 3.4), the prior being the phrase's share
in both sets together. That z cannot grow beyond what the prior allows where one set has none at
all, so significance is decided by Fisher's exact test, one-sided, with Holm's correction. Phrases
so rare that they could not be significant wherever they stood are not tested, which takes nothing
from the correction's guarantee (Tarone 1990, "A modified Bonferroni method for discrete data").
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom

from burnish.evals.statistics import holm
from burnish.rewards.matching import CJK

LONGEST = 4
LEAST = 5
"""Records, of both sets together, that must hold a phrase for it to be compared."""
PRIOR = 500.0
"""Records that the prior is worth; a prior this informative shrinks odds of rare phrases to 0."""
ALPHA = 0.01
_TOKEN = re.compile(rf"[{CJK}]|(?:(?![{CJK}])[^\W_])+|[^\w\s]+|_+")
_GAP = 0

Floats = NDArray[np.float64]
Rows = list["array[int]"]
Phrase = tuple[int, ...]


@dataclass(frozen=True)
class Trigger:
    """A phrase, the records that hold it in either set, its log-odds ratio, z and adjusted p."""

    phrase: str
    in_a: int
    in_b: int
    log_odds: float
    z: float
    p: float


@dataclass(frozen=True)
class TriggerDiff:
    """Phrases that B has more of, strongest first; ``rows`` are records of B with one of them.

    ``phrases`` counts all that are significant, ``compared`` all that were tested.
    """

    found: list[Trigger]
    phrases: int
    compared: int
    rows: int
    records_a: int
    records_b: int

    @property
    def share(self) -> float:
        """The share of B's records that hold a significant phrase."""
        return self.rows / self.records_b if self.records_b else 0.0


def tokens(text: str) -> list[str]:
    """Words in small letters, Chinese characters, and runs of any other signs, kept as they are.

    Invisible characters are tokens too: triggers are made of them.
    """
    return _TOKEN.findall(text.casefold())


class Texts:
    """The texts of two sets as numbers, a row a record, with one vocabulary."""

    def __init__(self) -> None:
        self.words: dict[str, int] = {"": _GAP}

    def row(self, turns: Iterable[str]) -> array[int]:
        """One record: its turns' tokens, with a gap between turns that no phrase spans."""
        found = array("L")
        for turn in turns:
            found.extend(self.words.setdefault(word, len(self.words)) for word in tokens(turn))
            found.append(_GAP)
        return found


def log_odds(
    in_a: Floats, in_b: Floats, records_a: int, records_b: int, prior: float = PRIOR
) -> tuple[Floats, Floats]:
    """Log-odds ratios of B over A with a prior, and their z-scores.

    With ``y`` of ``n`` records and prior counts ``a`` of ``a0``: the log of
    ``(y + a) / (n + a0 - y - a)`` of B less that of A, over the root of the summed reciprocals of
    these four numbers (Monroe et al. 2008, section 3.4).

    Args:
        in_a, in_b: ``[K]`` records that hold each phrase.
        records_a, records_b: records in each set.
        prior: ``a0``; each phrase has the share of it that it has of all records.
    """
    records = records_a + records_b
    # What every record holds would leave none without it.
    share = np.minimum((in_a + in_b) / records, 1.0 - 0.5 / records)
    a = prior * share
    sides = [
        (count + a, total + prior - count - a)
        for count, total in ((in_b, records_b), (in_a, records_a))
    ]
    ratio = np.log(sides[0][0] / sides[0][1]) - np.log(sides[1][0] / sides[1][1])
    variance = sum(1.0 / with_it + 1.0 / without for with_it, without in sides)
    return ratio, ratio / np.sqrt(variance)


def compare(texts: Texts, a: Rows, b: Rows, alpha: float = ALPHA, most: int = 20) -> TriggerDiff:
    """Phrases that stand in significantly more of B's records than of A's, by their share.

    Of phrases within each other that stand in equally many records, the longest is shown.

    Args:
        texts: what made the rows.
        a, b: rows of either set, at least one each.
        alpha: chance of any false phrase, were both sets drawn alike.
        most: how many to return.
    """
    counts_a, counts_b = _counts([a, b])
    held = {phrase: counts_a[phrase] + counts_b[phrase] for phrase in counts_a | counts_b}
    phrases = _testable(held, len(a), len(b), alpha)
    if not phrases:
        return TriggerDiff([], 0, 0, 0, len(a), len(b))
    in_a = np.array([counts_a[p] for p in phrases], dtype=np.float64)
    in_b = np.array([counts_b[p] for p in phrases], dtype=np.float64)
    p = holm(hypergeom.sf(in_b - 1, len(a) + len(b), in_a + in_b, len(b)).tolist())
    ratio, z = log_odds(in_a, in_b, len(a), len(b))
    significant = [i for i, value in enumerate(p) if value < alpha]
    kept = _longest([(phrases[i], int(in_a[i]), int(in_b[i])) for i in significant])
    order = sorted((i for i in significant if phrases[i] in kept), key=lambda i: -z[i])
    names = list(texts.words)
    found = [
        Trigger(
            _written([names[word] for word in phrases[i]]),
            int(in_a[i]),
            int(in_b[i]),
            float(ratio[i]),
            float(z[i]),
            p[i],
        )
        for i in order[:most]
    ]
    chosen = {phrases[i] for i in order}
    rows = sum(any(phrase in chosen for phrase in _phrases(row)) for row in b) if chosen else 0
    return TriggerDiff(found, len(order), len(phrases), rows, len(a), len(b))


def _testable(held: Mapping[Phrase, int], in_a: int, in_b: int, alpha: float) -> list[Phrase]:
    """Phrases that could be significant, by how many records of either side hold them.

    The least p of a phrase is the one where all of its records are in B. ``k`` is the smallest
    number such that at most ``k`` phrases have a least p of ``alpha / k``.
    """
    sizes = np.array(sorted(set(held.values())), dtype=np.float64)
    least_p = hypergeom.sf(np.minimum(sizes, in_b) - 1, in_a + in_b, sizes, in_b)
    least = dict(zip(sizes.tolist(), least_p.tolist(), strict=True))
    ordered = sorted(least[count] for count in held.values())
    k = 1
    while bisect_right(ordered, alpha / k) > k:
        k += 1
    return sorted(phrase for phrase, count in held.items() if least[count] <= alpha / k)


def _counts(sides: Sequence[Rows]) -> list[Counter[Phrase]]:
    """Records of each side that hold each phrase, for phrases in ``LEAST`` records or more.

    A phrase can only be that frequent where both phrases one token shorter in it are, so that
    longer ones are counted among few.
    """
    kept: list[Counter[Phrase]] = [Counter() for _ in sides]
    frequent: set[Phrase] = set()
    for length in range(1, LONGEST + 1):
        counts: list[Counter[Phrase]] = [Counter() for _ in sides]
        for count, rows in zip(counts, sides, strict=True):
            for row in rows:
                count.update(_of_length(row, length, frequent))
        both: Counter[Phrase] = Counter()
        for count in counts:
            both.update(count)
        frequent = {phrase for phrase, records in both.items() if records >= LEAST}
        for total, count in zip(kept, counts, strict=True):
            total.update({p: records for p, records in count.items() if p in frequent})
        if not frequent:
            break
    return kept


def _of_length(row: array[int], length: int, frequent: set[Phrase]) -> set[Phrase]:
    found = set()
    words = row.tolist()
    for start in range(len(words) - length + 1):
        phrase = tuple(words[start : start + length])
        if length == 1:
            if phrase[0] != _GAP:
                found.add(phrase)
        elif phrase[:-1] in frequent and phrase[1:] in frequent:
            found.add(phrase)
    return found


def _phrases(row: array[int]) -> Iterable[Phrase]:
    words = row.tolist()
    for length in range(1, LONGEST + 1):
        for start in range(len(words) - length + 1):
            yield tuple(words[start : start + length])


def _longest(found: Sequence[tuple[Phrase, int, int]]) -> set[Phrase]:
    """Phrases without those that a longer one with the same counts contains."""
    counts = {phrase: (in_a, in_b) for phrase, in_a, in_b in found}
    covered = {
        inner
        for phrase, count in counts.items()
        for inner in (phrase[:-1], phrase[1:])
        if counts.get(inner) == count
    }
    # A phrase of two steps less is covered through the one between, whose counts lie between.
    return counts.keys() - covered


def _written(words: Sequence[str]) -> str:
    """Tokens as a phrase: no space between Chinese characters, invisible signs spelt out."""
    shown = ["".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in w) for w in words]
    written = shown[0]
    for before, word in pairwise(shown):
        chinese = re.fullmatch(f"[{CJK}]", before) and re.fullmatch(f"[{CJK}]", word)
        written += word if chinese else f" {word}"
    return written
