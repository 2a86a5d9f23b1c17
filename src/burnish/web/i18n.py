"""Text in the reader's language: which one that is, and the words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from burnish.reporting.strings import LANGUAGES, Lang
from burnish.web.words.chat import CHAT
from burnish.web.words.compare import COMPARE
from burnish.web.words.data import DATA
from burnish.web.words.models import MODELS
from burnish.web.words.review import REVIEW
from burnish.web.words.runs import RUNS
from burnish.web.words.shell import SHELL

GROUPS: tuple[Mapping[str, tuple[str, str]], ...] = (
    SHELL, RUNS, DATA, REVIEW, COMPARE, MODELS, CHAT,
)  # fmt: skip
WORDS = {key: words for group in GROUPS for key, words in group.items()}
"""Every text by its key, English and Chinese; keys differ between groups."""

COOKIE = "burnish_language"


def language(request: Request) -> Lang:
    """The language chosen on the page, else Chinese where the browser asks for it first."""
    chosen = request.cookies.get(COOKIE)
    for lang in LANGUAGES:
        if chosen == lang:
            return lang
    return "zh" if request.headers.get("accept-language", "").lower().startswith("zh") else "en"


def text(lang: Lang, key: str, **values: Any) -> str:
    """The text of ``key``, its ``{name}`` places filled with ``values``."""
    words = WORDS[key][LANGUAGES.index(lang)]
    return words.format(**values) if values else words
