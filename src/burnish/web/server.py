"""A server for the site, which ends its streams when it is told to stop."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from types import FrameType

import uvicorn

from burnish.serve.server import configured, host_names
from burnish.web.app import make_app
from burnish.web.site import Site

DRAIN_SECONDS = 5


class SiteServer(uvicorn.Server):
    """Serves a site; ``ready`` is called once it listens."""

    def __init__(self, config: uvicorn.Config, site: Site, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self.site, self.ready = site, ready

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, and let go of everything at the end."""
        try:
            await super().serve(sockets)
        finally:
            await self.site.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what streams, then all else."""
        self.site.stopping.set()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal lets requests end, the second does not."""
        self.force_exit = self.should_exit
        self.should_exit = True


def make_server(
    site: Site,
    listener: socket.socket,
    names: Iterable[str] = (),
    ready: Callable[[], object] = lambda: None,
) -> SiteServer:
    """A server to be run with ``run([listener])``, which returns when a signal came.

    Args:
        listener: see ``burnish.serve.server.listen``.
        names: what the server is called besides ``localhost`` and its address.
        ready: called once requests are taken.
    """
    app = make_app(site, host_names(listener, names))
    return SiteServer(configured(app, DRAIN_SECONDS), site, ready)
