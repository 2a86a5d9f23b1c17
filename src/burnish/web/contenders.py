"""Models that people compare: which there are, and those that are loaded now."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from burnish.loop.status import run_folders
from burnish.serve.arms import Arms, Place, Served
from burnish.serve.feedback import Book
from burnish.serve.service import Service
from burnish.serve.settings import ServeSettings
from burnish.store.artifacts import ArtifactStore
from burnish.store.registry import Registry

MOST_LOADED = 4
ALONE = "model"
"""What each service calls its one model: nothing that a request or an answer tells a reader."""


@dataclass(frozen=True)
class Contender:
    """A model by the name it is chosen by."""

    name: str
    path: Path


def contenders(runs: Path, registry: Path) -> list[Contender]:
    """Registered models by ref, then the runs' other ones as ``RUN/REF``, then model folders."""
    found: dict[Path, str] = {}
    if registry.is_file():
        with Registry(registry) as known:
            for entry in reversed(known.entries()):
                if entry.kind == "model" and Path(entry.path).is_dir():
                    found.setdefault(Path(entry.path).resolve(), entry.ref)
    for run in run_folders(runs):
        for made in ArtifactStore(run).list():
            if made.kind == "model":
                found.setdefault(made.path.resolve(), f"{run.name}/{made.ref}")
    for config in sorted([*runs.glob("*/config.json"), *runs.glob("*/*/config.json")]):
        if any(config.parent.glob("*.safetensors")):
            found.setdefault(config.parent.resolve(), str(config.parent.relative_to(runs)))
    return [Contender(name, path) for path, name in found.items()]


class Contenders:
    """The models that were asked last as services, a few at a time; use it from one event loop."""

    def __init__(self, registry: Path, settings: ServeSettings | None = None) -> None:
        self.registry = registry
        # A duel remembers its replies itself.
        self.settings = settings or ServeSettings(keep=False)
        self._changing = asyncio.Lock()
        self._loaded: OrderedDict[Path, Service] = OrderedDict()

    async def service(self, contender: Contender) -> Service:
        """The service of a model; where too many are loaded, the one not asked longest goes.

        Raises:
            InputError: it cannot be loaded.
        """
        async with self._changing:
            if contender.path not in self._loaded:
                self._loaded[contender.path] = await self._started(contender)
            self._loaded.move_to_end(contender.path)
            while len(self._loaded) > MOST_LOADED:
                _, oldest = self._loaded.popitem(last=False)
                await oldest.close(now=False)
            return self._loaded[contender.path]

    async def _started(self, contender: Contender) -> Service:
        place = Place(str(contender.path), contender.name)
        arms = Arms([Served(ALONE, 1.0, lambda: place)], self.settings)
        await arms.start()
        return Service(arms, self.settings, Book(self.registry))

    async def close(self) -> None:
        """End what runs."""
        while self._loaded:
            _, service = self._loaded.popitem()
            await service.close(now=True)
