"""``data generate``: new instructions from topics, seeds or documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from burnish.cli.data.files import RecordKind, read
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
    settings_from,
)
from burnish.config import InputError, Problem

if TYPE_CHECKING:
    from burnish.records import Language, Record
    from burnish.selection.adaptive import Share
    from burnish.selection.writing import Report, WriteSettings
    from burnish.stages.writing import Sources

MOST_PROBLEMS = 20
LONGEST = 70


class MethodName(StrEnum):
    """Ways of making instructions."""

    templates = "templates"
    self_instruct = "self_instruct"
    evolve = "evolve"
    grounded = "grounded"
    back_translation = "back_translation"
    paraphrase = "paraphrase"
    language = "language"
    distractors = "distractors"
    formats = "format"  # str.format is taken


class Lang(StrEnum):
    """A language of records."""

    en = "en"
    zh = "zh"


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command(
        epilog=example(
            "burnish data generate --topics topics.yaml --method templates -n 100 -o prompts.jsonl",
            "burnish data generate --seeds prompts.jsonl --method evolve -n 100 -o harder.jsonl "
            "--model http://127.0.0.1:8000/v1#name-there",
        )
    )(generate)


def generate(
    method: Annotated[MethodName, typer.Option("--method", help="See docs/generating.md.")],
    out_: Annotated[
        Path | None, typer.Option("-o", "--out", help=".jsonl, .json, with .gz, or .parquet.")
    ] = None,
    topics: Annotated[
        list[Path] | None, typer.Option("--topics", help="A file of topics (and templates).")
    ] = None,
    seeds: Annotated[
        list[Path] | None, typer.Option("--seeds", help="Prompts or examples to start from.")
    ] = None,
    documents: Annotated[
        list[Path] | None, typer.Option("--documents", help="A file or folder of documents.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="The writer; templates and format need none.")
    ] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Records wanted.")] = 100,
    lang: Annotated[Lang | None, typer.Option("--lang", help="Only this; else both.")] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option("--evaluation", help="Weak topics get more: its folder, or a scores file."),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show the shares and stop.")] = False,
    max_requests: Annotated[
        int | None,
        typer.Option("--max-requests", min=1, help="Requests at most, retries too; 4 a record."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1)] = 8,
    set_: Set = None,
    runs: Runs = DEFAULT_RUNS,
    json_: AsJson = False,
) -> None:
    """Make instructions, with or without a writer model; each says what it was made from.

    Replies are kept in a file beside OUT as they come: a command that was stopped, or whose budget
    ran out, goes on where it was. --set takes WriteSettings of the recipe reference, such as
    sampling.temperature=0.7.
    """
    from burnish.selection.writing import WriteSettings
    from burnish.stages import writing

    if out_ is not None:
        refuse_existing(out_)
    elif not plan:
        raise InputError(Problem("", None, "--out", "not given", "a file, or --plan to look first"))
    settings = settings_from(WriteSettings, {"count": count, "max_requests": max_requests}, set_)
    sources = _sources(topics, seeds, documents)
    langs: list[Language] = [lang.value] if lang else ["en", "zh"]
    form = method is MethodName.formats
    origins = writing.origins("language" if form else method, sources, langs)
    plain = method is MethodName.templates and model is None
    paths = [evaluation] if evaluation else []
    shares = writing.shares(origins, paths, settings.count, writing.LEAST_SHARE, once=plain)
    if plan or not json_:
        _show_plan(shares, json_)
    if plan or out_ is None:
        return
    if plain or form:
        _without_writer(origins, shares, form, seed, out_, json_)
        return
    if model is None:
        expected = "a model folder or name, or the address of a served model"
        raise InputError(Problem("", None, "--model", f"{method} needs a writer", expected))
    journal = out_.with_name(f".{out_.name}.replies")
    writer = {"ref": resolve_model(model, runs), "journal": journal, "concurrency": concurrency}
    records, report = _written(method, origins, shares, writer, settings, seed, quiet=json_)
    _finish(records, report, shares, out_, journal, json_)


def _sources(
    topics: Sequence[Path] | None, seeds: Sequence[Path] | None, documents: Sequence[Path] | None
) -> Sources:
    from burnish.records import Document
    from burnish.selection import instructions
    from burnish.stages.writing import Sources
    from burnish.store import tables

    found: dict[RecordKind, list[Any]] = {RecordKind.prompt: [], RecordKind.example: []}
    for file in seeds or []:
        kind, records, problems = read(file, None)
        if kind not in found:
            expected = "expected prompts or examples"
            raise InputError(Problem(str(file), None, "--seeds", f"holds {kind} records", expected))
        if problems:
            raise InputError(problems[:MOST_PROBLEMS])
        found[kind] += records
    texts = [one for path in documents or [] for one in tables.read(path, Document)]
    files = [instructions.load(path) for path in topics or []]
    return Sources(files, found[RecordKind.prompt], found[RecordKind.example], texts)


def _show_plan(shares: Sequence[Share], json_: bool) -> None:
    """Each topic with its last score, its share and its count."""
    if json_:
        print_json({"plan": [asdict(share) for share in shares]})
        return
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("topic")
    for column in ("last score", "share", "count"):
        table.add_column(column, justify="right")
    for one in shares:
        score = one.score
        shown = f"{score.value:.2f} [{score.low:.2f}, {score.high:.2f}]" if score else "not known"
        table.add_row(one.topic or "all", shown, f"{one.share:.1%}", str(one.count))
    out.print(table)


def _without_writer(
    origins: dict[str, list[Any]],
    shares: Sequence[Share],
    form: bool,
    seed: int,
    out_: Path,
    json_: bool,
) -> None:
    """Formats demanded of prompts, or templates filled in."""
    from burnish.selection.augment import format_variants
    from burnish.selection.instructions import make_counted
    from burnish.store import tables

    counts = {share.topic: share.count for share in shares}
    if form:
        made = [one for t, own in origins.items() for one in format_variants(own, counts[t], seed)]
    else:
        made = make_counted(origins, counts, seed)
    if not made:
        raise InputError(Problem(str(out_), None, "", "nothing could be made", "other seeds"))
    tables.write(out_, made)
    if json_:
        plan = [asdict(share) for share in shares]
        print_json({"out": str(out_), "plan": plan, "usable": len(made)})
    else:
        say(f"wrote {len(made)} records to {out_}")


def _written(
    method: str,
    origins: dict[str, list[Any]],
    shares: Sequence[Share],
    writer: dict[str, Any],
    settings: WriteSettings,
    seed: int,
    quiet: bool,
) -> tuple[Sequence[Record], Report]:
    from burnish.sampling import EndpointSettings
    from burnish.selection.writing import write
    from burnish.stages.replying import journalled
    from burnish.stages.writing import telling

    bars = progress(quiet)
    endpoint = EndpointSettings(concurrency=writer["concurrency"])
    most = settings.budget
    model = journalled(writer["ref"], writer["journal"], endpoint, max_requests=most)
    counts = {share.topic: share.count for share in shares}
    with bars.task(method, sum(counts.values())) as bar:
        return write(
            method, origins, counts, model.sampler, settings, seed, fits=model.fits,
            told=telling(bar),
        )  # fmt: skip


def _finish(
    records: Sequence[Record],
    report: Report,
    shares: Sequence[Share],
    out_: Path,
    journal: Path,
    json_: bool,
) -> None:
    """Write the records and say what came of the replies; the journal goes when all is done."""
    from burnish.store import tables

    if records:
        tables.write(out_, records)
    if report.stopped == "enough":
        journal.unlink(missing_ok=True)
    if json_:
        plan = [asdict(share) for share in shares]
        print_json({"out": str(out_) if records else None, "plan": plan, **report.details()})
    else:
        _show(report)
    if not records:
        found = f"none of {report.requests} replies was usable"
        raise InputError(Problem(str(out_), None, "", found, "a model that can follow the forms"))
    if not json_:
        say(f"wrote {len(records)} records to {out_}")
        if report.stopped == "budget":
            say(
                f"the budget of {report.requests} replies ran out; they are kept in {journal}: "
                f"remove {out_} and give a larger --max-requests to go on"
            )


def _show(report: Report) -> None:
    details = report.details()
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("replies")
    table.add_column("", justify="right")
    table.add_column("for example")
    share = f"{report.usable / report.requests:.0%}" if report.requests else ""
    table.add_row("usable", f"{report.usable} of {report.requests} {share}", "")
    for reason, rejected in details["rejected"].items():
        shown = rejected["examples"][0]["reply"].replace("\n", " ")[:LONGEST]
        table.add_row(reason, str(rejected["count"]), shown)
    out.print(table)
