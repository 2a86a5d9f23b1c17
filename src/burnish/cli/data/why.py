"""``data why``: where a record comes from and what it led to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from burnish.cli.shared import (
    DEFAULT_RUNS,
    AsJson,
    Runs,
    example,
    out,
    print_json,
    say,
)
from burnish.config import InputError, Problem
from burnish.loop.status import run_folders

if TYPE_CHECKING:
    from burnish.tracing.why import Explanation, Node

EXAMPLE = example("burnish data why 4428359a440db64c runs/quickstart")
MOST_SETTINGS = 240

In = Annotated[
    list[Path] | None,
    typer.Argument(metavar="IN...", help="Data files, folders, run folders; all runs by default."),
]


def why(
    id: Annotated[str, typer.Argument(metavar="ID", help="The id of a record.")],
    paths: In = None,
    runs: Runs = DEFAULT_RUNS,
    json_: AsJson = False,
) -> None:
    """Show what a record was made from, by what, and which models were trained on it."""
    from burnish.tracing.index import Index
    from burnish.tracing.why import explain

    with Index(paths or every_run(runs)) as index:
        found = explain(index, id)
    if json_:
        print_json(found.to_json())
    else:
        show(found)


def every_run(runs: Path) -> list[Path]:
    """All run folders; raises InputError where there are none."""
    folders = run_folders(runs)
    if not folders:
        raise InputError(Problem(str(runs), None, "", "no runs there", "name data files or runs"))
    return folders


def show(found: Explanation) -> None:
    """The tree of a record on standard output, its descendants and the models after it."""
    _grow(found.record, set())
    if found.descendants:
        where = " · ".join(f"{name} {count}" for name, count in found.descendants_in.items())
        say(f"\ndescendants  {found.descendants}: {where}")
        for child in found.children:
            say(f"  {printable(child.id)}  {child.kind}  {child.text}")
    direct = {ref: how for ref, how in found.used_by.items() if not how.startswith("from ")}
    later = [ref for ref in found.used_by if ref not in direct]
    if direct:
        said = " · ".join(f"{ref} ({how})" for ref, how in direct.items())
        say(f"\nused by      {said}")
    if later:
        say(f"made of that {' · '.join(later)}")
    if found.models:
        say(f"models       {' · '.join(found.models)}")
    for note in found.notes:
        say(f"note: {note}")


def _grow(node: Node, makers: set[str], first: str = "", rest: str = "") -> None:
    """Print a node after ``first`` and what is below it after ``rest``, which draw the branches.

    ``makers`` are the artifacts whose settings were shown already.
    """
    name, *facts = _label(node, makers)
    bar = "│ " if node.parents or node.more else "  "
    out.print(Text(first).append(name), soft_wrap=True)
    for fact in facts:
        out.print(Text(rest + bar).append(fact), soft_wrap=True)
    for place, parent in enumerate(node.parents, start=1):
        last = place == len(node.parents) and not node.more
        _grow(parent, makers, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))
    if node.more:
        say(f"{rest}└─ and {node.more} more")


def _label(node: Node, makers: set[str]) -> list[Text]:
    """What is said of a record, a line each."""
    name = Text(printable(node.id), style="bold")
    if node.missing:
        return [Text().append(name).append("  in none of the files", style="yellow")]
    if node.origin:
        return [Text().append(name).append("  where it was imported from", style="dim")]
    if node.repeated:
        return [Text().append(name).append("  see above", style="dim")]
    written = "by a machine" if node.synthetic else "by people"
    marks = ", ".join(filter(None, [node.kind, node.tier, node.lang, written, node.topic]))
    lines = [Text().append(name).append(f"  {printable(marks)}", style="dim")]
    for fact, value in _facts(node, makers):
        lines.append(Text(f"{fact:<9}", style="dim").append(printable(value), style="not dim"))
    return lines


def _facts(node: Node, makers: set[str]) -> list[tuple[str, str]]:
    from burnish.tracing.why import several

    facts = [("text", node.text), ("source", node.source)]
    if node.scores:
        facts.append(("scores", " · ".join(f"{k} {v:.4g}" for k, v in node.scores.items())))
    facts += [
        ("file", several(node.places)),
        ("sha256", f"file {node.sha256[:16]} · text {node.hash}"),
    ]
    made = node.made_by
    if made is None:
        return facts
    facts.append(("made by", f"{made['artifact']} ({made['stage']}, round {made['round']})"))
    if made["artifact"] in makers:
        return facts
    makers.add(made["artifact"])
    facts += [("model", made["model"])] if made["model"] else []
    facts += [(name, _listed(made[name])) for name in ("judge", "filters") if made[name]]
    return [*facts, ("settings", _listed(made["settings"]))]


def _listed(values: dict[str, Any]) -> str:
    said = " · ".join(
        f"{name} {json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value}"
        for name, value in values.items()
    )
    return said if len(said) <= MOST_SETTINGS else said[:MOST_SETTINGS] + "… (all with --json)"


def printable(text: str) -> str:
    """Text of data as it can safely go to a terminal: control characters are shown, not sent."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command(epilog=EXAMPLE)(why)
