"""Where a registered model came from: artifacts, data, recipe, parents, evaluation, verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from burnish.config import InputError
from burnish.records import Figure
from burnish.store import formats
from burnish.store.artifacts import Artifact, ArtifactStore, content_fingerprint, difference
from burnish.store.errors import CorruptError, StorageError
from burnish.store.names import parse_ref
from burnish.store.registry import Entry, Move, Registry, Verdict

ROWS_READ = 2000
"""Records of a file that are looked at for who wrote and judged them."""
RECORD_FILES = (".jsonl", ".jsonl.gz", ".parquet")
MARKS = ("source", "lang", "tier", "annotator")


@dataclass(frozen=True)
class Given:
    """A file or model from outside that the artifact ``step`` was made from: as it is written in
    the recipe, and its fingerprint."""

    step: str
    field: str
    ref: str
    fingerprint: str


@dataclass(frozen=True)
class Traced:
    """Everything that is known of a registered artifact.

    ``steps``: it and what it was made from, in order of making (those whose folders are gone are
    left out and named in ``lost``). ``figures``: the evaluations of it, by name. ``records``: of
    the data made on the way, how many of the first records of each file say what in ``source``,
    ``lang``, ``tier`` and ``annotator``.
    """

    entry: Entry
    steps: tuple[Artifact, ...]
    lost: tuple[str, ...]
    given: tuple[Given, ...]
    recipe: dict[str, Any]
    figures: dict[str, Figure]
    dimensions: dict[str, str]
    verdicts: tuple[Verdict, ...]
    moves: tuple[Move, ...]
    records: dict[str, dict[str, int]]

    @property
    def base(self) -> str | None:
        """The model that the recipe began with, as it is written there."""
        model = self.recipe.get("model")
        return str(model) if model else None


def trace(registry: Registry, ref: str, alias: str = "champion") -> Traced:
    """Follow ``ref`` (an alias, ``name@version`` or the latest of a name) back to its data.

    Raises:
        InputError: it is not registered.
    """
    entry = registry.get(registry.alias(ref) or ref)
    family = [*registry.lineage(entry.name, entry.version), entry]
    steps, lost = [], []
    for one in family:
        artifact = _artifact(Path(one.path))
        if artifact is None:
            lost.append(one.ref)
        else:
            steps.append(artifact)
    folder = Path(entry.path).parent.parent
    figures, dimensions = _evaluations(folder, Path(entry.path).name)
    return Traced(
        entry,
        tuple(steps),
        tuple(lost),
        tuple(_given(steps)),
        _recipe(folder),
        figures,
        dimensions,
        tuple(v for v in registry.verdicts() if v.candidate == entry.ref),
        tuple(m for m in registry.moves(alias) if m.after == entry.ref),
        _records(steps),
    )


def changes(before: Traced, after: Traced) -> dict[str, list[str]]:
    """What differs between two models, stage by stage: settings and inputs, in sentences.

    A stage that only one of them went through is named as such.
    """
    first = {artifact.name: artifact for artifact in before.steps}
    second = {artifact.name: artifact for artifact in after.steps}
    found = {}
    for name in dict.fromkeys([*first, *second]):
        if name not in second:
            found[name] = [f"only in the making of {before.entry.ref}"]
        elif name not in first:
            found[name] = [f"only in the making of {after.entry.ref}"]
        elif said := difference(first[name], second[name]):
            found[name] = said
    return found


def damaged(registry: Registry, refs: Sequence[str] = ()) -> dict[str, list[str]]:
    """Hash every file of the named artifacts (all that are registered, where none is named).

    Returns, for each artifact by ref, what is wrong with it; an empty list where nothing is.

    Raises:
        InputError: one is not registered.
    """
    entries = [registry.get(registry.alias(ref) or ref) for ref in refs] or registry.entries()
    return {entry.ref: _faults(entry) for entry in entries}


def _faults(entry: Entry) -> list[str]:
    path = Path(entry.path)
    try:
        artifact = ArtifactStore(path.parent.parent).get(*parse_ref(path.name))
    except CorruptError as error:
        return list(error.reasons)
    except StorageError as error:
        return [error.reason]
    except InputError:
        return ["the folder is gone"]
    # A folder that was made anew in the same place is whole, but not what was registered.
    mark = content_fingerprint(artifact.path)
    return [] if mark == entry.fingerprint else ["is whole, but not what was registered"]


def _artifact(path: Path) -> Artifact | None:
    store = ArtifactStore(path.parent.parent)
    return next((made for made in store.list() if made.path.name == path.name), None)


def _given(steps: Sequence[Artifact]) -> list[Given]:
    return [
        Given(step.ref, field, value.ref, value.fingerprint)
        for step in steps
        for field, value in step.inputs.items()
        if not value.ref.startswith("@") or value.ref == "@base"
    ]


def _recipe(folder: Path) -> dict[str, Any]:
    path = folder / "recipe.yaml"
    found = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    return found if isinstance(found, dict) else {}


def _evaluations(folder: Path, model: str) -> tuple[dict[str, Figure], dict[str, str]]:
    figures: dict[str, Figure] = {}
    dimensions: dict[str, str] = {}
    for artifact in ArtifactStore(folder).list():
        if artifact.stage == "measure.evaluate" and artifact.details.get("model") == model:
            figures |= artifact.figures
            dimensions |= artifact.details.get("dimensions", {})
    return figures, dimensions


def _records(steps: Sequence[Artifact]) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {mark: Counter() for mark in MARKS}
    for step in steps:
        files = formats.below(step.path) if step.kind == "data" else []
        for file in (one for one in files if formats.suffix(one) in RECORD_FILES):
            for row in islice(formats.rows(file), ROWS_READ):
                told = row.value if isinstance(row, formats.Row) else {}
                for mark in MARKS:
                    if value := told.get(mark):
                        found[mark][str(value)] += 1
                found["annotator"].update(map(str, told.get("annotators") or ()))
    return {mark: dict(counts.most_common()) for mark, counts in found.items() if counts}
