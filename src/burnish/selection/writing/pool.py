"""The instructions there are, asked whether a new one is nearly one of them (ROUGE-L)."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from burnish.selection.texts import words

THRESHOLD = 0.7
"""Self-Instruct (arXiv 2212.10560, section 2.2) adds what is below this to every text there is."""


def rouge_l(first: Sequence[str], second: Sequence[str]) -> float:
    """F1 of the longest common subsequence (Lin 2004, section 3, β = 1): ``2 L / (m + n)``."""
    if not first or not second:
        return 0.0
    row = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for index, other in enumerate(second, start=1):
            above = row[index]
            row[index] = diagonal + 1 if word == other else max(above, row[index - 1])
            diagonal = above
    return 2 * row[-1] / (len(first) + len(second))


class Pool:
    """Texts with an index by word, so that only those that can be near are compared.

    A common subsequence of ROUGE-L ``t`` or more has at least ``t / (2 - t)`` of the words of
    either text. So the texts share one of any ``n - ceil(n t / (2 - t)) + 1`` words of the new
    one; its rarest are looked up. The outcome is that of comparing with every text.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._texts: list[list[str]] = []
        self._counts: list[Counter[str]] = []
        self._holding: dict[str, list[int]] = defaultdict(list)
        self._exact: set[tuple[str, ...]] = set()
        for text in texts:
            self.add(text)

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: str) -> None:
        """Put a text into the pool."""
        said = words(text)
        counts = Counter(said)
        for word in counts:
            self._holding[word].append(len(self._texts))
        self._texts.append(said)
        self._counts.append(counts)
        self._exact.add(tuple(said))

    def holds(self, text: str) -> bool:
        """Whether a text equal but for case, punctuation and white space is there."""
        return tuple(words(text)) in self._exact

    def nearly_holds(self, text: str) -> bool:
        """Whether a text with a ROUGE-L of ``THRESHOLD`` or more is there."""
        said = words(text)
        if tuple(said) in self._exact:
            return True
        counts = Counter(said)
        shared = math.ceil(len(said) * THRESHOLD / (2 - THRESHOLD) - 1e-9)
        ranked = sorted(said, key=lambda word: len(self._holding.get(word, ())))
        rarest = set(ranked[: len(said) - shared + 1])
        for index in {at for word in rarest for at in self._holding.get(word, ())}:
            other = self._texts[index]
            total = len(said) + len(other)
            # Neither the shorter text nor the words in common can be less than what is shared.
            if 2 * min(len(said), len(other)) / total < THRESHOLD:
                continue
            if 2 * (counts & self._counts[index]).total() / total < THRESHOLD:
                continue
            if rouge_l(said, other) >= THRESHOLD:
                return True
        return False
