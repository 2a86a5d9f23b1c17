"""Review: replies, in pairs or alone, blind and one after the other, for people with a pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from burnish.config import Settings
from burnish.loop.status import run_folders
from burnish.records import content_id
from burnish.reporting.strings import Lang
from burnish.review.desk import Choice, Decision, Desk, place
from burnish.review.figures import progress
from burnish.review.items import Item
from burnish.rewards.judge import load_rubric
from burnish.serve.security import Access
from burnish.web.i18n import language, text
from burnish.web.site import HEADERS, is_owner, page, reviewer_of, run_folder, see_other, site_of

RULES: dict[tuple[str, str], Access] = {
    ("GET", "/review"): "guest",
    ("GET", "/review/{run}"): "guest",
    ("POST", "/review/{run}/items"): "guest",
    ("POST", "/review/{run}/decisions"): "guest",
    ("POST", "/review/{run}/undo"): "guest",
}
AHEAD = 4
"""Items that the page holds ready."""
MOST_HELD = 20
ALONE = ("complied", "refused")
"""Reasons that are worded otherwise where there is one reply only."""

router = APIRouter()


class Held(Settings):
    """The items that the page has before it or on the way."""

    held: list[str] = Field(max_length=MOST_HELD)


class Said(Settings):
    """A decision as the page sends it; who sends it is known from the pass alone."""

    item: str = Field(max_length=64)
    choice: Literal["left", "right", "tie", "skip"]
    key: str = Field(min_length=8, max_length=64)
    edited: str | None = None
    seconds: float = Field(0.0, ge=0, le=86_400, allow_inf_nan=False)


class Undone(Settings):
    """Which decision is taken back."""

    key: str = Field(min_length=8, max_length=64)


@router.get("/review")
def runs(request: Request) -> Response:
    """The runs that are reviewed; a reviewer sees those that he or she is asked for."""
    owner, reviewer = is_owner(request), reviewer_of(request)
    rows = []
    for folder in run_folders(site_of(request).runs):
        row = _row(folder, reviewer)
        if owner or row["mine"]:
            rows.append(row)
    return page(request, "review_runs.html", rows=rows, owner=owner)


def _row(folder: Path, reviewer: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {"name": folder.name, "told": None, "mine": False, "left": 0}
    if place(folder).is_file():
        with Desk(place(folder)) as desk:
            names = desk.reviewers()
            row["told"] = {**progress(desk.cases()), "reviewers": len(names)}
            row["mine"] = reviewer in names
            row["left"] = desk.left(reviewer) if reviewer in names else 0
    return row


@router.get("/review/{run}")
def review(request: Request, run: str) -> Response:
    """The page on which a reviewer works; the owner without a pass is sent to the desk."""
    reviewer = reviewer_of(request)
    if reviewer is None:
        return see_other(f"{request.url.path}/desk")
    with open_desk(request, run) as desk:
        _check(desk, reviewer)
    rubric = load_rubric()[language(request)]
    return page(request, "review.html", run=run, reviewer=reviewer, rubric=rubric)


@router.post("/review/{run}/items")
def items(body: Held, request: Request, run: str) -> Response:
    """The next items, which are the reviewer's from now on."""
    reviewer = _reviewer(request)
    with open_desk(request, run) as desk:
        found = desk.take(reviewer, AHEAD, body.held)
        told = {"left": desk.left(reviewer)}
    lang = language(request)
    shown = [_shown(item, reviewer, lang) for item in found]
    return JSONResponse({"items": shown, **told}, headers=HEADERS)


@router.post("/review/{run}/decisions")
def decide(body: Said, request: Request, run: str) -> Response:
    """Keep a decision; the same one twice is one (R-20)."""
    reviewer = _reviewer(request)
    with open_desk(request, run) as desk:
        said = Decision(
            item=body.item,
            choice=_side(body.choice, reviewer, body.item, desk.single(body.item)),
            key=body.key,
            edited=body.edited,
            seconds=body.seconds,
        )
        new = desk.decide(reviewer, said)
        left = desk.left(reviewer)
    return JSONResponse({"new": new, "left": left}, headers=HEADERS)


@router.post("/review/{run}/undo")
def undo(body: Undone, request: Request, run: str) -> Response:
    """Take a decision back and show the item again."""
    reviewer = _reviewer(request)
    with open_desk(request, run) as desk:
        item = desk.undo(reviewer, body.key)
        left = desk.left(reviewer)
    shown = _shown(item, reviewer, language(request))
    return JSONResponse({"item": shown, "left": left}, headers=HEADERS)


def turned(reviewer: str, item: str, single: bool) -> bool:
    """Whether a reviewer sees the second reply on the left: by chance, but always the same. A
    single reply has one place, and its left button says that it is good."""
    return not single and int(content_id("side", reviewer, item), 16) % 2 == 1


def _side(
    choice: Literal["left", "right", "tie", "skip"], reviewer: str, item: str, single: bool
) -> Choice:
    if choice == "tie" or choice == "skip":
        return choice
    return "second" if (choice == "left") == turned(reviewer, item, single) else "first"


def _shown(item: Item, reviewer: str, lang: Lang) -> dict[str, Any]:
    """What the page gets of an item: nothing of who prefers what, nor whether it is a check."""
    sides = [item.first, item.second]
    if turned(reviewer, item.id, item.single):
        sides.reverse()
    alone = {name: f"reason_{name}_alone" for name in ALONE} if item.single else {}
    reasons = [text(lang, alone.get(name, f"reason_{name}")) for name in item.reasons]
    return {
        "id": item.id,
        "prompt": item.prompt,
        "left": sides[0],
        "right": sides[1],
        "reasons": reasons,
        "lang": item.lang,
    }


def _reviewer(request: Request) -> str:
    reviewer = reviewer_of(request)
    if reviewer is None:
        raise HTTPException(403, "only a reviewer may do this: open the link with your pass")
    return reviewer


def open_desk(request: Request, run: str) -> Desk:
    """The desk of a run, which looking at does not make."""
    path = place(run_folder(site_of(request), run))
    if not path.is_file():
        raise HTTPException(404, "this run is not reviewed yet")
    return Desk(path)


def _check(desk: Desk, reviewer: str) -> None:
    if reviewer not in desk.reviewers():
        raise HTTPException(403, "you are not among the reviewers of this run")
