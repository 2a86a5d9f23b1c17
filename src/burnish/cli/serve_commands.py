"""``serve`` and ``feedback``: models behind an address, and what people say about their replies."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.panel import Panel
from rich.table import Table

from burnish.cli.model_commands import DraftModel
from burnish.cli.models.opening import open_registry
from burnish.cli.models_of import located
from burnish.cli.shared import DEFAULT_RUNS, AsJson, Runs, Set, example, out, print_json, say
from burnish.config import InputError, Problem, is_served
from burnish.config.optional import needed

TOKEN = "BURNISH_SERVE_TOKEN"  # noqa: S105 the name of a variable

Models = Annotated[
    list[str],
    typer.Argument(help="Runs, folders, GGUF files, aliases, shipped names; http://host/v1#name."),
]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any free one.")]
Host = Annotated[str, typer.Option("--host", help="The address to listen on.")]
Public = Annotated[bool, typer.Option("--public", help="Allow an address that others reach.")]
Names = Annotated[
    list[str] | None, typer.Option("--name", help="A host name it is reached by (repeatable).")
]
Split = Annotated[str | None, typer.Option("--split", help="Shares of the users, such as 0.9,0.1.")]
Routed = Annotated[
    Path | None,
    typer.Option("--router", help="Send each request to one of the models, as this router says."),
]
TokenFile = Annotated[Path | None, typer.Option("--token-file", help="A file with the token.")]
NoToken = Annotated[bool, typer.Option("--no-token", help="Let every program on this machine in.")]


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command(
        epilog=example(
            "burnish serve quickstart",
            "burnish serve champion burnish-tiny --split 0.9,0.1 --port 8001",
            "burnish serve models/small models/large --router routers/mine",
            "burnish serve quickstart --draft models/small",
            "burnish serve exported/gguf-q8_0",
            "burnish serve champion http://127.0.0.1:8080/v1#qwen --split 0.9,0.1",
        )
    )(serve)
    app.command(epilog=example("burnish feedback --out feedback.jsonl"))(feedback)


def serve(
    models: Models,
    port: Port = 8000,
    host: Host = "127.0.0.1",
    public: Public = False,
    name: Names = None,
    split: Split = None,
    router: Routed = None,
    token_file: TokenFile = None,
    no_token: NoToken = False,
    draft: DraftModel = None,
    set_: Set = None,
    runs: Runs = DEFAULT_RUNS,
    json_: AsJson = False,
) -> None:
    """Serve models over an OpenAI-compatible API, until Ctrl-C or SIGTERM.

    Of a run its champion is served, and the next one as soon as it is promoted. A GGUF file, or a
    folder that burnish export wrote, is served in its own runtime. A model on another server is
    named by its address. Requests for the model "burnish" are divided by user, or routed
    by what they ask; the header X-Burnish-Arm says who answered. A --draft goes ahead of all
    models, as many tokens as --set ahead=4 says. The token stands in --token-file or in the
    variable BURNISH_SERVE_TOKEN; else a new one is made and shown once.
    """
    needed("serve", "fastapi", "uvicorn", "prometheus_client")
    from transformers.utils import logging

    from burnish.cli.shared import settings_from
    from burnish.sampling.address import parse
    from burnish.serve.arms import Arms, Place, Served, shares
    from burnish.serve.feedback import Book
    from burnish.serve.server import check_address, listen, make_server, read_token, url_of
    from burnish.serve.service import Service
    from burnish.serve.settings import ServeSettings

    # A model on another server has its name there.
    names = [parse(model).model if is_served(model) else model for model in models]
    if draft is not None and names != models:
        found = "a draft model beside one that is served elsewhere"
        raise InputError(Problem("", None, "--draft", found, "models with weights here"))
    logging.disable_progress_bar()
    settings = settings_from(ServeSettings, {}, set_)
    parts = shares(names, split)
    route = None if router is None else _route(router, dict(zip(models, names, strict=True)), split)
    given = read_token(token_file) if token_file else os.environ.get(TOKEN)
    token = None if no_token else given or secrets.token_urlsafe(24)
    check_address(host, public, token)

    def place_of(model: str, name: str) -> Place:
        return Place(model, name) if is_served(model) else Place(*located(model, runs))

    helper = None if draft is None else place_of(draft, draft).path
    served = [
        Served(name, share, partial(place_of, model, name), helper)
        for model, name, share in zip(models, names, parts, strict=True)
    ]
    service = Service(Arms(served, settings, route), settings, Book(runs / "registry.sqlite"))
    with listen(host, port) as listener:
        url = f"{url_of(host, listener)}/v1"

        def ready() -> None:
            refs = [arm.engine.ref for arm in service.arms.all]
            shown = token if given is None else None
            if json_:
                print_json(
                    {"url": url, "token": shown, "models": dict(zip(names, refs, strict=True))}
                )
            else:
                _welcome(url, shown, no_token, dict(zip(names, parts, strict=True)), refs, router)

        make_server(service, listener, token, name or (), ready).run([listener])
    if not json_:
        say("stopped; what was under way has ended", style="dim")


def _route(folder: Path, models: dict[str, str], split: str | None) -> Callable[[str], str]:
    """The router over these models; it says their names here."""
    from burnish.routing.router import read

    if split is not None:
        raise InputError(Problem("", None, "--split", "given with --router", "one of the two"))
    found = read(folder)
    if set(found.models) != set(models):
        said, expected = f"routes between {', '.join(found.models)}", f"{', '.join(models)}"
        raise InputError(Problem(str(folder), None, "--router", said, expected))
    found("")  # loads the encoder, so that the first request does not wait for it
    return lambda text: models[found(text)]


def _welcome(
    url: str,
    token: str | None,
    no_token: bool,
    parts: dict[str, float],
    refs: list[str],
    router: Path | None,
) -> None:
    """What a person sees when the server is up."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for (model, share), ref in zip(parts.items(), refs, strict=True):
        part = f"{share / sum(parts.values()):.0%} of users" if len(parts) > 1 else ""
        part = part if router is None else f"as {router} routes"
        table.add_row(model, "" if ref == model else f"→ {ref}", part)
    out.print(Panel(table, title=f"burnish serves {url}", title_align="left", expand=False))
    if token:
        say(f"token    {token}   (shown once)")
    elif no_token:
        say("token    none: any program on this machine may ask", style="yellow")
    else:
        say("token    as given")
    bearer = "" if no_token else f'-H "Authorization: Bearer {token or "$" + TOKEN}" '
    kind = "-H 'Content-Type: application/json'"
    body = '{"model": "burnish", "messages": [{"role": "user", "content": "Hello"}]}'
    say(f"try      curl {url}/chat/completions {bearer}{kind} -d '{body}'")
    say("stop     Ctrl-C; what is under way ends first", style="dim")


