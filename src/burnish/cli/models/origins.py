"""``models lineage``, ``diff``, ``verify``: what a model was made from, and if it still is so."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from burnish.cli.models.opening import Ref, open_registry
from burnish.cli.shared import DEFAULT_RUNS, AsJson, Runs, example, out, print_json, say
from burnish.config import EXIT_INPUT

if TYPE_CHECKING:
    from burnish.tracing.family import Family


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command(
        epilog=example(
            "burnish models lineage champion", "burnish models lineage champion --html lineage.html"
        )
    )(lineage)
    app.command(epilog=example("burnish models diff safety_dpo@1 safety_dpo@2"))(diff)
    app.command(epilog=example("burnish models verify", "burnish models verify champion"))(verify)


def lineage(
    ref: Ref,
    runs: Runs = DEFAULT_RUNS,
    html: Annotated[Path | None, typer.Option("--html", help="Draw the graph here.")] = None,
    json_: AsJson = False,
) -> None:
    """Draw what a model was made from, back to the files and the base model."""
    from burnish.tracing.family import family
    from burnish.tracing.models import trace

    with open_registry(runs) as registry:
        kin = family(registry, trace(registry, ref))
    root, stages, edges = kin.found.entry.ref, kin.stages, kin.edges
    if json_:
        print_json({"ref": root, "artifacts": stages, "edges": edges})
        return
    out.print(_tree(root, stages, edges))
    if html is not None:
        _draw(html, kin)
        say(f"wrote {html}")


def _tree(root: str, stages: dict[str, dict[str, Any]], edges: list[tuple[str, str]]) -> Tree:
    parents: dict[str, list[str]] = {}
    for child, parent in edges:
        parents.setdefault(child, []).append(parent)
    tree = Tree(f"[bold]{escape(root)}[/bold]")
    shown: set[str] = set()

    def grow(branch: Tree, name: str) -> None:
        again = name in shown
        shown.add(name)
        for ref in dict.fromkeys(stages[name]["given"]) if not again else ():
            branch.add(f"[dim]{escape(ref)}[/dim]")
        for parent in parents.get(name, []):
            more = " [dim](above)[/dim]" if parent in shown and parents.get(parent) else ""
            twig = branch.add(f"{escape(parent)}{more}")
            if parent not in shown:
                grow(twig, parent)

    grow(tree, root)
    return tree


def _draw(path: Path, kin: Family) -> None:
    from burnish.reporting.html import document
    from burnish.reporting.markup import el
    from burnish.store.atomic import write_text

    title = f"Lineage of {kin.found.entry.ref}"
    drawn = el("div", kin.drawing(title), class_="scroll")
    write_text(path, document(title, el("main", el("h1", title), drawn, class_="wrap"), "en"))


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A registered model, e.g. dpo@1.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another, e.g. dpo@2.")],
    runs: Runs = DEFAULT_RUNS,
    json_: AsJson = False,
) -> None:
    """Say what differs between two models: settings, data, figures."""
    from burnish.tracing.models import changes, trace

    with open_registry(runs) as registry:
        before, after = trace(registry, a), trace(registry, b)
    said = changes(before, after)
    names = dict.fromkeys([*before.figures, *after.figures])
    if json_:
        figures = {
            name: [side.figures[name].as_json() if name in side.figures else None
                   for side in (before, after)] for name in names
        }  # fmt: skip
        print_json(
            {"a": before.entry.ref, "b": after.entry.ref, "stages": said, "figures": figures}
        )
        return
    for stage, lines in said.items():
        say(stage, style="bold")
        for line in lines:
            say(f"  {line}")
    if not said:
        say("made from the same settings and data")
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("figure", before.entry.ref, after.entry.ref, "change"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for name in names:
        one, other = before.figures.get(name), after.figures.get(name)
        change = f"{other.value - one.value:+.4g}" if one and other else ""
        shown = [f"{f.value:.4g} [{f.low:.3g}, {f.high:.3g}]" if f else "" for f in (one, other)]
        table.add_row(name, *shown, change)
    if names:
        out.print(table)
        say("`burnish compare` tests on the same items whether a change is more than chance")


def verify(
    refs: Annotated[list[str] | None, typer.Argument(help="Artifacts; all by default.")] = None,
    runs: Runs = DEFAULT_RUNS,
    json_: AsJson = False,
) -> None:
    """Hash every file of registered artifacts; exit code 2 where one is not what it was."""
    from burnish.tracing.models import damaged

    with open_registry(runs) as registry:
        found = damaged(registry, refs or [])
    bad = {ref: faults for ref, faults in found.items() if faults}
    if json_:
        print_json({"checked": len(found), "damaged": bad})
    else:
        for ref, faults in bad.items():
            say(f"{ref}: {'; '.join(faults)}", style="red")
        say(f"{len(found) - len(bad)} of {len(found)} artifacts are as they were made")
    if bad:
        raise typer.Exit(EXIT_INPUT)
