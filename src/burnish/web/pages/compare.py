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
from burnish.evals.ratings import Game, Ratings, bradley_terry
from burnish.reporting.charts import Interval, interval_chart
from burnish.reporting.markup import Markup
from burnish.reporting.strings import Lang
from burnish.serve.protocol import ChatRequest, Turn
from burnish.serve.security import Access
from burnish.store.metrics import finite
from burnish.store.registry import Registry
from burnish.web.contenders import ALONE, contenders
from burnish.web.csvfile import csv_file
from burnish.web.duels import SIDES, Duel, Side
from burnish.web.i18n import language, text
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
    rows, rated = _rated(votes)
    known = [row for row in rows if math.isfinite(row["rating"])]
    chart = Markup("")
    if known:
        ends = [row[end] for row in known for end in ("low", "high")]
        chart = interval_chart(
            [Interval(row["model"], row["rating"], row["low"], row["high"]) for row in known],
            label=text(lang, "ratings"),
            domain=(min(ends), max(ends)),
        )
    leagues = len(rated.leagues) if rated else 0
    return fragment(lang, "ratings.html", rows=rows, chart=chart, leagues=leagues)


def _rated(votes: Votes) -> tuple[list[dict[str, Any]], Ratings | None]:
    """Rows of the rating table, the best model first; those without a rating last."""
    games = [vote.game() for vote in votes.all()]
    if not games:
        return [], None
    rated = bradley_terry(games)
    rows = [
        {
            "model": model,
            "rating": figure.value,
            "low": figure.low,
            "high": figure.high,
            "votes": sum(_with(game, model) for game in games),
            "won": sum(game.score == (game.first == model) for game in games if _with(game, model)),
            "tied": sum(game.score == 0.5 for game in games if _with(game, model)),
        }
        for model, figure in rated.ratings.items()
    ]
    return sorted(rows, key=_best_first), rated


def _with(game: Game, model: str) -> bool:
    return model in (game.first, game.second)


def _best_first(row: dict[str, Any]) -> tuple[bool, float]:
    unrated = math.isnan(row["rating"])
    return unrated, 0.0 if unrated else -row["rating"]


@router.get("/compare/ratings.csv")
def ratings_csv(request: Request) -> Response:
    """The rating table as a file."""
    rows, _ = _rated(Votes(site_of(request).runs))
    head = ["model", "rating", "low", "high", "votes", "won", "tied"]
    return csv_file("ratings", head, ([finite(row[name]) for name in head] for row in rows))
