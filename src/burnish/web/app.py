"""The application: all its pages, who may use them, and its errors."""

from __future__ import annotations

from html import escape

from fastapi import FastAPI, Request
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from burnish.config import BurnishError, InputError
from burnish.review.desk import Refusal as Refused
from burnish.review.desk import RefusedError
from burnish.serve.app import add_api_errors
from burnish.serve.security import Access, Guard, Policy, Refusal, as_json, error_body
from burnish.store.registry import AliasMovedError
from burnish.web.pages import chat, compare, data, desk, entry, experiments, models, review, runs
from burnish.web.site import Site, page

GROUPS = (entry, runs, data, review, desk, compare, experiments, models, chat)
"""The page groups, each with a ``router`` and its ``RULES``; see ``site.PAGES`` for the menu."""

RULES: dict[tuple[str, str], Access] = {
    place: access for group in GROUPS for place, access in group.RULES.items()
}
"""Every route there is; one that is missing here is not reached (S-09)."""

BODY_BYTES = 2**20
REFUSED: dict[Refused, int] = {"unknown": 404, "not_yours": 403, "taken": 409, "locked": 409}


def make_app(site: Site, hosts: frozenset[str]) -> Guard:
    """The site behind its guard; ``hosts``: what the ``Host`` header may say."""
    policy = Policy(RULES, site.token, hosts, BODY_BYTES, site.cookie, site.guests)
    return Guard(bare_app(site), policy, _refusal)


def bare_app(site: Site) -> FastAPI:
    """The site without its guard."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.state.site = site
    for group in GROUPS:
        app.include_router(group.router)
    _add_errors(app)
    return app


def _refusal(refusal: Refusal, headers: Headers) -> tuple[str, str]:
    """A page with the way in for people, JSON for programs."""
    if "text/html" not in headers.get("accept", ""):
        return as_json(refusal, headers)
    login = '<p><a href="/login">Log in · 登录</a></p>' if refusal.status == 401 else ""
    said = f"<main><h1>{refusal.status}</h1><p>{escape(refusal.reason)}</p>{login}</main>"
    # The guard's own headers let nothing be loaded, so that this page has no style.
    sized = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    head = f"<meta charset=utf-8>{sized}<title>burnish</title>"
    return "text/html; charset=utf-8", f'<!doctype html><html lang="en">{head}{said}'


def _add_errors(app: FastAPI) -> None:
    """Errors as pages, or as JSON for scripts; none with anything of the inside."""

    add_api_errors(app)

    def answer(request: Request, status: int, message: str) -> Response:
        if "text/html" not in request.headers.get("accept", ""):
            return JSONResponse(error_body(status, message), status)
        return page(request, "error.html", status, message=message)

    @app.exception_handler(InputError)
    async def refused(request: Request, error: InputError) -> Response:
        return answer(request, 400, str(error))

    @app.exception_handler(AliasMovedError)
    async def moved(request: Request, error: AliasMovedError) -> Response:
        return answer(request, 409, error.reason)

    @app.exception_handler(RefusedError)
    async def not_so(request: Request, error: RefusedError) -> Response:
        return answer(request, REFUSED[error.kind], str(error))

    @app.exception_handler(BurnishError)
    async def unable(request: Request, error: BurnishError) -> Response:
        return answer(request, 503, str(error))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        return answer(request, error.status_code, str(error.detail))

    @app.exception_handler(Exception)
    async def internal(request: Request, error: Exception) -> Response:
        return answer(request, 500, "internal error")
