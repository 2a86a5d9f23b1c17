"""A recipe: the typed list of stages that a run goes through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from burnish.config import InputError, Problem, Settings
from burnish.config.yamlfile import KeyPath, dotted, line_of, load_yaml, parse
from burnish.loop.budget import Budget
from burnish.loop.inputs import fill
from burnish.sampling import EndpointSettings
from burnish.stages import catalog


class Rounds(Settings):
    """How often the ``round`` stages run, and from which model.

    ``champion`` is the model before the first round. The loop stops after ``patience`` rounds
    in a row whose measured gain over the champion is below ``min_gain``.
    """

    count: int = 1
    champion: str = "@base"
    patience: int = 2
    min_gain: float = 0.01


class Header(Settings):
    """The top of a recipe; the stages are parsed apart, each by its own settings.

    ``endpoint`` is for served models, where ``model`` or a stage names one. ``inputs`` are what a
    recipe leaves to its user, files or a name each: ``$name`` in ``model`` or a stage stands for
    them. One that is null must be given, and ``asks`` says what for; ``[]`` leaves it out.
    """

    name: str
    model: str
    about: str = ""
    seed: int = 0
    device: str = "auto"
    inputs: dict[str, str | list[str] | None] = {}
    asks: dict[str, str] = {}
    endpoint: EndpointSettings = EndpointSettings()
    prepare: dict[str, dict[str, Any]] = {}
    round: dict[str, dict[str, Any]] = {}
    rounds: Rounds = Rounds()
    budget: Budget = Budget()
    figures: dict[str, str] = {}


@dataclass(frozen=True)
class StageCall:
    """One stage of a recipe: the artifact's name, the stage's name and its settings."""

    name: str
    run: str
    config: Settings
    at: KeyPath


@dataclass(frozen=True)
class Recipe:
    """A parsed recipe. ``source`` is the resolved document that a run folder keeps."""

    header: Header
    prepare: tuple[StageCall, ...]
    round: tuple[StageCall, ...]
    file: Path
    lines: dict[KeyPath, int] = field(repr=False)
    source: dict[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        """The run's folder name: the recipe's name, with the seed where it is not 0."""
        seed = self.header.seed
        return self.header.name if seed == 0 else f"{self.header.name}-seed{seed}"

    def stages(self) -> tuple[StageCall, ...]:
        """Every stage in order, the round's once."""
        return (*self.prepare, *self.round)

    def problem(self, at: KeyPath, found: str, expected: str = "") -> Problem:
        """A problem at a place in this recipe's file."""
        return Problem(str(self.file), line_of(at, self.lines), dotted(at), found, expected)

    def to_yaml(self) -> str:
        """The recipe with every default filled in."""
        return yaml.safe_dump(self.source, sort_keys=False, allow_unicode=True)


def load(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Parse and validate a recipe file.

    ``overrides`` are ``key.path=value`` items (values in YAML) set before validation.

    Raises:
        InputError: with file, line and field of everything that is wrong.
    """
    value, lines = load_yaml(path)
    if not isinstance(value, dict):
        raise InputError(Problem(str(path), 1, "", f"found {type(value).__name__}", "a mapping"))
    for item in overrides:
        override(value, item)
    return from_value(value, path, lines)


def from_value(value: dict[str, Any], file: Path, lines: dict[KeyPath, int]) -> Recipe:
    """Validate a recipe given as a plain mapping (from YAML or built in Python)."""
    value = fill(value, file, lines)
    header = parse(Header, value, file=str(file), lines=lines)
    problems: list[Problem] = []
    prepare = _calls("prepare", header.prepare, file, lines, problems)
    rounds = _calls("round", header.round, file, lines, problems)
    for name in header.prepare.keys() & header.round.keys():
        place = line_of(("round", name), lines)
        problems.append(Problem(str(file), place, f"round.{name}", "name also used in prepare"))
    if not header.prepare and not header.round:
        problems.append(Problem(str(file), None, "prepare", "the recipe has no stages"))
    if problems:
        raise InputError(problems)
    source = header.model_dump(mode="json")
    for group, calls in (("prepare", prepare), ("round", rounds)):
        source[group] = {c.name: {"run": c.run, **c.config.model_dump(mode="json")} for c in calls}
    return Recipe(header, prepare, rounds, file, lines, source)


def _calls(
    group: str,
    stages: dict[str, dict[str, Any]],
    file: Path,
    lines: dict[KeyPath, int],
    problems: list[Problem],
) -> tuple[StageCall, ...]:
    calls = []
    for name, body in stages.items():
        at: KeyPath = (group, name)
        settings = dict(body)
        run = settings.pop("run", None)
        if run not in catalog.names():
            found = "required key is missing" if run is None else f"unknown stage {run!r}"
            expected = f"expected one of {', '.join(catalog.names())}"
            field_name = f"{group}.{name}.run"
            place = line_of((*at, "run"), lines)
            problems.append(Problem(str(file), place, field_name, found, expected))
            continue
        try:
            config = parse(catalog.find(run).Config, settings, file=str(file), lines=lines, at=at)
        except InputError as error:
            problems.extend(error.problems)
            continue
        calls.append(StageCall(name, run, config, at))
    return tuple(calls)


def override(value: dict[str, Any], item: str) -> None:
    """Apply one ``a.b=c``; a path that leads nowhere is caught by validation as unknown key.

    Raises:
        InputError: the item has another form.
    """
    key, equals, text = item.partition("=")
    if not equals or not key:
        raise InputError(Problem("--set", None, item, "no '='", "expected key.path=value"))
    *parents, last = key.split(".")
    place: Any = value
    for part in parents:
        if not isinstance(place, dict):
            raise InputError(Problem("--set", None, key, f"nothing can be set below {part!r}"))
        place = place.setdefault(part, {})
    if not isinstance(place, dict):
        raise InputError(Problem("--set", None, key, f"{'.'.join(parents)} is not a mapping"))
    try:
        place[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(Problem("--set", None, key, f"value is not valid YAML: {error}")) from None
