"""The review desk of a run, for its owner: reviewers, agreement, disagreements, the lock."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response

from burnish.config import InputError, Problem
from burnish.config.yamlfile import parse
from burnish.evals.agreement import Agreement
from burnish.records import Record
from burnish.reporting.strings import Lang
from burnish.review import figures
from burnish.review.desk import LONGEST_EDIT, Choice, Desk, place
from burnish.review.open import fill
from burnish.review.people import People, people
from burnish.review.preferences import Exported
from burnish.review.queue import ReviewSettings
from burnish.serve.security import Access
from burnish.store.lines import as_lines
from burnish.web.i18n import language
from burnish.web.live import follow
from burnish.web.pages.review import open_desk
from burnish.web.passes import make_pass
from burnish.web.site import HEADERS, form, fragment, page, run_folder, see_other, site_of

RULES: dict[tuple[str, str], Access] = {
    ("GET", "/review/{run}/desk"): "token",
    ("GET", "/review/{run}/desk/events"): "token",
    ("GET", "/review/{run}/desk/preferences"): "token",
    ("GET", "/review/{run}/desk/feedback"): "token",
    ("POST", "/review/{run}/desk/items"): "token",
    ("POST", "/review/{run}/desk/reviewers"): "token",
    ("POST", "/review/{run}/desk/release"): "token",
    ("POST", "/review/{run}/desk/settle"): "token",
    ("POST", "/review/{run}/desk/lock"): "token",
}
CHOICES: Mapping[str, Choice] = {"first": "first", "second": "second", "tie": "tie"}
LONGEST_REASON = 1000

router = APIRouter()


@router.get("/review/{run}/desk")
def desk(request: Request, run: str) -> Response:
    """The desk; before anything lies on it, the way to begin."""
    folder = run_folder(site_of(request), run)
    if not place(folder).is_file():
        return page(request, "review_begin.html", run=run, settings=ReviewSettings())
    with Desk(place(folder)) as opened:
        audit = opened.audit()[-40:]
    found = people(place(folder))
    return page(
        request,
        "review_desk.html",
        run=run,
        names=found.names,
        singles=any(case.item.single for case in found.cases),
        disputed=[case for case in found.cases if case.disputed],
        settled=[case for case in found.cases if case.settled],
        figures=parts(found, language(request))["figures"],
        audit=[{**row, "detail": _brief(row["detail"])} for row in audit],
    )


def _brief(detail: str) -> str:
    told = {name: value for name, value in json.loads(detail).items() if name != "settings"}
    return ", ".join(f"{name}: {value}" for name, value in told.items() if value is not None)[:200]


@router.get("/review/{run}/desk/events")
def events(request: Request, run: str) -> Response:
    """The figures of the desk as they change."""
    site, lang = site_of(request), language(request)
    open_desk(request, run).close()
    folder = run_folder(site, run)
    looked: dict[int, dict[str, str]] = {}

    def look() -> dict[str, str]:
        with Desk(place(folder)) as opened:
            mark = opened.mark()
        if mark not in looked:  # intervals are drawn anew only when somebody did something
            looked.clear()
            looked[mark] = parts(people(place(folder)), lang)
        return looked[mark]

    return follow(site, look)


def parts(found: People, lang: Lang) -> dict[str, str]:
    """The parts of the page that change, rendered."""
    values = {
        "told": figures.progress(found.cases),
        "reviewers": figures.reviewers(found.cases, found.names, found.settings.bound),
        "people": _by_kind(figures.among_people, found),
        "machine": _by_kind(figures.with_machine, found),
        "pairs": len(found.found.pairs),
        "replies": len(found.found.replies),
        "left_out": found.found.left_out,
        "settings": found.settings,
        "known": lambda figure: not math.isnan(figure.value),
    }
    return {"figures": fragment(lang, "review_figures.html", **values)}


def _by_kind(
    figure: Callable[..., Agreement | None], found: People
) -> list[tuple[str, Agreement | None]]:
    """An agreement of pairs, and of single replies where there are any."""
    kinds = {False, *(one.item.single for one in found.cases)}
    return [
        ("singles" if kind else "pairs", figure(found.cases, without=found.without, single=kind))
        for kind in sorted(kinds)
    ]


@router.get("/review/{run}/desk/preferences")
def preferences(request: Request, run: str) -> Response:
    """People's pairs as a file of records."""
    return _download(request, run, "preferences.jsonl", lambda found: found.pairs)


@router.get("/review/{run}/desk/feedback")
def feedback(request: Request, run: str) -> Response:
    """What people said of single replies as a file of records."""
    return _download(request, run, "feedback.jsonl", lambda found: found.replies)


def _download(
    request: Request, run: str, name: str, of: Callable[[Exported], Sequence[Record]]
) -> Response:
    open_desk(request, run).close()
    found = people(place(run_folder(site_of(request), run))).found
    body = as_lines(asdict(one) for one in of(found))
    named = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(body, media_type="application/x-ndjson", headers=HEADERS | named)


@router.post("/review/{run}/desk/items")
async def items(request: Request, run: str) -> Response:
    """Lay what the run made since on the desk."""
    folder = run_folder(site_of(request), run)
    given = {name: value for name, value in (await form(request)).items() if value}
    settings = parse(ReviewSettings, given, file="", lines={}) if given else None
    await asyncio.to_thread(_fill, folder, settings)
    return _back(run)


def _fill(folder: Path, settings: ReviewSettings | None) -> None:
    if settings is None:
        with Desk(place(folder)) as opened:
            settings = opened.settings
    fill(folder, settings)


@router.post("/review/{run}/desk/reviewers")
async def reviewers(request: Request, run: str) -> Response:
    """Let somebody review, and show the link with the pass, which is on no other page."""
    given = await form(request)
    with open_desk(request, run) as opened:
        name = opened.add_reviewer(given.get("name", ""))
    site = site_of(request)
    link = f"{str(request.base_url).rstrip('/')}/login#{make_pass(site.token, name)}"
    return page(request, "review_pass.html", run=run, name=name, link=link)


@router.post("/review/{run}/desk/release")
async def release(request: Request, run: str) -> Response:
    """Give what a reviewer holds and did not decide back to the others."""
    given = await form(request)
    with open_desk(request, run) as opened:
        opened.release(given.get("name", ""))
    return _back(run)


@router.post("/review/{run}/desk/settle")
async def settle(request: Request, run: str) -> Response:
    """Decide what reviewers do not agree on."""
    given = await form(request)
    choice, reason = CHOICES.get(given.get("choice", "")), given.get("reason", "").strip()
    if choice is None or not 0 < len(reason) <= LONGEST_REASON:
        expected = f"{', '.join(CHOICES)}; a reason of 1 to {LONGEST_REASON} characters"
        raise InputError(Problem("", None, "choice, reason", "missing or no such", expected))
    edited = given.get("edited", "").strip()[: LONGEST_EDIT + 1] or None
    with open_desk(request, run) as opened:
        opened.settle(given.get("item", ""), choice, edited, reason)
    return _back(run)


@router.post("/review/{run}/desk/lock")
def lock(request: Request, run: str) -> Response:
    """Let nobody change any more what was decided."""
    with open_desk(request, run) as opened:
        decided = [case.item.id for case in opened.cases() if case.votes]
        opened.lock(decided, "locked by hand")
    return _back(run)


def _back(run: str) -> Response:
    return see_other(f"/review/{quote(run, safe='')}/desk")
