"""Which data files an argument means: a file, a folder, or a run with what it was made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from burnish.config import InputError, Problem
from burnish.store import formats, manifest
from burnish.store.artifacts import Artifact, ArtifactStore
from burnish.store.names import ARTIFACT, holds_records

ASSETS = Path(__file__).parents[1] / "assets"


@dataclass(frozen=True)
class DataFile:
    """A file: ``label`` is its name within what was asked for, ``artifact`` what it is part of."""

    path: Path
    label: str
    artifact: Artifact | None = None


@dataclass
class Collected:
    """Files to look at, the artifacts of the runs among them, and what is to be said of them."""

    files: list[DataFile] = field(default_factory=list)
    artifacts: list[Artifact] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def collect(paths: Iterable[Path]) -> Collected:
    """All data files below ``paths``; of a run its data artifacts and the files it was given.

    Raises:
        InputError: a path does not exist, or no data file is there.
    """
    found = Collected()
    paths = list(paths)
    for path in paths:
        prefix = f"{path.name}/" if len(paths) > 1 else ""
        if (path / "artifacts").is_dir():
            _run(path, prefix, found)
        elif path.is_dir():
            names = ((file, f"{prefix}{file.relative_to(path)}") for file in _below(path))
            found.files += [DataFile(file, label) for file, label in names]
        elif path.is_file():
            found.files.append(DataFile(path, path.name))
        else:
            raise InputError(Problem(str(path), None, "", "no such file or folder"))
    found.files = _distinct(found.files)
    if not found.files:
        place = ", ".join(map(str, paths)) or "nothing given"
        expected = f"data files ({' '.join(formats.TABLES)}) or a run folder"
        raise InputError(Problem(place, None, "", "no data there", expected))
    return found


def _run(folder: Path, prefix: str, found: Collected) -> None:
    made = ArtifactStore(folder).list()
    found.artifacts += made
    for artifact in made:
        if artifact.kind == "data":
            for file in _below(artifact.path):
                label = f"{prefix}{artifact.ref}/{file.relative_to(artifact.path)}"
                found.files.append(DataFile(file, label, artifact))
    given = {
        value.ref: value.fingerprint
        for artifact in made
        for value in artifact.inputs.values()
        if not value.ref.startswith("@") and formats.suffix(Path(value.ref))
    }
    for ref, fingerprint in given.items():
        place = _located(ref, folder)
        if place is None:
            found.notes.append(f"{ref}: an input of {folder} that is not there any more")
            continue
        if manifest.content_fingerprint(place) != fingerprint:
            found.notes.append(f"{ref}: has changed since {folder} read it")
        found.files.append(DataFile(place, f"{prefix}inputs/{place.name}"))


def _distinct(files: Iterable[DataFile]) -> list[DataFile]:
    """Each file once, under a label of its own."""
    by_path: dict[Path, DataFile] = {}
    taken: Counter[str] = Counter()
    for file in files:
        place = file.path.resolve()
        if place not in by_path:
            taken[file.label] += 1
            folder = f"{taken[file.label]}/" if taken[file.label] > 1 else ""
            by_path[place] = replace(file, label=folder + file.label)
    return list(by_path.values())


def _located(ref: str, run: Path) -> Path | None:
    """The file an input's name means now: in the package, here, or beside the run."""
    if ref.startswith("burnish:"):
        places = [ASSETS / ref.removeprefix("burnish:")]
    else:
        places = [base / ref for base in (Path(), run, *run.absolute().parents[:3])]
    return next((place for place in places if place.is_file()), None)


def _below(folder: Path) -> list[Path]:
    """Data files below a folder in order of names, without hidden ones and burnish's own."""
    return [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file()
        and formats.suffix(file) in formats.TABLES + formats.TEXTS
        and holds_records(file)
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]


def users_of(file: DataFile, artifacts: Iterable[Artifact]) -> dict[str, str]:
    """Artifacts that took a file as input, by content: ref to the name of that input."""
    prints = {manifest.content_fingerprint(file.path)}
    if file.artifact is not None:
        prints.add(_fingerprint(file.artifact))
    return {
        artifact.ref: name
        for artifact in artifacts
        for name, value in artifact.inputs.items()
        if value.fingerprint in prints
    }


def resolved(name: str, artifact: Artifact, artifacts: Iterable[Artifact]) -> str:
    """What an input meant when it was used: ``@champion`` as the artifact it was, else its name."""
    given = artifact.inputs[name]
    parents = [made for made in artifacts if made.ref in artifact.parents]
    same = [made.ref for made in parents if _fingerprint(made) == given.fingerprint]
    return same[0] if same and same[0] != given.ref else given.ref


def _fingerprint(artifact: Artifact) -> str:
    return manifest.content_fingerprint(artifact.path, leave_out=frozenset({ARTIFACT}))


def descended(refs: Iterable[str], artifacts: Iterable[Artifact]) -> dict[str, str]:
    """Artifacts made from others, near and far: ref to the one it was made from."""
    found: dict[str, str] = {}
    reached = set(refs)
    for artifact in sorted(artifacts, key=lambda made: made.sequence):
        above = next((ref for ref in artifact.parents if ref in reached), None)
        if above is not None and artifact.ref not in reached:
            found[artifact.ref] = above
            reached.add(artifact.ref)
    return found
