"""The champion, ready to reply: loaded when it is first asked, changed when another is promoted."""

from __future__ import annotations

import asyncio
from pathlib import Path

from burnish.config import InputError, Problem
from burnish.serve.arms import Arms, Place, Served
from burnish.serve.feedback import Book
from burnish.serve.service import Service
from burnish.serve.settings import ServeSettings
from burnish.store.registry import Registry

ALIAS = "champion"


class Champion:
    """The model in use of a registry as a service; use it from one event loop."""

    def __init__(self, registry: Path, settings: ServeSettings | None = None) -> None:
        self.registry = registry
        self.settings = settings or ServeSettings()
        self._starting = asyncio.Lock()
        self._service: Service | None = None
        self._watching: asyncio.Task[None] | None = None

    def locate(self) -> Place:
        """Where the champion lies now.

        Raises:
            InputError: there is none.
        """
        if self.registry.is_file():
            with Registry(self.registry) as registry:
                ref = registry.alias(ALIAS)
                if ref is not None:
                    return Place(registry.get(ref).path, ref)
        expected = "a gate or `burnish models promote` makes one"
        raise InputError(Problem("", None, "", "there is no champion yet", expected))

    async def service(self) -> Service:
        """The service of the champion; the first who asks waits until it is loaded.

        Raises:
            InputError: there is none, or it cannot be loaded.
        """
        async with self._starting:
            if self._service is None:
                arms = Arms([Served(ALIAS, 1.0, self.locate)], self.settings)
                await arms.start()
                self._service = Service(arms, self.settings, Book(self.registry))
                self._watching = asyncio.create_task(arms.watch(self.settings.watch_seconds))
            return self._service

    async def close(self) -> None:
        """End what runs, and finish writing."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        if self._service is not None:
            await self._service.close(now=True)
