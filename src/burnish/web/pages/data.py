"""Data: the records of a run, one with all that is known of it, its profile, quarantine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from heapq import nlargest
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from burnish.config import InputError
from burnish.loop.status import run_folders
from burnish.records import KINDS
from burnish.reporting import datastrings
from burnish.reporting.datapage import sections
from burnish.reporting.names import size
from burnish.reporting.training import funnels
from burnish.selection import dedup
from burnish.selection.texts import texts_of, turns_of
from burnish.serve.security import Access
from burnish.store.sheets import Cell
from burnish.tracing.files import Found, records_of, scores_of, shortened
from burnish.tracing.index import Index
from burnish.tracing.quarantine import find, removed
from burnish.tracing.why import explain
from burnish.web.csvfile import csv_file
from burnish.web.i18n import language
from burnish.web.quarantines import carry_out, earlier
from burnish.web.records import Filters, Source, choices, listing, matching, sources_of
from burnish.web.run_view import RunView
from burnish.web.site import form, page, run_folder, see_other, site_of

RULES: dict[tuple[str, str], Access] = {
    ("GET", "/data"): "token",
    ("GET", "/data/{run}"): "token",
    ("GET", "/data/{run}/profile"): "token",
    ("GET", "/data/{run}/records"): "token",
    ("GET", "/data/{run}/records.csv"): "token",
    ("GET", "/data/{run}/record"): "token",
    ("GET", "/data/{run}/quarantine"): "token",
    ("POST", "/data/{run}/quarantine"): "token",
}
MOST_ALIKE = 20
MOST_GONE = 50
MOST_TEXT = 200

router = APIRouter()


@router.get("/data")
def data(request: Request) -> Response:
    """Every run with the files of records it holds."""
    rows = []
    for folder in run_folders(site_of(request).runs):
        sources = _sources(folder)
        if sources:
            held = sum(source.bytes for source in sources)
            rows.append({"name": folder.name, "files": len(sources), "size": size(held)})
    return page(request, "data.html", rows=rows)


def _sources(folder: Path) -> list[Source]:
    """The files of a run; none where it has no data yet."""
    try:
        return sources_of(folder)
    except InputError:
        return []


@router.get("/data/{run}")
def run(request: Request, run: str) -> Response:
    """One run: its files of records, its funnels, what was put into quarantine."""
    folder = run_folder(site_of(request), run)
    return page(
        request,
        "data_run.html",
        run=run,
        sources=_sources(folder),
        size=size,
        funnels=funnels(RunView(folder).details(), language(request)),
        earlier=earlier(folder),
    )


@router.get("/data/{run}/profile")
def profile(request: Request, run: str) -> Response:
    """What the data is like: lengths, composition, map of topics, scores, duplicates."""
    lang = language(request)
    found = site_of(request).traced.profile(run_folder(site_of(request), run))
    parts = sections(found, lang)
    said = partial(datastrings.said, lang)
    return page(request, "data_profile.html", run=run, parts=parts, said=said, found=found)


@router.get("/data/{run}/records")
def records(request: Request, run: str) -> Response:
    """The records that fit the filters of the query, a page at a time."""
    sources = sources_of(run_folder(site_of(request), run))
    filters = Filters.of(request.query_params)
    found = listing(sources, filters, request.query_params.get("at", ""))
    scores = sorted({name for _, one in found.rows for name in scores_of(one)})
    shown = [filters.score] if filters.score else scores[:3]
    return page(
        request,
        "records.html",
        run=run,
        filters=filters,
        choices=choices(sources),
        files=[source.label for source in sources],
        listing=found,
        rows=[_row(label, one, shown) for label, one in found.rows],
        scores=shown,
        asked=urlencode(filters.asked),
        begun=request.query_params.get("at", ""),
    )


def _row(label: str, found: Found, scores: list[str]) -> dict[str, Any]:
    told = scores_of(found)
    return {
        "id": found.record.id,
        "file": label,
        "text": shortened(found.record, MOST_TEXT),
        "source": found.record.source,
        "tier": found.record.tier,
        "topic": found.column("topic"),
        "scores": [told.get(name) for name in scores],
    }


@router.get("/data/{run}/records.csv")
def records_csv(request: Request, run: str) -> Response:
    """All records that fit, as they are read."""
    sources = sources_of(run_folder(site_of(request), run))
    filters = Filters.of(request.query_params)
    names = choices(sources)["score"]
    head = ["id", "file", "row", "kind", "tier", "source", "topic", "lang", "synthetic", "text"]
    return csv_file(run, [*head, *names], _cells(sources, filters, names))


def _cells(sources: list[Source], filters: Filters, names: list[str]) -> Iterator[list[Cell]]:
    for label, found in matching(sources, filters):
        record, told = found.record, scores_of(found)
        text = "\n".join(texts_of(record))
        columns = [found.kind, record.tier, record.source, found.column("topic"), record.lang]
        yield [
            record.id, label, found.number, *columns, int(record.synthetic), text,
            *(told.get(name) for name in names),
        ]  # fmt: skip


@router.get("/data/{run}/record")
def record(request: Request, run: str) -> Response:
    """One record with its scores and all that is known of where it comes from and went."""
    site, id = site_of(request), request.query_params.get("id", "")
    folder = run_folder(site, run)
    with site.traced.index(folder) as index:
        if not index.places(id):
            raise HTTPException(404, f"no record of this id in {len(index.files)} files of the run")
        found = _first(index, id)
        known = explain(index, id)
    alike = _alike(folder, found) if request.query_params.get("alike") else None
    row = json.dumps(dict(found.row), ensure_ascii=False, indent=1, default=str)
    return page(
        request, "record.html", run=run, found=found, turns=turns_of(found.record), known=known,
        scores=scores_of(found), row=row, alike=alike,
    )  # fmt: skip


def _first(index: Index, id: str) -> Found:
    """The record where it stands first."""
    place = index.places(id)[0]
    wanted = {place.number}
    return next(records_of(place.file.path, KINDS[place.kind], [], wanted))


def _alike(folder: Path, found: Found) -> list[dict[str, Any]]:
    """The records of the run whose texts are nearly those of this one, the most alike first."""

    def text(row: tuple[str, Found]) -> str:
        return "\n".join(texts_of(row[1].record))

    everything = matching(sources_of(folder), Filters())
    others = (row for row in everything if row[1].record.id != found.record.id)
    told = dedup.alike(text(("", found)), others, text)
    return [
        {
            "similarity": similarity,
            "file": label,
            "id": one.record.id,
            "text": shortened(one.record, MOST_TEXT),
        }
        for (label, one), similarity in nlargest(MOST_ALIKE, told, key=lambda row: row[1])
    ]


@router.get("/data/{run}/quarantine")
def preview(request: Request, run: str) -> Response:
    """What would go if a source, a record or a file were put into quarantine."""
    site, target = site_of(request), request.query_params.get("target", "").strip()
    with site.traced.index(run_folder(site, run)) as index:
        found = find(index, [target])
        gone = list(islice(removed(index), MOST_GONE))
    return page(request, "quarantine.html", run=run, target=target, found=found, gone=gone)


@router.post("/data/{run}/quarantine")
async def put_away(request: Request, run: str) -> Response:
    """Write the run's data without what was named; the run's own files stay."""
    site = site_of(request)
    target = (await form(request)).get("target", "").strip()

    def work() -> None:
        folder = run_folder(site, run)
        with site.traced.index(folder) as index:
            carry_out(folder, index, target)

    await asyncio.to_thread(work)
    return see_other(f"/data/{quote(run)}#quarantines")
