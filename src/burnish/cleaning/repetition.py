"""How much of a text repeats itself: lines, paragraphs, n-grams of words or of characters.

Every share is of characters or of items, in [0, 1]; the definitions are those of Gopher (Rae et
al. 2021, arXiv 2112.11446, section A.1.1, "Repetition removal").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from burnish.config import Settings


class RepetitionSettings(Settings):
    """Shares from which a document repeats itself too much: Table A1 of Gopher.

    ``lines`` and ``paragraphs`` are shares of items that stood before, ``line_characters`` and
    ``paragraph_characters`` the characters in them. ``top`` maps n to the characters in the most
    frequent n-gram, ``repeated`` to those in n-grams that stood before. Chinese counts n-grams of
    characters with 2 n for n, as a word has about two.
    """

    lines: float = 0.30
    paragraphs: float = 0.30
    line_characters: float = 0.20
    paragraph_characters: float = 0.20
    top: dict[int, float] = {2: 0.20, 3: 0.18, 4: 0.16}
    repeated: dict[int, float] = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}


def findings(
    lines: Sequence[str], paragraphs: Sequence[str], units: Sequence[str], scale: int,
    settings: RepetitionSettings,
) -> Iterator[str]:  # fmt: skip
    """Every measure that is over its limit, as ``"repeated lines: 0.40 over 0.3"``.

    Args:
        lines: lines with text in them.
        paragraphs: what stands between blank lines.
        units: words, or for Chinese characters.
        scale: units that stand for one word of the table: 1, or 2 for characters.
    """
    for name, items, limit, characters in (
        ("lines", lines, settings.lines, settings.line_characters),
        ("paragraphs", paragraphs, settings.paragraphs, settings.paragraph_characters),
    ):
        count, size = repeated_items(items)
        yield from _over(f"repeated {name}", count, limit)
        yield from _over(f"characters in repeated {name}", size, characters)
    for n, limit in sorted(settings.top.items()):
        yield from _over(f"most frequent {n * scale}-gram", top_ngram(units, n * scale), limit)
    for n, limit in sorted(settings.repeated.items()):
        share = repeated_ngrams(units, n * scale)
        yield from _over(f"repeated {n * scale}-grams", share, limit)
        # Whatever lies in a repeated longer n-gram lies in repeated shorter ones too.
        if share <= min(settings.repeated.values()):
            return


def repeated_items(items: Sequence[str]) -> tuple[float, float]:
    """The share of items that stood before, and the share of all characters that they hold.

    ``["ab", "ab", "c"]``: 1 of 3 items, 2 of 5 characters.
    """
    seen: set[str] = set()
    count = size = 0
    for item in items:
        if item in seen:
            count, size = count + 1, size + len(item)
        seen.add(item)
    return (count / len(items), size / sum(map(len, items))) if items else (0.0, 0.0)


def top_ngram(units: Sequence[str], n: int) -> float:
    """The share of characters in the most frequent n-gram, 0 where none occurs twice.

    Of equally frequent ones the longest counts. ``a b a b c``, n = 2: (a b) twice, 4 of 5.
    """
    counts = Counter(zip(*(units[i:] for i in range(n)), strict=False))
    most = max(counts.values(), default=0)
    if most < 2:
        return 0.0
    longest = max(len("".join(gram)) for gram, count in counts.items() if count == most)
    return min(1.0, most * longest / sum(map(len, units)))


def repeated_ngrams(units: Sequence[str], n: int) -> float:
    """The share of characters that lie in an n-gram which stood before, each counted once.

    ``a b c a b d``, n = 2: the second (a b), 2 of 6.
    """
    seen: set[tuple[str, ...]] = set()
    covered = end = 0
    for start, gram in enumerate(zip(*(units[i:] for i in range(n)), strict=False)):
        if gram in seen:
            covered += sum(map(len, units[max(start, end) : start + n]))
            end = start + n
        seen.add(gram)
    return covered / sum(map(len, units)) if units else 0.0


def _over(name: str, share: float, limit: float) -> Iterator[str]:
    if share > limit:
        yield f"{name}: {share:.2f} over {limit}"
