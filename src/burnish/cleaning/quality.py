"""Rules that tell running text from lists, menus, tables, templates and noise.

English: Gopher (Rae et al. 2021, arXiv 2112.11446, section A.1.1), C4 (Raffel et al. 2020, arXiv
1910.10683, section 2.2) and FineWeb (Penedo et al. 2024, arXiv 2406.17557, section 3.6). Chinese:
ChineseWebText (Chen et al. 2023, arXiv 2311.01149; numbers as in its published ``preprocess.py``)
and what corresponds to Gopher's rules where words have no spaces between them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from burnish.cleaning import repetition
from burnish.cleaning.paragraphs import paragraphs
from burnish.cleaning.repetition import RepetitionSettings
from burnish.config import DataRef, InputError, Problem, Settings
from burnish.records import Language

HAN = "\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fa1f"
STOP_WORDS = frozenset(["the", "be", "to", "of", "and", "that", "have", "with"])
STOP_CHARACTERS = frozenset(
    "的一是不了在有人我他这這个個们們中来來上大为為和国國地到以说說时時要就出会會也你对對生能而"
    "之其者于於此所无無"
)
_HAN = re.compile(f"[{HAN}]")
# Chinese characters one by one; a name in Latin letters is one unit, however long.
_UNIT = re.compile(rf"[{HAN}]|[A-Za-z0-9_]+|[^\s{HAN}A-Za-z0-9_]")
_BULLETS = ("•", "‣", "◦", "▪", "■", "●", "○", "◆", "·", "*", "-", "–", "+")
_SENTENCE_ENDS = tuple(".!?…:;\"'”’»)]。！？；：」』）】")
_ZH_MARKS = re.compile(r"[，。、！？；：…,.!?;:]")
_SYMBOLS = re.compile(r"#|\.\.\.|…")
_LOREM = re.compile(r"lorem ipsum", re.I)

Range = tuple[float, float]
Counts = tuple[int, int]


class EnglishRules(Settings):
    """What an English document must be like.

    Gopher, section A.1.1: ``words`` and ``word_length`` (mean) as [least, most], at most
    ``symbols`` (# and ellipses) a word, at least ``alphabetic`` of the words with a letter in them,
    and ``stop_words`` different ones of the, be, to, of, and, that, have, with. ``stop_share`` is
    the least share of these eight among the words, a number of our own.
    """

    words: Counts = (50, 100_000)
    word_length: Range = (3, 10)
    symbols: float = 0.1
    alphabetic: float = 0.8
    stop_words: int = 2
    stop_share: float = 0.04


class ChineseRules(Settings):
    """What a Chinese document must be like; shares are of characters that are no white space.

    ``characters`` as [least, most]: 80 are Gopher's 50 words at 1.6 characters a word, and
    ChineseWebText asks for 200. ``line_length`` is the least mean of characters a line (10) and
    ``han`` the least share of Chinese characters (0.3), both of ChineseWebText. The others are
    Gopher's ideas with numbers of our own (docs/cleaning.md says how well they do): ``marks`` is
    the share of punctuation as [least, most], ``symbols`` the most of # and ellipses;
    ``stop_characters`` different ones of the most frequent characters, modern and classical, must
    be there, and be ``stop_share`` of the Chinese characters.
    """

    characters: Counts = (80, 200_000)
    line_length: float = 10
    han: float = 0.3
    marks: Range = (0.02, 0.3)
    symbols: float = 0.05
    stop_characters: int = 3
    stop_share: float = 0.02


class LineRules(Settings):
    """Shares of lines, for both languages.

    At most ``bullets`` begin with a bullet and ``ellipses`` end with an ellipsis (Gopher, section
    A.1.1). Of FineWeb (section 3.6): more than ``ended`` end with punctuation, less than ``short``
    have under 30 characters (15 in Chinese). These two are shares of paragraphs, as lines may be
    broken at a width, and say nothing of a text with one paragraph.
    """

    bullets: float = 0.9
    ellipses: float = 0.3
    ended: float = 0.12
    short: float = 0.67


class QualitySettings(Settings):
    """The rules; None where a document of that language is not to be held to any.

    ``braces`` is the greatest share of { and } among the characters: C4 drops a page with any,
    which a corpus about software does not survive. Documents with "lorem ipsum" go (C4), and those
    with a word of ``bad_words``, a text file of one word a line (none comes with burnish).
    """

    en: EnglishRules | None = EnglishRules()
    zh: ChineseRules | None = ChineseRules()
    lines: LineRules | None = LineRules()
    repetition: RepetitionSettings | None = RepetitionSettings()
    braces: float = 0.01
    bad_words: DataRef | None = None


@dataclass(frozen=True)
class View:
    """A text taken apart once for all rules."""

    text: str
    lines: list[str]
    paragraphs: list[str]
    words: list[str]
    solid: str
    han: list[str]


def view(text: str) -> View:
    """Lines and paragraphs with text in them, words by white space, all characters but white space,
    and the Chinese ones of them."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    words = text.split()
    solid = "".join(words)
    parts = [part.strip() for part in paragraphs(text)]
    return View(text, lines, parts, words, solid, _HAN.findall(solid))


def flaw(
    text: str, lang: Language, settings: QualitySettings, bad: re.Pattern[str] | None = None
) -> str:
    """The first rule that a document breaks, as ``"words: 12 under 50"``; "" where it keeps all.

    Args:
        text: after boilerplate has gone.
        lang: whose rules hold.
        settings: limits; a measure that equals one is within it.
        bad: words that must not be there (``word_pattern``).
    """
    return next(_flaws(view(text), lang, settings, bad), "")


def read_words(path: Path) -> list[str]:
    """The lines of a word list.

    Raises:
        InputError: the file is not there or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            Problem(str(path), None, "", f"cannot be read: {error}", "one word a line, in UTF-8")
        ) from None


def word_pattern(words: Sequence[str]) -> re.Pattern[str] | None:
    """Finds any of these words: whole ones, Chinese ones anywhere; None for no words."""
    named = [word.strip() for word in words if word.strip()]
    if not named:
        return None
    parts = [
        re.escape(word) if _HAN.search(word) else rf"(?<!\w){re.escape(word)}(?!\w)"
        for word in sorted(named, key=len, reverse=True)
    ]
    return re.compile("|".join(parts), re.I)


def _flaws(
    seen: View, lang: Language, settings: QualitySettings, bad: re.Pattern[str] | None
) -> Iterator[str]:
    if lang == "en" and settings.en is not None:
        yield from _english(seen, settings.en)
    if lang == "zh" and settings.zh is not None:
        yield from _chinese(seen, settings.zh)
    if settings.lines is not None:
        yield from _lines(seen, settings.lines, 30 if lang == "en" else 15)
    size = max(1, len(seen.solid))
    braces = seen.solid.count("{") + seen.solid.count("}")
    yield from _outside("braces", braces / size, 0, settings.braces)
    if _LOREM.search(seen.text):
        yield "lorem ipsum"
    if bad is not None and bad.search(seen.text):
        yield "a bad word"
    if settings.repetition is not None:
        units, scale = (seen.words, 1) if lang == "en" else (_UNIT.findall(seen.text), 2)
        yield from repetition.findings(
            seen.lines, seen.paragraphs, units, scale, settings.repetition
        )


def _english(seen: View, rules: EnglishRules) -> Iterator[str]:
    count = len(seen.words)
    yield from _outside("words", count, *rules.words)
    if not count:
        return
    yield from _outside("word length", len(seen.solid) / count, *rules.word_length)
    yield from _outside(
        "symbols a word", len(_SYMBOLS.findall(seen.text)) / count, 0, rules.symbols
    )
    alphabetic = sum(any(c.isalpha() for c in word) for word in seen.words) / count
    yield from _outside("words with a letter", alphabetic, rules.alphabetic, 1)
    plain = (word.strip(".,;:!?\"'()“”‘’").casefold() for word in seen.words)
    stops = [word for word in plain if word in STOP_WORDS]
    yield from _outside("stop words", len(set(stops)), rules.stop_words, len(STOP_WORDS))
    yield from _outside("share of stop words", len(stops) / count, rules.stop_share, 1)


def _chinese(seen: View, rules: ChineseRules) -> Iterator[str]:
    size, han = len(seen.solid), len(seen.han)
    yield from _outside("characters", size, *rules.characters)
    if not size:
        return
    yield from _outside("line length", size / len(seen.lines), rules.line_length, size)
    yield from _outside("Chinese characters", han / size, rules.han, 1)
    yield from _outside("punctuation", len(_ZH_MARKS.findall(seen.solid)) / size, *rules.marks)
    yield from _outside("symbols", len(_SYMBOLS.findall(seen.solid)) / size, 0, rules.symbols)
    stops = [character for character in seen.han if character in STOP_CHARACTERS]
    yield from _outside("stop characters", len(set(stops)), rules.stop_characters, size)
    yield from _outside("share of stop characters", len(stops) / max(1, han), rules.stop_share, 1)


def _lines(seen: View, rules: LineRules, short: int) -> Iterator[str]:
    if not seen.lines:
        return
    bullets = _share(line.startswith(_BULLETS) for line in seen.lines)
    yield from _outside("lines with a bullet", bullets, 0, rules.bullets)
    ellipses = _share(line.endswith(("...", "…")) for line in seen.lines)
    yield from _outside("lines with an ellipsis", ellipses, 0, rules.ellipses)
    if len(seen.paragraphs) < 2:
        return
    ended = _share(part.endswith(_SENTENCE_ENDS) for part in seen.paragraphs)
    if ended <= rules.ended:
        yield f"paragraphs ended by punctuation: {ended:.2f}, not over {rules.ended}"
    brief = _share(len(part) < short for part in seen.paragraphs)
    if brief >= rules.short:
        yield f"short paragraphs: {brief:.2f}, not under {rules.short}"


def _share(tests: Iterable[bool]) -> float:
    found = list(tests)
    return sum(found) / len(found)


def _outside(name: str, value: float, least: float, most: float) -> Iterator[str]:
    if value < least:
        yield f"{name}: {value:.4g} under {least:g}"
    elif value > most:
        yield f"{name}: {value:.4g} over {most:g}"
