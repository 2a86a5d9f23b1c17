"""``export``: a model for other runtimes, asked by them before anything is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from burnish.cli.eval_commands import Tasks, own_tasks, shipped_tasks
from burnish.cli.models_of import resolve_model
from burnish.cli.shared import (
    DEFAULT_RUNS,
    AsJson,
    Runs,
    Set,
    example,
    out,
    print_json,
    progress,
    refuse_existing,
    say,
)
from burnish.config import GateRefused
from burnish.store.registry import Registry

HELDOUT = "burnish:quickstart/general_heldout.jsonl.gz"


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command(
        epilog=example(
            "burnish export quickstart --to gguf:q8_0 --out exported",
            "burnish export models/mine --to gguf:q4_k --to onnx:int4 --tasks mine.jsonl "
            "--edge --out edge",
            "burnish export quickstart --edge --page npm --out browser",
        )
    )(export)


def export(
    model: Annotated[str, typer.Argument(help="A folder, a run or a shipped name.")],
    out_: Annotated[Path, typer.Option("--out", "-o", help="The folder that is written.")],
    to: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="FORM", help="gguf:q8_0, onnx:int4, torch:bf16 and others."),
    ] = None,
    tasks: Tasks = None,
    heldout: Annotated[
        Path | None,
        typer.Option("--heldout", help="Text to score; the quickstart's by default."),
    ] = None,
    edge: Annotated[
        bool, typer.Option("--edge", help="Folders that run without PyTorch, with a runner.")
    ] = False,
    page: Annotated[
        str | None,
        typer.Option(
            "--page",
            metavar="npm|FILE",
            help="With --edge: a page that chats in the browser; llama.cpp is npm's, or in FILE.",
        ),
    ] = None,
    keep_unfit: Annotated[
        bool, typer.Option("--keep-unfit", help="Write exports that lost too much, too.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put the new folder in the place of an old one.")
    ] = False,
    set_: Set = None,
    runs: Runs = DEFAULT_RUNS,
    json_: AsJson = False,
) -> None:
    """Export a model, have each form answer in its own runtime, and keep what is still the model.

    Exit code 4: an export lost more than its margin, or too few items say that it did not.
    --set takes the other settings of the stage, such as policy.margins.tasks=0.05.
    """
    from burnish.cli.one_stage import place, run_stages, work_folder
    from burnish.exporting.page import NPM
    from burnish.stages.release.export import REPORT

    if not replace:
        refuse_existing(out_)
    ref = resolve_model(model, runs)
    stage: dict[str, Any] = {
        "run": "release.export", "model": ref, "to": to or ["gguf:q8_0"], "edge": edge,
        "tasks": own_tasks(tasks) if tasks else shipped_tasks(),
        "heldout": str(heldout.resolve()) if heldout else HELDOUT, "keep_unfit": keep_unfit,
        "page": page if page in (None, NPM) else str(Path(page).resolve()),
    }  # fmt: skip
    work = work_folder(out_)
    made = run_stages(
        {"export": stage}, model=ref, work=work, progress=progress(json_),
        overrides=[f"prepare.export.{item}" for item in set_ or []],
    )  # fmt: skip
    folder = made.folders["export"]
    found = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    exports = [row for row in found["rows"] if "decision" in row]
    refused = [row for row in exports if row["decision"] != "fit"]
    written = keep_unfit or len(refused) < len(exports)
    if written:
        place(folder, out_, replace)
        _register(out_, ref, runs, [row for row in exports if row["decision"] == "fit"])
    shutil.rmtree(work)
    if json_:
        print_json({"out": str(out_) if written else None, **found})
    else:
        print_exports(found)
        say(f"wrote {out_}" if written else "nothing written", style="dim")
        for row in exports if page is not None else []:
            if keep_unfit or row["decision"] == "fit":
                say(_browsed(out_, row), style="dim")
    if refused:
        raise GateRefused("\n".join(f"{row['form']}: {row['reason']}" for row in refused))


def _register(folder: Path, ref: str, runs: Path, fit: list[dict[str, Any]]) -> None:
    """Enter exports that are fit in the registry, below the model they were made from; nothing
    where there is no registry, or the model is not in it."""
    from burnish.exporting.forms import parse
    from burnish.store.manifest import content_fingerprint

    file = runs / "registry.sqlite"
    if not file.is_file():
        return
    with Registry(file) as registry:
        parents = [entry.ref for entry in registry.entries() if entry.path == ref]
        for row in fit if parents else []:
            form = parse(row["form"])
            path = (folder / form.folder).resolve()
            figures = {name: figure["value"] for name, figure in row["figures"].items()}
            name = f"{parents[-1].partition('@')[0]}-{form.folder}".replace("_", "-")
            mark = content_fingerprint(path)
            registry.register(name, "export", path, mark, figures, parents[-1:])


def _browsed(folder: Path, row: dict[str, Any]) -> str:
    """How a form's page is opened, and what a visitor loads."""
    from burnish.exporting.forms import parse
    from burnish.exporting.page import START

    sizes = {name: value / 1e6 for name, value in row["details"]["edge_bytes"].items()}
    place = folder / parse(row["form"]).folder
    return (
        f"page: {START} --directory {place}, then http://127.0.0.1:8000; a visitor loads "
        f"{sum(sizes.values()):.1f} MB (model {sizes['model']:.1f}, page {sizes['page']:.1f})"
    )


def print_exports(found: dict[str, Any]) -> None:
    """Tables for a person, from ``exports.json``."""
    from burnish.reporting.exports import COSTS, number, shown
    from burnish.reporting.exportstrings import told

    table = Table(box=box.SIMPLE_HEAD, title=f"{found['model']}, exported", title_justify="left")
    table.add_column("form")
    for name in COSTS:
        table.add_column(told("en", name), justify="right")
    table.add_column("")
    marks = {"fit": "✓ fit", "unfit": "✗ unfit", "undecided": "? undecided", None: ""}
    for row in found["rows"]:
        cells = [shown(name, row["figures"].get(name)) for name in COSTS]
        table.add_row(row["form"], *cells, marks[row.get("decision")])
    out.print(table)
    table = Table(box=box.SIMPLE_HEAD, title="what was lost", title_justify="left")
    table.add_column("metric")
    exports = [row for row in found["rows"] if "decision" in row]
    for row in exports:
        table.add_column(row["form"], justify="right")
    for place, loss in enumerate(exports[0]["losses"] if exports else []):
        cells = []
        for row in exports:
            change, state = row["losses"][place]["comparison"], row["losses"][place]["state"]
            low, high = (number(change[end], "+.3f") for end in ("low", "high"))
            mark = {"held": " ✓", "lost": " ✗", "unclear": " ?"}.get(state, "")
            cells.append(f"{number(change['difference'], '+.3f')} [{low}, {high}]{mark}")
        table.add_row(loss["metric"], *cells)
    out.print(table)
