"""Models: the registry, one model with all it came from, promotion, rollback, differences."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from burnish.config import InputError, Problem
from burnish.reporting.names import STAGES
from burnish.serve.security import Access
from burnish.store.registry import Registry
from burnish.tracing import moves
from burnish.tracing.card import limits, model_card
from burnish.tracing.family import family
from burnish.tracing.models import changes, trace
from burnish.web.i18n import language, text
from burnish.web.site import Site, form, page, see_other, site_of

RULES: dict[tuple[str, str], Access] = {
    ("GET", "/models"): "token",
    ("GET", "/models/diff"): "token",
    ("GET", "/models/{ref}"): "token",
    ("GET", "/models/{ref}/card"): "token",
    ("POST", "/models/{ref}/promote"): "token",
    ("POST", "/rollback"): "token",
}
CHAMPION = "champion"
LONGEST_REASON = 1000

router = APIRouter()


@contextmanager
def _registry(site: Site) -> Iterator[Registry]:
    """The registry, which reading does not make."""
    if not site.registry.is_file():
        raise HTTPException(404, "there is no registry yet: nothing was judged by a gate")
    with Registry(site.registry) as registry:
        yield registry


@router.get("/models")
def models(request: Request) -> Response:
    """Every registered model with the last word on it, and how the champion changed."""
    site = site_of(request)
    rows: list[dict[str, Any]] = []
    champion, history, audit = None, [], []
    if site.registry.is_file():
        with Registry(site.registry) as registry:
            champion = registry.alias(CHAMPION)
            said = {verdict.candidate: verdict for verdict in registry.verdicts()}
            audit = registry.moves(CHAMPION)
            history = moves.places(audit)
            entries = [entry for entry in registry.entries() if entry.kind == "model"]
        for entry in reversed(entries):
            run = Path(entry.path).parent.parent.name
            rows.append({"entry": entry, "run": run, "verdict": said.get(entry.ref)})
    back = history[-2] if len(history) > 1 else None
    return page(request, "models.html", rows=rows, champion=champion, back=back, audit=audit[::-1])


@router.get("/models/diff")
def diff(request: Request) -> Response:
    """What differs between two models: settings, data, figures."""
    names = [request.query_params.get(side, "") for side in ("a", "b")]
    with _registry(site_of(request)) as registry:
        before, after = (trace(registry, name) for name in names)
    figures = [
        (name, before.figures.get(name), after.figures.get(name))
        for name in dict.fromkeys([*before.figures, *after.figures])
    ]
    return page(
        request, "diff.html", before=before, after=after, figures=figures,
        changes=changes(before, after),
    )  # fmt: skip


@router.get("/models/{ref}")
def model(request: Request, ref: str) -> Response:
    """One model: figures, verdicts, lineage, data, limits, card."""
    lang = language(request)
    with _registry(site_of(request)) as registry:
        found = trace(registry, ref)
        label = text(lang, "lineage_of", ref=found.entry.ref)
        drawing = family(registry, found).drawing(label, given=False)
        champion = registry.alias(CHAMPION)
    return page(
        request,
        "model.html",
        found=found,
        drawing=drawing,
        champion=champion,
        limits=limits(found),
        card=model_card(found),
        stages=STAGES if lang == "zh" else {},
    )


@router.get("/models/{ref}/card")
def card(request: Request, ref: str) -> Response:
    """The model card as a file."""
    with _registry(site_of(request)) as registry:
        found = trace(registry, ref)
        written = model_card(found)
    name = f"{found.entry.ref}.md"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(written, media_type="text/markdown; charset=utf-8", headers=headers)


@router.post("/models/{ref}/promote")
async def promote(request: Request, ref: str) -> Response:
    """Make a model the champion, unless another one became it since the page was shown."""
    reason, seen = await _asked(request)

    def move() -> str:
        with _registry(site_of(request)) as registry:
            return moves.promote(registry, ref, reason, CHAMPION, seen).after

    return see_other(f"/models/{await asyncio.to_thread(move)}")


@router.post("/rollback")
async def rollback(request: Request) -> Response:
    """Go back to the champion before, unless it is another one by now."""
    reason, seen = await _asked(request)

    def move() -> None:
        with _registry(site_of(request)) as registry:
            moves.rollback(registry, reason, CHAMPION, seen)

    await asyncio.to_thread(move)
    return see_other("/models")


async def _asked(request: Request) -> tuple[str, str]:
    """The reason that was given, and which champion the page showed."""
    given = await form(request)
    reason = given.get("reason", "").strip()
    if not 0 < len(reason) <= LONGEST_REASON:
        expected = f"1 to {LONGEST_REASON} characters"
        raise InputError(Problem("", None, "reason", f"found {len(reason)}", expected))
    return reason, given.get("seen", "")
