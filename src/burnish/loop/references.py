"""From the references in a recipe to folders and files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from burnish.config import InputError, Problem, Reference, is_served, references
from burnish.loop.recipe import Recipe, StageCall
from burnish.models import load
from burnish.sampling import address
from burnish.stages import catalog
from burnish.stages.base import Inputs
from burnish.store.artifacts import Input, content_fingerprint

ASSETS = Path(__file__).parent.parent / "assets"
RESERVED = ("base", "champion")


Made = Mapping[str, Path]
"""What a run has made so far: artifact folders by stage name."""


@dataclass(frozen=True)
class Resolved:
    """A stage's inputs with, for each, the reference as written and its fingerprint."""

    inputs: Inputs
    recorded: dict[str, Input]
    parents: tuple[str, ...]


def split(ref: str) -> tuple[str, str]:
    """``"@generate/pairs.jsonl"`` as ``("generate", "pairs.jsonl")``."""
    name, _, inner = ref.removeprefix("@").partition("/")
    return name, inner


def resolve(call: StageCall, recipe: Recipe, made: Made, artifacts: Path) -> Resolved:
    """Resolve every reference of a stage against what the run has made.

    Args:
        artifacts: the folder of the run's own. Only what lies there can be a parent: the champion
            may be the base model still, and is then recorded as such.

    Raises:
        InputError: a reference to nothing, with its place in the recipe.
    """
    resolved: dict[str, list[str]] = {}
    recorded: dict[str, Input] = {}
    parents: list[str] = []
    for path, written, mark in references(call.config):
        key, known_as = ".".join(str(part) for part in path), written
        ref = recipe.header.model if written == "@base" else written
        if ref.startswith("@"):
            name, inner = split(ref)
            if name not in made and mark.last:
                continue
            if name not in made:
                at = (*call.at, *path)
                raise InputError(recipe.problem(at, f"nothing made yet for {written!r}"))
            target = str(made[name] / inner) if inner else str(made[name])
            if made[name].parent == artifacts:
                parents.append(made[name].name)
            else:
                known_as = "@base"
        else:
            target = locate(ref, recipe.file.parent)
        resolved[key] = [target]
        recorded[key] = Input(known_as, fingerprint(target))
    return Resolved(Inputs(resolved), recorded, tuple(dict.fromkeys(parents)))


def locate(ref: str, beside: Path) -> str:
    """A shipped file, a path beside the recipe or below here, or a model's name as it is."""
    if ref.startswith("burnish:"):
        return str(ASSETS / ref.removeprefix("burnish:"))
    for path in (beside / ref, Path(ref)):
        if path.exists():
            return str(path.resolve())
    return ref


def missing(ref: str, beside: Path, *, model: bool) -> list[str]:
    """Why a reference that is not an artifact leads nowhere; empty where it is fine."""
    target = locate(ref, beside)
    if not model:
        return [] if Path(target).exists() else [f"no such file: {ref}"]
    try:
        if is_served(ref):
            address.api_key(address.parse(ref))
        else:
            load.locate(target)
    except InputError as error:
        return [str(problem) for problem in error.problems]
    return []


def fingerprint(target: str) -> str:
    """A hash of the content of a file or folder; a name that is no path stands for itself.

    So does the address of a served model: nobody can tell what is behind it.
    """
    return content_fingerprint(target) if Path(target).exists() else f"name:{target}"


def problem_of(call: StageCall, recipe: Recipe, known: set[str]) -> list[Problem]:
    """What is wrong with a stage's references before anything has run."""
    found = []
    for path, ref, mark in references(call.config):
        at = (*call.at, *path)
        if is_served(recipe.header.model if ref == "@base" else ref):
            found += _served_problems(call, recipe, path, mark)
        if ref.startswith("@"):
            name = split(ref)[0]
            there = known | {later.name for later in recipe.round if mark.last}
            if name not in there:
                expected = f"expected one of {', '.join('@' + item for item in sorted(there))}"
                found.append(recipe.problem(at, f"{ref!r} names no earlier stage", expected))
        else:
            reasons = missing(ref, recipe.file.parent, model=mark.kind == "model")
            found += [recipe.problem(at, reason) for reason in reasons]
    return found


def _served_problems(
    call: StageCall, recipe: Recipe, path: tuple[str | int, ...], mark: Reference
) -> list[Problem]:
    """What a stage wants of a served ``model`` besides replies; of another, such as a judge, it
    wants nothing else."""
    if not mark.served:
        expected = "expected a model folder or name: a served model gives replies, not weights"
        return [recipe.problem((*call.at, *path), "found a served model", expected)]
    ask = getattr(catalog.find(call.run), "needs_weights", None)
    needs: dict[str, str] = ask(call.config) if ask and path == ("model",) else {}
    expected = "leave it out: a served model gives no log-probabilities of given tokens"
    return [
        recipe.problem((*call.at, *field.split(".")), f"{why}, and {path[0]} is served", expected)
        for field, why in needs.items()
    ]