def feedback(
    out_: Annotated[Path | None, typer.Option("--out", help="File for the records.")] = None,
    kind: Annotated[str, typer.Option("--kind", help="feedback (thumbs) or preference.")] = (
        "feedback"
    ),
    arm: Annotated[str | None, typer.Option("--arm", help="Only on replies of this model.")] = None,
    runs: Runs = DEFAULT_RUNS,
    json_: AsJson = False,
) -> None:
    """Count what people said about served replies, and write it as records to train on.

    Thumbs become Feedback records, which fit.kto reads; better answers become preferences.
    """
    from burnish.serve.feedback import KINDS_STORED, records, tally
    from burnish.store import tables

    if kind not in KINDS_STORED:
        expected = f"one of {', '.join(KINDS_STORED)}"
        raise InputError(Problem("", None, "--kind", f"found {kind!r}", expected))
    with open_registry(runs) as registry:
        counts = tally(registry)
        chosen = list(records(registry, kind, arm)) if out_ is not None else []
    if out_ is not None:
        tables.write(out_, chosen)
    if json_:
        print_json({"arms": counts, "written": len(chosen)})
        return
    table = Table("model", "up", "down", "better answers")
    for label, row in counts.items():
        table.add_row(label, *(str(row[column]) for column in ("up", "down", "better")))
    out.print(table)
    if out_ is not None:
        say(f"wrote {len(chosen)} {kind} records to {out_}")
