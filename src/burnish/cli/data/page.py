"""``data stats --html``: the page about data."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from burnish.cli.shared import warn


class PageLang(StrEnum):
    """The language of the page."""

    en = "en"
    zh = "zh"


Html = Annotated[
    Path | None, typer.Option("--html", help="Also write a page with charts, one file.")
]
Lang = Annotated[PageLang, typer.Option("--lang", help="The page's language.")]
Model = Annotated[
    str | None, typer.Option("--model", help="Count tokens on the page with this one's tokenizer.")
]


def write_page(file: Path, html: Path, lang: PageLang, model: str | None) -> None:
    """Write the page about ``file``; a note on standard error says where.

    Raises:
        InputError: no records, no such model, or scikit-learn is not installed.
    """
    from burnish.reporting.datapage import render
    from burnish.store.atomic import write_text
    from burnish.tracing.profile import profile

    found = profile(file, None if model is None else _counter(model))
    write_text(html, render(found, lang.value))
    warn(f"page → {html}")


def _counter(model: str) -> Callable[[str], int]:
    """The number of tokens in a text, without the control tokens of a conversation."""
    from burnish.models.load import load_tokenizer

    tokenizer = load_tokenizer(model)
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])
