"""``models``: what was made, what it came from, which one is the champion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from burnish.cli.shared import DEFAULT_RUNS, AsJson, Runs, example, out, print_json, say
from burnish.config import InputError, Problem
from burnish.store.registry import Entry, Registry

CHAMPION = "champion"

app = typer.Typer(help="Registered models: list, show, promote, roll back.", no_args_is_help=True)
Ref = Annotated[str, typer.Argument(help="A registered artifact, e.g. ppo@2.")]
Alias = Annotated[str, typer.Option("--alias", help="The alias to move.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the audit.")]


def open_registry(runs: Path) -> Registry:
    """The registry of a runs folder; raises InputError where nothing has run yet."""
    path = runs / "registry.sqlite"
    if not path.is_file():
        expected = "start one with: burnish run quickstart"
        raise InputError(Problem(str(path), None, "", "no registry yet", expected))
    return Registry(path)


@app.command("list", epilog=example("burnish models list"))
def list_(runs: Runs = DEFAULT_RUNS, json_: AsJson = False) -> None:
    """List every registered artifact; the champion is marked."""
    with open_registry(runs) as registry:
        entries = registry.entries()
        champion = registry.alias(CHAMPION)
    if json_:
        rows = [{**_row(entry), "champion": entry.ref == champion} for entry in entries]
        print_json({"artifacts": rows})
        return
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("", "artifact", "kind", "folder"):
        table.add_column(column, overflow="fold")
    for entry in entries:
        mark = "★" if entry.ref == champion else ""
        table.add_row(mark, entry.ref, entry.kind, entry.path)
    out.print(table)


@app.command(epilog=example("burnish models show champion", "burnish models show ppo@1"))
def show(ref: Ref, runs: Runs = DEFAULT_RUNS, json_: AsJson = False) -> None:
    """Show one artifact: figures, what it was made from, and the gate's verdicts on it."""
    with open_registry(runs) as registry:
        entry = registry.get(registry.alias(ref) or ref)
        parents = registry.lineage(entry.name, entry.version)
        verdicts = [v for v in registry.verdicts() if v.candidate == entry.ref]
        moves = [m for m in registry.moves(CHAMPION) if m.after == entry.ref]
    if json_:
        said = [{"round": v.round, "decision": v.decision, "reason": v.reason} for v in verdicts]
        made_from = [parent.ref for parent in parents]
        print_json({**_row(entry), "made_from": made_from, "verdicts": said})
        return
    say(f"{entry.ref}  {entry.kind}", style="bold")
    say(f"folder     {entry.path}")
    say(f"content    {entry.fingerprint}")
    above = " → ".join(parent.ref for parent in parents) or "nothing registered"
    say(f"made from  {above}")
    for name, value in entry.figures.items():
        say(f"figure     {name} = {value}")
    for verdict in verdicts:
        line = f"verdict    round {verdict.round}: {verdict.decision}, {verdict.reason}"
        say(line)
    for move in moves:
        done = "became champion" if move.done else "was refused as champion"
        say(f"move       {done}: {move.reason or 'no reason given'}")


@app.command(epilog=example("burnish models promote ppo@2 --reason 'reviewed by hand'"))
def promote(
    ref: Ref, runs: Runs = DEFAULT_RUNS, alias: Alias = CHAMPION, reason: Reason = "by hand"
) -> None:
    """Make a registered model the champion."""
    with open_registry(runs) as registry:
        entry = registry.get(ref)
        if entry.kind != "model":
            found = f"{entry.ref} is of kind {entry.kind}"
            raise InputError(Problem("", None, "ref", found, "expected a model"))
        before = registry.alias(alias)
        registry.set_alias(alias, entry.ref, before or "", reason)
    say(f"{alias}: {before or 'none'} → {entry.ref}")


@app.command(epilog=example("burnish models rollback"))
def rollback(
    runs: Runs = DEFAULT_RUNS, alias: Alias = CHAMPION, reason: Reason = "rollback"
) -> None:
    """Go back to the champion before the present one."""
    with open_registry(runs) as registry:
        now = registry.alias(alias)
        moves = [move for move in registry.moves(alias) if move.done and move.after == now]
        if now is None or moves[-1].before is None:
            found = f"{alias} has no earlier place"
            raise InputError(Problem(str(runs), None, "", found, "nothing to roll back to"))
        registry.set_alias(alias, moves[-1].before, now, reason)
    say(f"{alias}: {now} → {moves[-1].before}")


def _row(entry: Entry) -> dict[str, object]:
    return {"ref": entry.ref, "kind": entry.kind, "path": entry.path, "figures": entry.figures}
