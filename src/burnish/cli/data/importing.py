"""``data import``: foreign files and data sets as records."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.table import Table

from burnish.cli.data.files import RecordKind
from burnish.cli.shared import AsJson, err, example, out, print_json, say, warn

if TYPE_CHECKING:
    from burnish.records import Language, Record, Tier
    from burnish.sources.importing import Tally

EXAMPLE = example(
    "burnish data import alpaca.json pages/ -o data/mine --tier bulk",
    "burnish data import hf://openai/gsm8k:main#train -o data/gsm8k --human",
)
MOST_FILES = 10


class TierName(StrEnum):
    """Places in the quality pyramid."""

    expert = "expert"
    selected = "selected"
    bulk = "bulk"


class LanguageName(StrEnum):
    """Languages of records."""

    en = "en"
    zh = "zh"


Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="IN...",
        help="Files (JSONL, JSON, either with .gz, Parquet, CSV, text, Markdown, HTML, PDF), "
        "folders of them, data sets as hf://owner/name:config#split.",
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="A new folder for the records.")]
Kind = Annotated[
    RecordKind | None,
    typer.Option("--kind", help="What every row is; found out row by row where not given."),
]
SourceName = Annotated[
    str | None, typer.Option("--source", help="What the records are said to come from.")
]
TierOption = Annotated[TierName | None, typer.Option("--tier", help="Their tier.")]
Lang = Annotated[LanguageName | None, typer.Option("--lang", help="Their language.")]
Synthetic = Annotated[
    bool | None, typer.Option("--synthetic/--human", help="Who wrote them.", show_default=False)
]


def import_(
    inputs: Inputs,
    out_: Out,
    kind: Kind = None,
    source: SourceName = None,
    tier: TierOption = None,
    lang: Lang = None,
    synthetic: Synthetic = None,
    json_: AsJson = False,
) -> None:
    """Turn files, folders and data sets into records, and list what could not be taken.

    Each row is recognised by its columns (Alpaca, ShareGPT, OpenAI, TRL, KTO). Text in GB18030,
    Big5, UTF-16 or cp1252 is converted, wrongly decoded text repaired. OUT gets a folder of
    Parquet parts for each kind of record, and rejected.jsonl.
    """
    from burnish.sources import importing
    from burnish.sources.convert import Marks

    marks = Marks(
        kind=_class(kind),
        source=source,
        tier=cast("Tier | None", tier and tier.value),
        lang=cast("Language | None", lang and lang.value),
        synthetic=synthetic,
    )
    with err.status("reading", spinner="dots") as status:
        tally = importing.run(
            inputs, out_, marks, lambda seen: status.update(f"{seen.records} records")
        )
    if json_:
        print_json({"output": str(out_)} | tally.summary())
        return
    _show(out_, tally)


def _class(kind: RecordKind | None) -> type[Record] | None:
    from burnish.records import KINDS

    return KINDS[kind] if kind else None


def _show(folder: Path, tally: Tally) -> None:
    out.print(_table(tally.summary()["counts"]))
    for kind in tally.by(1):
        say(f"{folder / kind}")
    said = {
        "records got an id of their own; theirs came before": tally.renamed,
        "texts were decoded wrongly and are repaired": sum(n.repaired for n in tally.notes),
    }
    for what, count in said.items():
        if count:
            say(f"{count} {what}")
    converted = [note for note in tally.notes if note.encoding not in ("", "utf-8")]
    for note in converted[:MOST_FILES]:
        say(f"{note.file}: converted from {note.encoding}")
    if len(converted) > MOST_FILES:
        say(f"and {len(converted) - MOST_FILES} more files were converted")
    if tally.left_out:
        columns = ", ".join(f"{name} ({n})" for name, n in tally.left_out.most_common(MOST_FILES))
        say(f"columns left out: {columns}")
    if tally.rejected:
        of = f", {tally.repeated} of them copies of earlier ones" if tally.repeated else ""
        warn(f"{tally.rejected} rejected{of}; see {folder / 'rejected.jsonl'}", style="yellow")
        for problem in tally.problems[:3]:
            warn(f"  {problem}")


def _table(counts: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("layout", "kind", "lang"):
        table.add_column(name)
    table.add_column("records", justify="right")
    for row in sorted(counts, key=lambda row: (row["kind"], row["layout"], row["lang"])):
        table.add_row(row["layout"], row["kind"], row["lang"], str(row["records"]))
    return table


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command("import", epilog=EXAMPLE)(import_)
