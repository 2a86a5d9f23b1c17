"""A server that listens, and ends as it should."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType

import uvicorn

from burnish.config import InputError, Problem
from burnish.serve.app import make_app
from burnish.serve.security import LOOPBACK, Guard, is_loopback
from burnish.serve.service import Service

KEEP_ALIVE_SECONDS = 15
CONNECTIONS = 2048
TOKEN_LENGTH = 16


class DrainingServer(uvicorn.Server):
    """Lets what runs end when it is told to stop, and takes nothing new. A second signal ends it.

    Args:
        service: what it serves.
        ready: called once it listens.
    """

    def __init__(
        self, config: uvicorn.Config, service: Service, ready: Callable[[], object]
    ) -> None:
        super().__init__(config)
        self.service, self.ready = service, ready

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Load the models, serve, and close all.

        Raises:
            InputError: a model cannot be loaded.
        """
        await self.service.arms.start()
        watching = asyncio.create_task(self.service.arms.watch(self.service.settings.watch_seconds))
        try:
            await super().serve(sockets)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await self.service.close(now=self.force_exit)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self.ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal lets requests end, the second does not."""
        self.service.draining = True
        self.force_exit = self.should_exit
        self.should_exit = True


def check_address(host: str, everywhere: bool, token: str | None) -> None:
    """Raise InputError for an address that others reach without having been asked for, or without
    a token (S-12)."""
    if token is not None and (len(token) < TOKEN_LENGTH or not token.isascii()):
        found = "a token that can be guessed"
        raise InputError(Problem("", None, "token", found, f"{TOKEN_LENGTH} ASCII characters"))
    if is_loopback(host):
        return
    if not everywhere:
        found = f"{host} is reached from other machines"
        raise InputError(Problem("", None, "--host", found, "say so with --public"))
    if token is None:
        found = "no token, on an address that other machines reach"
        raise InputError(Problem("", None, "--no-token", found, "leave it out"))


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one.

    Raises:
        InputError: the address cannot be had.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=CONNECTIONS)
    except OSError as error:
        found = f"{host}:{port}: {(error.strerror or str(error)).lower()}"
        raise InputError(Problem("", None, "--port", found, "another one, or 0")) from None


def url_of(host: str, listener: socket.socket) -> str:
    """``http://HOST:PORT`` of a listener."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"


def make_server(
    service: Service,
    listener: socket.socket,
    token: str | None,
    names: Iterable[str] = (),
    ready: Callable[[], object] = lambda: None,
) -> DrainingServer:
    """A server to be run with ``run([listener])``, which returns when a signal came and what ran
    has ended.

    Args:
        listener: see ``listen``.
        names: what the server is called besides ``localhost`` and its address.
        ready: called once models are loaded and requests are taken.
    """
    app = make_app(service, token, host_names(listener, names))
    return DrainingServer(configured(app, service.settings.drain_seconds), service, ready)


def host_names(listener: socket.socket, names: Iterable[str]) -> frozenset[str]:
    """What a server may be called: ``localhost``, its address, and ``names``."""
    return frozenset({*LOOPBACK, listener.getsockname()[0], *(name.lower() for name in names)})


def configured(app: Guard, drain_seconds: int) -> uvicorn.Config:
    """How every server here runs: no websockets, no word of itself, bounded in all it takes on."""
    return uvicorn.Config(
        app,
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=drain_seconds,
        limit_concurrency=CONNECTIONS,
    )


def read_token(path: Path) -> str:
    """The token in a file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise InputError(Problem(str(path), None, "--token-file", reason.lower())) from None
