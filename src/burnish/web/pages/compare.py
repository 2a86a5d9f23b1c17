"""Compare: two models side by side, blind, with votes that become preferences and ratings."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response, StreamingResponse

from burnish.config import InputError, Problem, Settings
from burnish.evals import experiments
from burnish.evals.ratings import Game, bradley_terry
from burnish.reporting.plots import span
from burnish.reporting.strings import Lang
from burnish.serve.protocol import ChatRequest, Turn
from burnish.serve.security import Access
from burnish.store.metrics import finite
from burnish.store.registry import Registry
from burnish.web.contenders import ALONE, contenders
from burnish.web.csvfile import csv_file
from burnish.web.duels import SIDES, Duel, Side
from burnish.web.i18n import language
from burnish.web.site import fragment, page, site_of
from burnish.web.votes import Choice, Vote, Votes

RULES: dict[tuple[str, str], Access] = {
    ("GET", "/compare"): "token",
    ("POST", "/compare/duels"): "token",
    ("POST", "/compare/duels/{duel}/{side}"): "token",
    ("POST", "/compare/votes"): "token",
    ("GET", "/compare/ratings.csv"): "token",
}
LONGEST_PROMPT = 2**16

router = APIRouter()


class Asked(Settings):
    """A prompt for two models."""

    first: str
    second: str
    prompt: Annotated[str, Field(min_length=1, max_length=LONGEST_PROMPT)]


class Drawing(Settings):
    """How a reply is drawn."""

    temperature: float = Field(0.7, ge=0, le=2)
    max_tokens: int = Field(128, ge=1, le=4096)


class Said(Settings):
    """A vote on a duel."""

    duel: str
    choice: Choice
    voter: Annotated[str, Field(min_length=1, max_length=64, pattern=r"\S")]


@router.get("/compare")
def compare(request: Request) -> Response:
    """The page: a question to two models, the ratings so far, experiments in service."""
    site = site_of(request)
    votes = Votes(site.runs)
    return page(
        request,
        "compare.html",
        models=[one.name for one in contenders(site.runs, site.registry)],
        ratings=ratings(votes, language(request)),
        preferences=str(votes.preferences),
        experiments=_experiments(site.registry),
    )


def _experiments(registry: Path) -> list[experiments.Experiment]:
    if not registry.is_file():
        return []
    with Registry(registry) as known:
        return [experiments.load(known, name) for name in experiments.names(known)]


@router.post("/compare/duels")
def begin(body: Asked, request: Request) -> Response:
    """Put a prompt before two models; the answer does not say which is on which side."""
    site = site_of(request)
    if body.first == body.second:
        raise InputError(Problem("", None, "", f"both are {body.first}", "two models"))
    known = {one.name: one for one in contenders(site.runs, site.registry)}
    for field, name in (("first", body.first), ("second", body.second)):
        if name not in known:
            raise InputError(Problem("", None, field, f"no model is called {name!r:.80}"))
    key = site.duels.begin(body.prompt, known[body.first], known[body.second])
    return JSONResponse({"duel": key})


@router.post("/compare/duels/{duel}/{side}")
async def reply(duel: str, side: Side, body: Drawing, request: Request) -> Response:
    """The reply on one side as server-sent events: ``{"text": ...}``, at the end ``[DONE]``."""
    site, found = site_of(request), _duel(request, duel)
    service = await site.contenders.service(found.model(side))
    asked = ChatRequest(
        model=ALONE,
        messages=[Turn(role="user", content=found.prompt)],
        stream=True,
        temperature=body.temperature,
        max_tokens=body.max_tokens,
    )
    told = await service.chat(asked, request)
    assert isinstance(told, StreamingResponse)
    told.body_iterator = found.blind(side, service, told.body_iterator)
    for header in ("x-burnish-arm", "x-burnish-model"):
        del told.headers[header]
    return told


def _duel(request: Request, key: str) -> Duel:
    found = site_of(request).duels.find(key)
    if found is None:
        raise HTTPException(404, "this duel is not remembered; ask again")
    return found


@router.post("/compare/votes")
def vote(body: Said, request: Request) -> Response:
    """Keep a vote and say which model was which."""
    site, found = site_of(request), _duel(request, body.duel)
    if set(found.replies) != set(SIDES):
        raise HTTPException(409, "vote when both replies have come to their end")
    left, right = (one.name for one in found.models)
    made = Vote(
        duel=body.duel,
        prompt=found.prompt,
        models=(left, right),
        replies=(found.replies["left"], found.replies["right"]),
        choice=body.choice,
        voter=body.voter.strip(),
    )
    votes = Votes(site.runs)
    stored = votes.add(made)
    shown = ratings(votes, language(request))
    return JSONResponse({"left": left, "right": right, "stored": stored, "ratings": shown})


def ratings(votes: Votes, lang: Lang) -> str:
    """The rating table as a part of a page."""
    leagues = _leagues(votes)
    known = [row for rows in leagues for row in rows if math.isfinite(row["rating"])]
    ends = [row[end] for row in known for end in ("low", "high")]
    for row in known:
        row["drawing"] = span(row["rating"], row["low"], row["high"], (min(ends), max(ends)))
    return fragment(lang, "ratings.html", leagues=leagues)


def _leagues(votes: Votes) -> list[list[dict[str, Any]]]:
    """Rows of the rating table by league, the largest first and in each the best model first.

    Models that have no rating yet, each a league of its own, stand together at the end.
    """
    games = [vote.game() for vote in votes.all()]
    if not games:
        return []
    rated = bradley_terry(games)
    rows = {
        model: {
            "model": model,
            "rating": figure.value,
            "low": figure.low,
            "high": figure.high,
            "votes": sum(_with(game, model) for game in games),
            "won": sum(_won(game, model) for game in games),
            "tied": sum(_with(game, model) and game.score == 0.5 for game in games),
        }
        for model, figure in rated.ratings.items()
    }
    whole = sorted((one for one in rated.leagues if len(one) > 1), key=len, reverse=True)
    alone = [model for one in rated.leagues if len(one) == 1 for model in one]
    groups = [sorted(one, key=lambda model: -rated.ratings[model].value) for one in whole]
    return [[rows[model] for model in group] for group in (*groups, alone) if group]


def _won(game: Game, model: str) -> bool:
    return _with(game, model) and game.score == (game.first == model)


def _with(game: Game, model: str) -> bool:
    return model in (game.first, game.second)


@router.get("/compare/ratings.csv")
def ratings_csv(request: Request) -> Response:
    """The rating table as a file."""
    head = ["model", "rating", "low", "high", "votes", "won", "tied"]
    leagues = enumerate(_leagues(Votes(site_of(request).runs)), 1)
    rows = ([*(finite(row[name]) for name in head), at] for at, league in leagues for row in league)
    return csv_file("ratings", [*head, "league"], rows)
