"""Build HTML and SVG from Python with escaping by construction.

Plain strings are always escaped; only what :func:`el` or :func:`raw` returns is trusted. Model
replies and file names can therefore be put into a page without thinking about it.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

VOID = frozenset(
    {"meta", "br", "hr", "line", "path", "circle", "rect", "polyline", "polygon", "wbr"}
)


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()

    def __html__(self) -> str:
        """What template engines ask for before they escape."""
        return self


Child = str | int | float | None | Iterable["Child"]


def raw(text: str) -> Markup:
    """Trust ``text`` as HTML; for constants of this package only."""
    return Markup(text)


def _flatten(children: Iterable[Child]) -> Iterable[str]:
    for child in children:
        if child is None:
            continue
        if isinstance(child, Markup):
            yield child
        elif isinstance(child, str):
            yield escape(child)
        elif isinstance(child, int | float):
            yield escape(str(child))
        else:
            yield from _flatten(child)


def join(*children: Child) -> Markup:
    """Put children one after another, escaping plain text."""
    return Markup("".join(_flatten(children)))


def el(tag: str, *children: Child, **attributes: str | float | None) -> Markup:
    """One element: ``el("a", "Next", href="#x", class_="link")``.

    A trailing underscore is dropped from an attribute's name and inner ones become hyphens, so
    ``stroke_width`` is written ``stroke-width``. An attribute that is None is left out.
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_number(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    inner = join(*children)
    if tag in VOID and not inner:
        return Markup(f"<{tag}{written}/>")
    return Markup(f"<{tag}{written}>{inner}</{tag}>")


def breakable(name: str) -> Markup:
    """A name that may be broken after its underscores."""
    first, *rest = name.split("_")
    return join(first, [join("_", el("wbr"), part) for part in rest])


def _number(value: str | float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
