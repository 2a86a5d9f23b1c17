"""What every page needs: the runs folder, the token, and how a template becomes an answer."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse

from burnish.loop.status import run_folders
from burnish.reporting import strings
from burnish.reporting.names import figure_name
from burnish.reporting.strings import Lang
from burnish.serve.security import says_token
from burnish.web import passes
from burnish.web.champion import Champion
from burnish.web.contenders import Contenders
from burnish.web.duels import Duels
from burnish.web.i18n import language, text
from burnish.web.traced import Traced

PAGES = (
    ("runs", "/runs"),
    ("data", "/data"),
    ("review", "/review"),
    ("compare", "/compare"),
    ("models", "/models"),
    ("chat", "/chat"),
)
"""The navigation: the word of each page and its address."""
GUEST_PAGES = (("review", "/review"),)
"""All that a reviewer can see."""

THEME_COOKIE = "burnish_theme"
THEMES = ("auto", "light", "dark")
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    # With no-referrer, browsers send forms without an Origin, and they would be refused.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


@dataclass
class Site:
    """One application.

    ``port`` keeps the cookies of two of them apart; ``stopping`` ends streams.
    """

    runs: Path
    token: str
    port: int
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.champion = Champion(self.registry)
        self.contenders = Contenders(self.registry)
        self.duels = Duels()
        self.traced = Traced()

    @property
    def cookie(self) -> tuple[str, str]:
        """Name and value of the cookie of a browser that logged in; it does not hold the token."""
        value = hmac.new(self.token.encode(), b"burnish ui", hashlib.sha256).hexdigest()
        return f"burnish_session_{self.port}", value

    @property
    def guests(self) -> tuple[str, Callable[[str], bool]]:
        """Name of the cookie of a reviewer, and whether a value of it is one's."""
        return f"burnish_reviewer_{self.port}", lambda value: bool(passes.holder(self.token, value))

    @property
    def registry(self) -> Path:
        """Where the registry lies, or would lie."""
        return self.runs / "registry.sqlite"

    async def close(self) -> None:
        """Let go of models and of what was traced."""
        await self.champion.close()
        await self.contenders.close()
        await asyncio.to_thread(self.traced.close)


def site_of(request: Request) -> Site:
    """The site a request came to."""
    site: Site = request.app.state.site
    return site


def run_folder(site: Site, name: str) -> Path:
    """The folder of a run that is in the list; a name is never made into a path.

    Raises:
        HTTPException: 404, no run is called so.
    """
    for folder in run_folders(site.runs):
        if folder.name == name:
            return folder
    raise HTTPException(404, "no such run")


def is_owner(request: Request) -> bool:
    """Whether the request has the token's cookie, or the token itself."""
    site = site_of(request)
    name, value = site.cookie
    shown = request.cookies.get(name, "")
    return hmac.compare_digest(shown.encode(), value.encode()) or (
        says_token(request.headers, site.token)
    )


def reviewer_of(request: Request) -> str | None:
    """The reviewer whose pass the browser has; no request can name another one."""
    site = site_of(request)
    return passes.holder(site.token, request.cookies.get(site.guests[0], ""))


@cache
def templates() -> Environment:
    """The package's templates; whatever they show is escaped."""
    return Environment(
        loader=PackageLoader("burnish.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A whole page.

    Templates have ``t`` (words), ``reported`` (words of reports), ``named`` (the name of a figure),
    ``lang``, ``theme``, ``pages`` and ``here`` beside ``values``.
    """
    lang = language(request)
    theme = request.cookies.get(THEME_COOKIE)
    shown = (
        templates()
        .get_template(template)
        .render(
            t=partial(text, lang),
            reported=partial(strings.text, lang),
            named=lambda name: figure_name(str(name)).label(lang),
            lang=lang,
            theme=theme if theme in THEMES else "auto",
            themes=THEMES,
            pages=GUEST_PAGES if reviewer_of(request) and not is_owner(request) else PAGES,
            here=request.url.path,
            address=_address(request),
            **values,
        )
    )
    return HTMLResponse(shown, status, headers=HEADERS)


def fragment(lang: Lang, template: str, **values: Any) -> str:
    """A part of a page; its template has ``t`` and ``lang`` beside ``values``."""
    return templates().get_template(template).render(t=partial(text, lang), lang=lang, **values)


def see_other(path: str) -> RedirectResponse:
    """Send the browser to another page of this site after something was done."""
    return RedirectResponse(path, 303, headers=HEADERS)


def own_path(path: str) -> str:
    """``path`` if it stays on this site, else the first page."""
    inside = path.startswith("/") and not path.startswith("//")
    return path if inside and "\\" not in path and path.isprintable() else "/"


async def form(request: Request) -> dict[str, str]:
    """The fields of a form; the last one of a name counts."""
    body = (await request.body()).decode("utf-8", "replace")
    return dict(parse_qsl(body, keep_blank_values=True))


def _address(request: Request) -> str:
    query = request.url.query
    return request.url.path + (f"?{query}" if query else "")
