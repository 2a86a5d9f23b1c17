"""``data``: look at a data file and check it; the other commands have files of their own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer

from burnish.cli.data import (
    agree,
    clean,
    dedup,
    diff,
    generate,
    importing,
    mix,
    page,
    pairs,
    quarantine,
    sample,
    score,
    select,
    why,
)
from burnish.cli.data.files import Kind, RecordKind, read
from burnish.cli.shared import AsJson, example, print_json, say
from burnish.config import InputError, Problem

if TYPE_CHECKING:
    from burnish.records import Record

MOST_PROBLEMS = 20


app = typer.Typer(
    help="Data: import, clean, generate, score, choose, mix, look, trace.", no_args_is_help=True
)
File = Annotated[Path, typer.Argument(help="JSONL, JSON, either with .gz, Parquet, CSV or text.")]


@app.command(
    epilog=example(
        "burnish data stats examples.jsonl", "burnish data stats examples.jsonl --html data.html"
    )
)
def stats(
    file: File,
    kind: Kind = None,
    html: page.Html = None,
    lang: page.Lang = page.PageLang.en,
    model: page.Model = None,
    json_: AsJson = False,
) -> None:
    """Count records, languages, tasks, sources and lengths; with --html on a page with charts."""
    if html is not None:
        page.write_page(file, html, lang, model)
    found_kind, records, problems = read(file, kind)
    found = describe(found_kind, records, len(problems))
    if json_:
        print_json(found)
        return
    for name, value in found.items():
        shown = (
            " · ".join(f"{key} {count}" for key, count in value.items())
            if isinstance(value, dict)
            else value
        )
        say(f"{name:<12} {shown}")


@app.command(epilog=example("burnish data check examples.jsonl --kind example"))
def check(file: File, kind: Kind = None) -> None:
    """Check every record; name file, line and field of what is wrong."""
    found_kind, records, problems = read(file, kind)
    if problems:
        more = len(problems) - MOST_PROBLEMS
        rest = [Problem(str(file), None, "", f"and {more} more problems")] if more > 0 else []
        raise InputError(problems[:MOST_PROBLEMS] + rest)
    repeated = len(records) - len({record.id for record in records})
    say(f"{file}: {len(records)} {found_kind} records, nothing wrong")
    if repeated:
        say(f"note: {repeated} records have an id that came before")


def describe(kind: RecordKind, records: list[Record], bad: int) -> dict[str, Any]:
    """Counts and lengths (in characters) of records."""
    lengths = sorted(text_length(record) for record in records)
    found: dict[str, Any] = {"kind": str(kind), "records": len(records), "bad rows": bad}
    if not records:
        return found
    found["characters"] = {
        "total": sum(lengths),
        "least": lengths[0],
        "median": round(median(lengths)),
        "most": lengths[-1],
    }
    for field in ("lang", "task", "topic", "source", "tier"):
        counts = Counter(str(getattr(record, field, "") or "") for record in records)
        counts.pop("", None)
        if counts:
            found[field] = dict(counts.most_common(8))
    found["synthetic"] = sum(record.synthetic for record in records)
    return found


def text_length(record: Record) -> int:
    """Characters of a record's text, over all of its turns."""
    total = 0
    for field in ("text", "messages", "prompt", "chosen", "rejected", "completion"):
        value = getattr(record, field, "")
        turns = value if isinstance(value, list) else [{"content": value}]
        total += sum(len(str(turn["content"])) for turn in turns)
    return total


for module in (
    importing, clean, dedup, generate, score, agree, select, pairs, mix, sample, why, diff,
    quarantine,
):  # fmt: skip
    module.register(app)
