"""A/B experiments in service: where each stands, its course, its end."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from burnish.evals import experiments
from burnish.evals.sequential import Conclusion, Standing, course, follow
from burnish.reporting.charts import MAX_POINTS, Line, line_chart
from burnish.reporting.markup import Markup
from burnish.reporting.strings import Lang
from burnish.serve.security import Access
from burnish.store.metrics import finite
from burnish.store.registry import Registry
from burnish.web.csvfile import csv_file
from burnish.web.i18n import language, text
from burnish.web.site import Site, page, see_other, site_of
from burnish.web.uploads import ACCEPTED, uploaded

RULES: dict[tuple[str, str], Access] = {
    ("GET", "/compare/experiments/{name}"): "token",
    ("GET", "/compare/experiments/{name}/standings.csv"): "token",
    ("POST", "/compare/experiments/{name}/end"): "token",
    ("POST", "/compare/experiments/{name}/outcomes"): "token",
}

router = APIRouter()


@contextmanager
def _opened(site: Site, name: str) -> Iterator[tuple[Registry, experiments.Experiment]]:
    """The registry and an experiment of it that is in the list."""
    if not site.registry.is_file():
        raise HTTPException(404, "no such experiment")
    with Registry(site.registry) as registry:
        if name not in experiments.names(registry):
            raise HTTPException(404, "no such experiment")
        yield registry, experiments.load(registry, name)


@router.get("/compare/experiments/{name}")
def experiment(request: Request, name: str) -> Response:
    """Where an experiment stands. Looking changes nothing: its verdict is written by *end*."""
    lang = language(request)
    with _opened(site_of(request), name) as (registry, made):
        found = experiments.read(registry, made)
    conclusion = follow(found.outcomes, made.rule)
    steps = course(found.outcomes[: conclusion.at], made.rule)
    return page(
        request,
        "experiment.html",
        made=made,
        conclusion=conclusion,
        standings=finite([vars(standing) for standing in conclusion.standings]),
        unreadable=found.unreadable,
        chart=_chart(steps, lang),
        accepted=ACCEPTED,
    )


def _chart(steps: Sequence[tuple[int, Standing]], lang: Lang) -> Markup:
    """The difference with its confidence sequence, from where there is one."""
    known = [(at, one) for at, one in steps if math.isfinite(one.low) and math.isfinite(one.high)]
    every = math.ceil(len(known) / MAX_POINTS) or 1
    shown = known[::-1][::every][::-1]  # the last one is always shown
    line = Line(
        text(lang, "ab_difference"),
        [(at, one.difference) for at, one in shown],
        band=[(one.low, one.high) for _, one in shown],
    )
    zero = (0.0, text(lang, "ab_none"))
    return line_chart([line], label=text(lang, "ab_course"), bound=zero)


@router.get("/compare/experiments/{name}/standings.csv")
def standings_csv(request: Request, name: str) -> Response:
    """Where each metric of an experiment stands, as a file."""
    with _opened(site_of(request), name) as (registry, made):
        conclusion = follow(experiments.read(registry, made).outcomes, made.rule)
    head = ["metric", "incumbent", "challenger", "difference", "low", "high", "p_value"]
    return csv_file(
        name,
        [*head, "users_incumbent", "users_challenger", "decision"],
        (_cells(one, conclusion) for one in conclusion.standings),
    )


def _cells(one: Standing, conclusion: Conclusion) -> list[str | int | float | None]:
    numbers = [*one.means, one.difference, one.low, one.high, one.p_value]
    return [one.metric, *finite(numbers), *one.users, conclusion.decision]


@router.post("/compare/experiments/{name}/end")
def end(request: Request, name: str) -> Response:
    """End an experiment where it stands; an open one is recorded as undecided."""
    with _opened(site_of(request), name) as (registry, made):
        experiments.end(registry, made)
    return see_other(f"/compare/experiments/{name}")


@router.post("/compare/experiments/{name}/outcomes")
async def outcomes(request: Request, name: str) -> Response:
    """Take outcomes from a file, which is the body; ``?name=`` says what it is called."""
    body, called = await request.body(), request.query_params.get("name", "")

    def work() -> tuple[int, int]:
        with uploaded(body, called) as path, _opened(site_of(request), name) as (registry, made):
            return experiments.record(registry, made, path)

    new, known = await asyncio.to_thread(work)
    return JSONResponse({"new": new, "known": known})
