"""What every stage is given and what it gives back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from burnish.config import InputError, Problem, Settings
from burnish.engine import Progress
from burnish.records import Figure
from burnish.sampling import EndpointSettings

Kind = Literal["model", "reward_model", "data", "report"]


@dataclass(frozen=True)
class Context:
    """Where a stage works and what it may use.

    ``output`` is a fresh folder that becomes the artifact when the stage returns; ``scratch``
    survives an interruption (step checkpoints live there) and is removed after success; ``cache``
    belongs to the whole run and holds what can be computed again, but need not be.
    ``seed`` is already derived from the recipe's seed, the stage's name and the round.
    ``endpoint`` says how served models are asked.
    """

    name: str
    round: int
    seed: int
    output: Path
    scratch: Path
    cache: Path
    metrics: Path
    registry: Path
    progress: Progress
    device: str = "auto"
    endpoint: EndpointSettings = field(default_factory=EndpointSettings)

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self.metrics.parent


@dataclass(frozen=True)
class Outcome:
    """What a stage made: figures with intervals, and details (JSON) for report and records."""

    kind: Kind
    figures: Mapping[str, Figure] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Inputs:
    """The resolved references of a stage's settings, by the dotted path of the field."""

    resolved: Mapping[str, Sequence[str]]

    def _found(self, name: str) -> list[str]:
        below = f"{name}."
        return [
            item
            for key, items in self.resolved.items()
            if key == name or key.startswith(below)
            for item in items
        ]

    def model(self, name: str) -> str:
        """The one model a field refers to: a folder, a shipped name or a hub id."""
        found = self._found(name)
        if len(found) != 1:
            raise InputError(Problem("", None, name, f"found {len(found)} models", "expected one"))
        return found[0]

    def models(self, name: str) -> list[str]:
        """The models a field refers to, in order."""
        return self._found(name)

    def optional_model(self, name: str) -> str | None:
        """The model a field refers to, or None where it was left empty."""
        found = self._found(name)
        return found[0] if found else None

    def paths(self, name: str) -> list[Path]:
        """The data files a field (or what is nested in it) refers to, in order."""
        return [Path(item) for item in self._found(name)]

    def path(self, name: str) -> Path:
        """The one data file a field refers to."""
        found = self.paths(name)
        if len(found) != 1:
            raise InputError(Problem("", None, name, f"found {len(found)} files", "expected one"))
        return found[0]


class StageModule(Protocol):
    """A stage file: ``Config`` and ``run``.

    Where a setting of type ``SamplerRef`` may name a served model, ``needs_weights(config)`` gives
    the settings that such a model cannot serve: ``{dotted path: why}``.
    """

    Config: type[Settings]

    def run(self, config: Any, inputs: Inputs, context: Context) -> Outcome:
        """Do the work; write files into ``context.output``."""
        ...


def derived_seed(*parts: object) -> int:
    """A 31-bit seed that depends on every part and on nothing else."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
