"""``ab``: two registered versions side by side in service, with a test one may look at any time."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from burnish.cli.models.opening import open_registry
from burnish.cli.shared import (
    DEFAULT_RUNS,
    AsJson,
    Runs,
    Set,
    example,
    out,
    print_json,
    say,
    settings_from,
)
from burnish.store.metrics import finite

if TYPE_CHECKING:
    from burnish.evals.experiments import Experiment
    from burnish.evals.sequential import Conclusion

app = typer.Typer(help="A/B tests: start, assign, record, show, end.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The experiment.")]
Share = Annotated[float, typer.Argument(min=0, max=1, help="Share of users that get B.")]
COLOURS = {"promoted": "bold green", "kept": "bold yellow", "undecided": "bold"}


@app.command(
    epilog=example(
        "burnish ab start tone sft@1 sft@2",
        "burnish ab start tone champion ppo@3 --share 0.1 --set guards.safe=0.02 --set most=5000",
    )
)
def start(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    a: Annotated[str, typer.Argument(metavar="A", help="The version in use.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The challenger.")],
    share: Annotated[float, typer.Option("--share", min=0, max=1, help="Of users to B.")] = 0.5,
    set_: Set = None,
    runs: Runs = DEFAULT_RUNS,
) -> None:
    """Define an experiment. --set takes the stop rule's settings: alpha, tau, guards, most, ..."""
    from burnish.evals import experiments
    from burnish.evals.sequential import StopRule

    rule = settings_from(StopRule, {}, set_)
    with open_registry(runs) as registry:
        made = experiments.start(registry, name, a, b, share, rule)
    say(f"{name}: {made.incumbent} against {made.challenger}, which gets {made.share:.0%} of users")


@app.command(epilog=example("burnish ab assign tone user-17"))
def assign(
    name: Name,
    user: Annotated[str, typer.Argument(help="Anything that stays the same for a person.")],
    runs: Runs = DEFAULT_RUNS,
    json_: AsJson = False,
) -> None:
    """Say which version a user gets: always the same one while the share stays."""
    from burnish.evals import experiments

    with open_registry(runs) as registry:
        ref = experiments.assign(experiments.load(registry, name), user)
    if json_:
        print_json({"user": user, "arm": ref})
    else:
        say(ref)


@app.command(epilog=example("burnish ab share tone 0.3"))
def share(name: Name, share: Share, runs: Runs = DEFAULT_RUNS) -> None:
    """Change the challenger's share; when it rises, nobody who has B goes back to A."""
    from burnish.evals import experiments

    with open_registry(runs) as registry:
        changed = experiments.set_share(registry, experiments.load(registry, name), share)
    say(f"{name}: {changed.challenger} gets {changed.share:.0%} of users from now on")


@app.command(epilog=example("burnish ab record tone outcomes.jsonl"))
def record(
    name: Name,
    file: Annotated[Path, typer.Argument(help="Rows of request, arm, user, value, metrics.")],
    runs: Runs = DEFAULT_RUNS,
) -> None:
    """Take outcomes from a file; those of `burnish serve` are there already."""
    from burnish.evals import experiments

    with open_registry(runs) as registry:
        new, known = experiments.record(registry, experiments.load(registry, name), file)
    say(f"{new} outcomes taken, {known} known already")


@app.command(epilog=example("burnish ab show tone"))
def show(name: Name, runs: Runs = DEFAULT_RUNS, json_: AsJson = False) -> None:
    """Say where an experiment stands; once it has ended, the verdict is in the registry."""
    from burnish.evals import experiments

    with open_registry(runs) as registry:
        conclusion, found = experiments.conclude(registry, experiments.load(registry, name))
        made = experiments.load(registry, name)
    if json_:
        told = {"experiment": made.model_dump(mode="json"), "unreadable": found.unreadable}
        print_json(finite(told | asdict(conclusion)))
        return
    _print(made, conclusion)
    if found.unreadable:
        say(f"{found.unreadable} feedback rows had no number and were passed over", style="yellow")


def _print(made: Experiment, conclusion: Conclusion) -> None:
    title = f"{made.name}: {made.incumbent} → {made.challenger} ({made.share:.0%} of users)"
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for column in ("metric", "A", "B", "B - A", "p (always valid)", "users"):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for row in conclusion.standings:
        means = [f"{mean:.3g}" if math.isfinite(mean) else "" for mean in row.means]
        known = math.isfinite(row.low) and math.isfinite(row.high)
        moved = f"{row.difference:+.3g} [{row.low:+.3g}, {row.high:+.3g}]" if known else "too few"
        users = " + ".join(map(str, row.users))
        table.add_row(row.metric, *means, moved, f"{row.p_value:.3g}", users)
    out.print(table)
    state = "ended" if conclusion.ended or made.verdict else "goes on"
    out.print(f"{conclusion.decision}, {state}: ", style=COLOURS[conclusion.decision], end="")
    say(conclusion.reason)
    if conclusion.decision == "promoted":
        say(f"next: burnish models promote {made.challenger}", style="dim")


@app.command(epilog=example("burnish ab end tone"))
def end(name: Name, runs: Runs = DEFAULT_RUNS) -> None:
    """End an experiment where it stands; an open one is recorded as undecided."""
    from burnish.evals import experiments

    with open_registry(runs) as registry:
        conclusion = experiments.end(registry, experiments.load(registry, name))
        made = experiments.load(registry, name)
    _print(made, conclusion)


@app.command("list", epilog=example("burnish ab list"))
def list_(runs: Runs = DEFAULT_RUNS, json_: AsJson = False) -> None:
    """List the experiments."""
    from burnish.evals import experiments

    with open_registry(runs) as registry:
        found = [experiments.load(registry, name) for name in experiments.names(registry)]
    if json_:
        print_json({"experiments": [made.model_dump(mode="json") for made in found]})
        return
    for made in found:
        state = "running" if made.verdict is None else "ended"
        say(f"{made.name:<20} {state:<8} {made.incumbent} → {made.challenger} ({made.share:.0%})")
    if not found:
        say("no experiments; burnish ab start NAME A B")
