"""``data sample``, ``data unblind``: records for people to label, and labels with their key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from burnish.cli.shared import AsJson, example, print_json, say
from burnish.config import InputError, Problem

EXAMPLE = example("burnish data sample preferences.jsonl -n 200 --annotators wu,kim -o check.jsonl")
UNBLIND_EXAMPLE = example("burnish data unblind check.jsonl -o labels.jsonl")
Out = Annotated[Path, typer.Option("-o", "--out", help="A JSONL file.")]


def sample(
    file: Annotated[Path, typer.Argument(help="A data file, a folder of them, or a run.")],
    output: Out,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many records.")] = 200,
    annotators: Annotated[
        str, typer.Option("--annotators", help="Names of the empty label columns: a,b.")
    ] = "1,2",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of what is drawn.")] = 0,
    json_: AsJson = False,
) -> None:
    """Draw records for people to label, over topics, tiers and scores, most uncertain first.

    Preferences come as first and second in random order. What a machine said is not shown: it
    goes into OUT.key.jsonl, which data unblind puts beside the labels.
    """
    from burnish.tracing.spotcheck import draw, sheet

    names = [name.strip() for name in annotators.split(",")]
    if not all(names) or len(set(names)) < len(names):
        expected = "different names with commas between them"
        raise InputError(Problem("", None, "--annotators", f"found {annotators!r}", expected))
    _check(output)
    drawn = draw(file, count, seed)
    rows, keys = sheet(drawn, names, seed)
    _write(output, rows)
    _write(key_of(output), keys)
    strata = len({one.stratum for one in drawn})
    if json_:
        print_json({"records": len(rows), "strata": strata, "output": str(output),
                    "key": str(key_of(output))})  # fmt: skip
    else:
        say(f"{len(rows)} records of {strata} strata → {output}, key → {key_of(output)}")


def unblind(
    filled: Annotated[Path, typer.Argument(help="A sample with labels filled in.")],
    output: Out,
    key: Annotated[
        Path | None, typer.Option("--key", help="Its key; by default the file beside it.")
    ] = None,
) -> None:
    """Put the key of a sample beside its labels, for data agree."""
    from burnish.tracing.spotcheck import unblind as join

    _check(output)
    rows = join(filled, key or key_of(filled))
    columns = [name for name in rows[0] if name.startswith("label_")] if rows else []
    labelled = {name: sum(row[name] is not None for row in rows) for name in columns}
    _write(output, rows)
    said = " · ".join(f"{name} {count}" for name, count in labelled.items())
    say(f"{len(rows)} records, labelled: {said or 'none'} → {output}")


def key_of(sample: Path) -> Path:
    """Where the key of a sample lies."""
    return sample.with_name(f"{sample.name.removesuffix('.jsonl')}.key.jsonl")


def _check(output: Path) -> None:
    if output.suffix != ".jsonl":
        raise InputError(Problem(str(output), None, "--out", "another format", "a .jsonl file"))


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    from burnish.store.atomic import write_text
    from burnish.store.lines import as_lines

    write_text(path, as_lines(rows))


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command(epilog=EXAMPLE)(sample)
    app.command(epilog=UNBLIND_EXAMPLE)(unblind)
