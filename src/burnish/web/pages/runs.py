"""Runs: the list, one run as it goes, curves of several, stop and resume."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

from burnish.loop import control
from burnish.loop.status import run_folders
from burnish.reporting.html import FILES
from burnish.reporting.names import duration
from burnish.reporting.strings import Lang
from burnish.serve.security import Access
from burnish.web.alerts import alerts
from burnish.web.drawing import compared, curves, pipeline
from burnish.web.i18n import language
from burnish.web.live import follow
from burnish.web.run_view import RunView
from burnish.web.site import fragment, page, run_folder, see_other, site_of

RULES: dict[tuple[str, str], Access] = {
    ("GET", "/runs"): "token",
    ("GET", "/curves"): "token",
    ("GET", "/runs/{run}"): "token",
    ("GET", "/runs/{run}/events"): "token",
    ("GET", "/runs/{run}/report"): "token",
    ("POST", "/runs/{run}/stop"): "token",
    ("POST", "/runs/{run}/resume"): "token",
}
MOST_COMPARED = 8
SECRETS = ("BURNISH_UI_TOKEN",)

router = APIRouter()


@router.get("/runs")
def runs(request: Request) -> Response:
    """All runs, the one that changed last first."""
    site = site_of(request)
    rows = [_row(RunView(folder)) for folder in run_folders(site.runs)]
    rows.sort(key=lambda row: str(row["changed"]), reverse=True)
    return page(request, "runs.html", rows=rows, folder=str(site.runs))


def _row(view: RunView) -> dict[str, Any]:
    stages = view.stages()
    made = sum(stage.state in ("done", "reused") for stage in stages)
    files = [path.stat().st_mtime for path in view.folder.iterdir() if path.is_file()]
    changed = datetime.fromtimestamp(max(files), UTC)
    return {
        "name": view.name,
        "status": view.status,
        "made": made,
        "all": len(stages),
        "round": max((stage.round for stage in stages), default=0),
        "champion": _champion(view),
        "changed": changed.isoformat(" ", "minutes").removesuffix("+00:00") + " UTC",
    }


def _champion(view: RunView) -> str:
    rounds = view.rounds()
    return str((rounds[-1] if rounds else {}).get("champion") or "")


@router.get("/curves")
def laid_over(request: Request) -> Response:
    """The curves of the runs named in the query, over each other."""
    site = site_of(request)
    names = list(dict.fromkeys(request.query_params.getlist("run")))[:MOST_COMPARED]
    views = [RunView(run_folder(site, name)) for name in names]
    charts = compared(views, language(request))
    return page(request, "curves.html", names=names, charts=charts)


@router.get("/runs/{run}")
def run(request: Request, run: str) -> Response:
    """One run; its parts are brought up to date by ``/runs/{run}/events``."""
    view = RunView(run_folder(site_of(request), run))
    return page(request, "run.html", view=view, parts=parts(view, language(request)))


@router.get("/runs/{run}/events")
def events(request: Request, run: str) -> Response:
    """The parts of a run's page as they change, as server-sent events."""
    site = site_of(request)
    view, lang = RunView(run_folder(site, run)), language(request)
    return follow(site, lambda: looked(view, lang))


def looked(view: RunView, lang: Lang) -> dict[str, str]:
    """The parts of a run's page as its folder tells them now."""
    view.refresh()
    return parts(view, lang)


def parts(view: RunView, lang: Lang) -> dict[str, str]:
    """The parts of a run's page, rendered."""
    values: dict[str, dict[str, Any]] = {
        "state": {"view": view, "report": (view.folder / FILES[lang]).is_file()},
        "pipeline": {
            "drawing": pipeline(view, lang),
            "stages": view.stages(),
            "rounds": view.rounds(),
            "duration": duration,
        },
        "alerts": {"alerts": alerts(view, lang)},
        "curves": {"charts": curves(view, lang)},
        "samples": {"samples": view.samples()},
        "log": {"log": view.log(), "events": view.events.rows[-40:]},
    }
    return {name: fragment(lang, f"run_{name}.html", **own) for name, own in values.items()}


@router.get("/runs/{run}/report")
def report(request: Request, run: str) -> Response:
    """The run's report as a file: it has scripts of its own, which no page here may have."""
    name = FILES[language(request)]
    path = run_folder(site_of(request), run) / name
    if not path.is_file():
        raise HTTPException(404, "this run has no report yet")
    return FileResponse(path, media_type="text/html", filename=f"{run}-{name}")


@router.post("/runs/{run}/stop")
def stop(request: Request, run: str) -> Response:
    """Ask the run's process to save and end."""
    control.stop(run_folder(site_of(request), run))
    return see_other(f"/runs/{run}")


@router.post("/runs/{run}/resume")
def resume(request: Request, run: str) -> Response:
    """Go on with the run in the background."""
    control.resume(run_folder(site_of(request), run), SECRETS)
    return see_other(f"/runs/{run}")
