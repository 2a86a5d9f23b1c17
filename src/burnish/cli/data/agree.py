"""``data agree``: whether a judge's labels may stand in for people's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from burnish.cli.shared import AsJson, example, out, print_json, say
from burnish.config import GateRefused, InputError, Problem

if TYPE_CHECKING:
    from burnish.records import Figure
    from burnish.store.formats import Row

FAIR = 0.5


class LevelName(StrEnum):
    """What labels are: names, grades in order, or numbers with meaningful distances."""

    nominal = "nominal"
    ordinal = "ordinal"
    interval = "interval"


def agree(
    file: Annotated[Path, typer.Argument(help="JSONL, JSON, Parquet or CSV: a row an item.")],
    judge: Annotated[str, typer.Option("--judge", help="Column of the judge; a.b goes inside.")],
    annotators: Annotated[str, typer.Option("--annotators", help="Columns of people: a,b,c.")],
    level: Annotated[
        LevelName, typer.Option("--level", help="What labels are.")
    ] = LevelName.nominal,
    cut: Annotated[
        float | None, typer.Option("--cut", help="Numbers from here on are yes, others no.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Both agreements must reach it; 0.667.")
    ] = None,
    author: Annotated[
        str | None, typer.Option("--author", help="Column: the model that wrote the reply.")
    ] = None,
    own: Annotated[
        str | None, typer.Option("--own", help="With --author: the judge's own model there.")
    ] = None,
    require: Annotated[bool, typer.Option("--require", help="Exit 4 where they do not.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the bootstrap.")] = 0,
    json_: AsJson = False,
) -> None:
    """Compare people's labels with each other and with a judge's, and decide.

    The judge's labels may be used where the lower ends of both 95 % intervals reach the threshold:
    people's agreement (Krippendorff's alpha), and the judge's with people (mean Cohen's kappa).
    With --author and --own: how often it puts replies of its own model above others that people
    gave the same label.
    """
    from burnish.evals.agreement import THRESHOLD, agreement

    names = [name.strip() for name in annotators.split(",") if name.strip()]
    columns = read_columns(file, [*names, judge], level is not LevelName.nominal, cut)
    people = {name: columns[name] for name in names}
    try:
        found = agreement(
            people, (judge, columns[judge]), level.value, threshold or THRESHOLD, seed
        )
    except ValueError as error:
        raise InputError(Problem(str(file), None, "", str(error))) from None
    favour = None
    if author is not None or own is not None:
        favour = _favour(file, (author, own), columns[judge], people, seed)
    if json_:
        extra = {"self_preference": asdict(favour)} if favour else {}
        print_json(finite(asdict(found) | extra))
    else:
        table = Table(box=box.SIMPLE_HEAD)
        table.add_column("agreement")
        for column in ("value", "95 % interval", "items"):
            table.add_column(column, justify="right")
        table.add_row("people (alpha)", *cells(found.people))
        table.add_row("judge with people (mean kappa)", *cells(found.judge))
        for name, value in found.pairs.items():
            table.add_row(f"{name} (kappa)", *cells(value))
        if favour is not None:
            table.add_row("own replies win at equal labels (fair: 0.50)", *cells(favour))
        out.print(table)
        say(f"{found.items} items, {found.missing} without a label of the judge")
        for reason in found.reasons:
            say(f"note: {reason}")
        if favour is not None and favour.low > FAIR:
            say(f"note: the judge prefers replies of {own}, its own model")
        say("the judge's labels may be used" if found.usable else "the judge's labels: not usable")
    if require and not found.usable:
        raise GateRefused("the judge's labels may not be used: " + "; ".join(found.reasons))


def _favour(
    file: Path,
    whose: tuple[str | None, str | None],
    grades: Sequence[Any],
    people: Mapping[str, Sequence[Any]],
    seed: int,
) -> Figure:
    """The judge's preference for its own model, at equal means of people's labels."""
    from burnish.evals.bias import self_preference

    author, own = whose
    if author is None or own is None:
        missing = "--author" if author is None else "--own"
        raise InputError(Problem("", None, missing, "not given", "--author and --own together"))
    if any(isinstance(grade, str) for grade in grades):
        expected = "--level ordinal or interval, or --cut"
        raise InputError(
            Problem("", None, "--own", "labels are names, none above others", expected)
        )
    wrote = read_columns(file, [author], False, None)[author]
    if own not in wrote:
        raise InputError(Problem(str(file), None, author, f"no row says {own!r}", "a model there"))
    rows = zip(*people.values(), strict=True)
    known = [[label for label in row if label is not None] for row in rows]
    labels = [round(sum(row) / len(row), 9) if row else None for row in known]
    graded = [None if who is None else grade for who, grade in zip(wrote, grades, strict=True)]
    return self_preference(labels, graded, [who == own for who in wrote], seed)


def read_columns(
    file: Path, names: Sequence[str], numbers: bool, cut: float | None
) -> dict[str, list[Any]]:
    """Columns of labels by name; None where one is missing or empty.

    Raises:
        InputError: the file cannot be read, a column is nowhere, or a label is no number.
    """
    from burnish.store.formats import TABLES, rows, suffix

    if suffix(file) not in TABLES:
        found = "a format that is not read" if file.exists() else "no such file"
        raise InputError(Problem(str(file), None, "", found, f"one of {' '.join(TABLES)}"))
    columns: dict[str, list[Any]] = {name: [] for name in names}
    problems: list[Problem] = []
    for row in rows(file):
        if isinstance(row, Problem):
            problems.append(row)
            continue
        for name in names:
            try:
                columns[name].append(label_of(row, name, numbers, cut))
            except ValueError as error:
                problems.append(Problem(str(file), row.line, name, str(error), "a label"))
    problems += [
        Problem(str(file), None, name, "no row has a label in this column")
        for name, column in columns.items()
        if all(label is None for label in column)
    ]
    if problems:
        raise InputError(problems[:20])
    return columns


def label_of(row: Row, name: str, numbers: bool, cut: float | None) -> Any:
    """One label; raises ValueError where it is none."""
    value: Any = row.value
    for part in [name] if name in row.value else name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if numbers or cut is not None:
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise ValueError(f"found {value!r:.80}, which is no number") from None
        return number if cut is None else float(number >= cut)
    if isinstance(value, str | bool | int | float):
        return str(value)
    raise ValueError(f"found {value!r:.80}")


def cells(figure: Figure) -> list[str]:
    """A figure for the table."""
    if math.isnan(figure.value):
        return ["", "", str(figure.n)]
    return [f"{figure.value:.2f}", f"[{figure.low:.2f}, {figure.high:.2f}]", str(figure.n)]


def finite(value: Any) -> Any:
    """``value`` with null in place of numbers that JSON cannot hold."""
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command(
        "agree",
        epilog=example("burnish data agree labels.csv --annotators ann,bob --judge model"),
    )(agree)
