"""Which language a document is written in, among a set of candidates."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from pydantic import Field, PositiveInt

from burnish.config import InputError, Problem, Settings
from burnish.config.optional import needed
from burnish.records import Language

SETTING = "language.candidates"
CANDIDATES = "en zh ja ko de fr es pt it nl pl sv ru uk ar vi tr"


class LanguageSettings(Settings):
    """Documents in other languages than ``keep`` go.

    A language that is not among the ``candidates`` (ISO 639-1 codes) is taken for the one of them
    that it looks most like. Only the first ``characters`` of a document are looked at.
    """

    keep: list[Language] = Field(default=["en", "zh"], min_length=1)
    candidates: list[str] = Field(default=CANDIDATES.split(), min_length=2)
    characters: PositiveInt = 1000


def identifier(settings: LanguageSettings) -> Callable[[str], str]:
    """A function from a text to the code of its language, ``"none"`` where it has no letters.

    By lingua's trigram models (its low-accuracy mode, which differs on short texts only).

    Raises:
        InputError: lingua is not installed, or does not know a candidate.
    """
    missing = sorted(set(settings.keep) - set(settings.candidates))
    if missing:
        expected = "every language of language.keep among them"
        raise InputError(Problem("", None, SETTING, f"without {', '.join(missing)}", expected))
    detector = _detector(tuple(sorted(set(settings.candidates))))

    def identify(text: str) -> str:
        found = detector.detect_language_of(text[: settings.characters])
        return "none" if found is None else found.iso_code_639_1.name.lower()

    return identify


@lru_cache(maxsize=2)
def _detector(codes: tuple[str, ...]) -> Any:
    needed("data", "lingua", at=SETTING)
    import lingua

    known = {language.iso_code_639_1.name.lower(): language for language in lingua.Language.all()}
    unknown = [code for code in codes if code not in known]
    if unknown:
        expected = f"some of {', '.join(sorted(known))}"
        raise InputError(Problem("", None, SETTING, f"found {', '.join(unknown)}", expected))
    builder = lingua.LanguageDetectorBuilder.from_languages(*(known[code] for code in codes))
    return builder.with_low_accuracy_mode().build()
