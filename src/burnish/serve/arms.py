"""The models that are served: which one a user gets, and the change to a new champion."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from burnish.config import BurnishError, InputError, Problem, is_served
from burnish.config.optional import needed
from burnish.exporting.forms import FILES
from burnish.exporting.onnx_model import load_onnx
from burnish.models.load import Loaded, load_model
from burnish.sampling import draft_of
from burnish.serve.engine import Engine, Model
from burnish.serve.llama import opened
from burnish.serve.settings import ServeSettings
from burnish.serve.upstream import Upstream
from burnish.store import manifest

log = logging.getLogger(__name__)

GGUF = ".gguf"
ANY = "burnish"
"""The name under which users are divided among the models, or requests routed to one."""


@dataclass(frozen=True)
class Place:
    """Where a model's weights are now, or its address; and what it is called (``ppo@2``)."""

    path: str
    ref: str


@dataclass(frozen=True)
class Served:
    """A model to serve: its name, its share of the users, and where its weights are now.

    ``draft``: the folder or name of a model that goes ahead of it.
    """

    name: str
    share: float
    locate: Callable[[], Place]
    draft: str | None = None


class Arm:
    """A served model; ``engine``, or what stands for one, changes when the weights do."""

    def __init__(self, served: Served, settings: ServeSettings) -> None:
        self.served, self.settings = served, settings
        self.name = served.name
        self.engine: Model | Upstream
        self.swaps = 0
        self.failures = 0
        self._place: Place | None = None
        self._old: dict[Model | Upstream, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Load the weights, or look whether the model's own server is there.

        Raises:
            InputError: they cannot be loaded, the draft model does not go with them, or the
                address is none.
            CorruptError: they are damaged.
        """
        self._place = await asyncio.to_thread(self.served.locate)
        self.engine = await self._load(self._place)

    async def refresh(self) -> bool:
        """Change to other weights if there are other ones now, or those here cannot answer any
        more; returns whether it did.

        New requests go to them from then on; those that run end where they began. Weights that
        cannot be loaded change nothing, and are not tried again as long as those here answer.
        """
        try:
            place = await asyncio.to_thread(self.served.locate)
            if place == self._place and self.engine.alive:
                return False
            self._place = place
            engine = await self._load(place)
        except (BurnishError, OSError) as error:
            self.failures += 1
            log.error("%s stays as it is: %s", self.name, error)
            return False
        old, self.engine = self.engine, engine
        self.swaps += 1
        log.warning("%s: %s, before %s", self.name, engine.ref, old.ref)
        closing = asyncio.create_task(old.close())
        self._old[old] = closing
        closing.add_done_callback(lambda _: self._old.pop(old))
        return True

    async def close(self, now: bool) -> None:
        """Wait until all that runs has ended, or end it ``now``."""
        engines = [*self._old, self.engine]
        await asyncio.gather(*(engine.close(now) for engine in engines))

    async def _load(self, place: Place) -> Model | Upstream:
        if is_served(place.path):
            upstream = Upstream(place.path, self.settings.batch)
            await upstream.look()
            return upstream
        file = exported(place.path)
        if file is not None and file.suffix == GGUF:
            if self.served.draft is not None:
                found = "a GGUF file, which is decoded by llama.cpp alone"
                raise InputError(Problem(place.path, None, "draft", found, "a model folder"))
            needed("export", "libgguf", "xllamacpp")
            if file != Path(place.path).expanduser():  # a sealed folder
                await asyncio.to_thread(manifest.verify, file.parent)
            return await opened(file, place.ref, self.settings.batch)
        loaded, identity = await asyncio.to_thread(_loaded, place.path, file)
        draft = None
        if self.served.draft is not None:
            helper = await asyncio.to_thread(load_model, self.served.draft)
            draft = draft_of(loaded, helper, self.settings.ahead)
        return Engine(loaded, place.ref, identity, self.settings.batch, draft)


class Arms:
    """All served models.

    Args:
        served: their names differ and their shares are above 0.
        route: the name of the model to ask, from what is asked; users are then not divided.
    """

    def __init__(
        self,
        served: Sequence[Served],
        settings: ServeSettings,
        route: Callable[[str], str] | None = None,
    ) -> None:
        self.route = route
        total = sum(one.share for one in served)
        self.all = [Arm(one, settings) for one in served]
        self._edges = [edge / total for edge in accumulate(one.share for one in served)]
        # Who gets what does not change with the shares more than it must.
        self._salt = "\0".join(one.name for one in served)

    def names(self) -> list[str]:
        """What requests may name as their model."""
        return [ANY, *(arm.name for arm in self.all if arm.name != ANY)]

    def choose(self, model: str, user: str | None) -> Arm | None:
        """The arm of this name; of ``ANY`` the one that ``user`` always gets, one at random where
        there is no user. None: no such model."""
        if model != ANY:
            return next((arm for arm in self.all if arm.name == model), None)
        point = secrets.randbelow(2**64) if user is None else _point(self._salt, user)
        inside = (arm for arm, edge in zip(self.all, self._edges, strict=True)
                  if point < edge * 2**64)  # fmt: skip
        return next(inside, self.all[-1])

    async def routed(self, model: str, text: str) -> str:
        """The model to ask where a request names ``model``: what the router says of ``ANY``."""
        if model != ANY or self.route is None:
            return model
        return await asyncio.to_thread(self.route, text)

    async def start(self) -> None:
        """Load all weights."""
        for arm in self.all:
            await arm.start()

    async def watch(self, seconds: float) -> None:
        """Look for other weights every so often, for ever."""
        while True:
            await asyncio.sleep(seconds)
            for arm in self.all:
                await arm.refresh()

    async def close(self, now: bool) -> None:
        """Wait until all that runs has ended, or end it ``now``."""
        await asyncio.gather(*(arm.close(now) for arm in self.all))


def shares(names: Sequence[str], split: str | None) -> list[float]:
    """Shares of the users from ``"0.9,0.1"``; equal ones where none are given.

    Raises:
        InputError: not as many numbers above 0 as there are models, or two models of one name.
    """
    if len(set(names)) < len(names):
        raise InputError(Problem("", None, "MODEL", "the same model twice", "different ones"))
    parts = ["1"] * len(names) if split is None else split.split(",")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) != len(names) or not all(0 < number < float("inf") for number in numbers):
        expected = f"{len(names)} numbers above 0, with commas between them"
        raise InputError(Problem("", None, "--split", f"found {split!r}", f"expected {expected}"))
    return numbers


def exported(path: str) -> Path | None:
    """The file of an exported model: a GGUF file, or what ``burnish export`` wrote into a folder.

    None: ``path`` is no export.
    """
    place = Path(path).expanduser()
    if place.suffix == GGUF:
        return place
    if (place / "config.json").is_file():
        return None
    return next((file for name in FILES.values() if (file := place / name).is_file()), None)


def _loaded(path: str, file: Path | None) -> tuple[Loaded, str]:
    if file is None:
        loaded = load_model(path)
    else:
        needed("export", "onnxruntime")
        loaded = load_onnx(file.parent)
    return loaded, loaded.identity[:16]


def _point(salt: str, user: str) -> int:
    digest = hashlib.sha256(f"{salt}\0{user}".encode()).digest()
    return int.from_bytes(digest[:8], "big")
