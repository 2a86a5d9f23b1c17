"""``models``: what was made, what it came from, which one is the champion."""

from __future__ import annotations

from typing import Annotated

import typer
from rich import box
from rich.table import Table

from burnish.cli.models import cards, origins
from burnish.cli.models.opening import CHAMPION, Ref, open_registry
from burnish.cli.shared import DEFAULT_RUNS, AsJson, Runs, example, out, print_json, say
from burnish.store.registry import Entry

app = typer.Typer(
    help="Registered models: list, show, trace, compare, check, promote, roll back.",
    no_args_is_help=True,
)
Alias = Annotated[str, typer.Option("--alias", help="The alias to move.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the audit.")]


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
    """Show one artifact: figures, data, recipe, what it was made from, the gate's verdicts."""
    from burnish.tracing.models import trace

    with open_registry(runs) as registry:
        found = trace(registry, ref)
        entry = found.entry
        parents = registry.lineage(entry.name, entry.version)
    made_from = [parent.ref for parent in parents]
    said = [{"round": v.round, "decision": v.decision, "reason": v.reason} for v in found.verdicts]
    data = {given.ref: given.fingerprint for given in found.given}
    recipe = {name: found.recipe.get(name) for name in ("name", "seed", "model")}
    evaluated = {name: figure.as_json() for name, figure in found.figures.items()}
    if json_:
        print_json({**_row(entry), "made_from": made_from, "verdicts": said, "recipe": recipe,
                    "data": data, "evaluation": evaluated, "records": found.records})  # fmt: skip
        return
    say(f"{entry.ref}  {entry.kind}", style="bold")
    say(f"folder     {entry.path}")
    say(f"content    {entry.fingerprint}")
    say(f"recipe     {recipe['name']}, seed {recipe['seed']}, from {recipe['model']}")
    say(f"made from  {' → '.join(made_from) or 'nothing registered'}")
    for given, mark in data.items():
        say(f"data       {given}  {mark[:12]}")
    for mark, counts in found.records.items():
        say(f"{mark:<10} {' · '.join(f'{value} {count}' for value, count in counts.items())}")
    for name, value in entry.figures.items():
        say(f"figure     {name} = {value}")
    for name, figure in found.figures.items():
        say(f"evaluated  {name} = {figure.value:.4g} [{figure.low:.4g}, {figure.high:.4g}]")
    for verdict in found.verdicts:
        say(f"verdict    round {verdict.round}: {verdict.decision}, {verdict.reason}")
    for move in found.moves:
        done = f"became {move.alias}" if move.done else f"was refused as {move.alias}"
        say(f"move       {done}: {move.reason or 'no reason given'}")


@app.command(epilog=example("burnish models promote ppo@2 --reason 'reviewed by hand'"))
def promote(
    ref: Ref, runs: Runs = DEFAULT_RUNS, alias: Alias = CHAMPION, reason: Reason = "by hand"
) -> None:
    """Make a registered model the champion, if it is whole; its card goes to runs/cards."""
    from burnish.tracing import moves

    with open_registry(runs) as registry:
        moved = moves.promote(registry, ref, reason, alias)
    say(f"{alias}: {moved.before or 'none'} → {moved.after}")
    say(f"card: {moved.card}", style="dim")


@app.command(epilog=example("burnish models rollback --reason 'answers got worse'"))
def rollback(
    runs: Runs = DEFAULT_RUNS, alias: Alias = CHAMPION, reason: Reason = "rollback"
) -> None:
    """Go back to the champion before the present one; again for the one before that."""
    from burnish.tracing import moves

    with open_registry(runs) as registry:
        moved = moves.rollback(registry, reason, alias)
    say(f"{alias}: {moved.before} → {moved.after}")


def _row(entry: Entry) -> dict[str, object]:
    return {"ref": entry.ref, "kind": entry.kind, "path": entry.path, "figures": entry.figures}


origins.register(app)
cards.register(app)
