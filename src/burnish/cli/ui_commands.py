"""``ui``: the web application."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Annotated

import typer
from rich.panel import Panel

from burnish.cli.serve_commands import Host, Names, Port, Public, TokenFile
from burnish.cli.shared import DEFAULT_RUNS, AsJson, example, out, print_json, say
from burnish.config.optional import needed

TOKEN = "BURNISH_UI_TOKEN"  # noqa: S105 the name of a variable


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command(epilog=example("burnish ui", "burnish ui /data/runs --port 9000"))(ui)


def ui(
    runs: Annotated[Path, typer.Argument(help="Folder that holds all runs.")] = DEFAULT_RUNS,
    port: Port = 8600,
    host: Host = "127.0.0.1",
    public: Public = False,
    name: Names = None,
    token_file: TokenFile = None,
    json_: AsJson = False,
) -> None:
    """Open the web application: runs as they go, data, comparisons, models, chat.

    It ends with Ctrl-C or SIGTERM. The printed link logs a browser in. The token stands in
    --token-file or in the variable BURNISH_UI_TOKEN; else a new one is made.
    """
    needed("serve", "fastapi", "uvicorn", "prometheus_client")
    from burnish.serve.server import check_address, listen, read_token, url_of
    from burnish.web.server import make_server
    from burnish.web.site import Site

    given = read_token(token_file) if token_file else os.environ.get(TOKEN)
    token = given or secrets.token_urlsafe(24)
    check_address(host, public, token)
    with listen(host, port) as listener:
        number = listener.getsockname()[1]
        url = f"{url_of(host, listener)}/"
        link = url if given else f"{url}login#{token}"

        def ready() -> None:
            if json_:
                print_json({"url": url, "link": link})
                return
            out.print(Panel(link, title="burnish ui", title_align="left", expand=False))
            say("stop     Ctrl-C", style="dim")

        make_server(Site(runs.absolute(), token, number), listener, name or (), ready).run(
            [listener]
        )
