"""Logging in, choosing a language and a theme, and the files that pages are made of."""

from __future__ import annotations

import hmac
from importlib import resources

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from burnish.reporting.strings import LANGUAGES
from burnish.serve.security import Access
from burnish.web.i18n import COOKIE
from burnish.web.passes import holder
from burnish.web.site import (
    GUEST_PAGES,
    HEADERS,
    PAGES,
    THEME_COOKIE,
    THEMES,
    form,
    is_owner,
    own_path,
    page,
    see_other,
    site_of,
)

RULES: dict[tuple[str, str], Access] = {
    ("GET", "/"): "guest",
    ("GET", "/login"): "open",
    ("POST", "/login"): "open",
    ("POST", "/preferences"): "open",
    ("GET", "/static/{name}"): "open",
}
YEAR = 365 * 24 * 3600
KINDS = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}

router = APIRouter()


@router.get("/")
def start(request: Request) -> Response:
    """The first page."""
    return see_other((PAGES if is_owner(request) else GUEST_PAGES)[0][1])


@router.get("/login")
def login(request: Request) -> Response:
    """Asks for the token; the printed link carries it behind a ``#``, which no server ever sees."""
    return page(request, "login.html", wrong=False)


@router.post("/login")
async def enter(request: Request) -> Response:
    """Give a browser that knows the token its cookie, and one with a reviewer's pass another."""
    site = site_of(request)
    given = (await form(request)).get("token", "").strip()
    if holder(site.token, given):
        answer = see_other(GUEST_PAGES[0][1])
        answer.set_cookie(site.guests[0], given, httponly=True, samesite="strict")
        return answer
    if not hmac.compare_digest(given.encode(), site.token.encode()):
        return page(request, "login.html", 401, wrong=True)
    answer = see_other("/")
    name, value = site.cookie
    answer.set_cookie(name, value, httponly=True, samesite="strict")
    return answer


@router.post("/preferences")
async def preferences(request: Request) -> Response:
    """Keep the chosen language or theme in the browser."""
    given = await form(request)
    answer = see_other(own_path(given.get("back", "/")))
    for field, name, known in (("language", COOKIE, LANGUAGES), ("theme", THEME_COOKIE, THEMES)):
        if given.get(field) in known:
            answer.set_cookie(name, given[field], max_age=YEAR, samesite="lax", httponly=True)
    return answer


@router.get("/static/{name}")
def static(name: str) -> Response:
    """A script or style sheet of the package."""
    place = "burnish.reporting" if name == "report.css" else "burnish.web.static"
    known = {file.name: file for file in resources.files(place).iterdir()}
    kind = KINDS.get(name.rpartition(".")[2])
    if kind is None or name not in known:
        raise HTTPException(404, "no such file")
    body = known[name].read_text(encoding="utf-8")
    return Response(body, media_type=kind, headers={**HEADERS, "cache-control": "no-cache"})
