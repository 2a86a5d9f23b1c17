"""What the loop makes: one sealed folder ``<run>/artifacts/<name>@<version>`` each.

``artifact.json`` inside says what it was made from, so that a second run can tell what is still
valid, and a person can tell why something is not.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, get_args

from burnish.config import InputError, Problem
from burnish.records import Figure
from burnish.store import atomic, manifest
from burnish.store.errors import CorruptError, storage_errors
from burnish.store.names import ARTIFACT, check_name

log = logging.getLogger(__name__)

Kind = Literal["model", "data", "reward_model", "report"]
_FOLDER = re.compile(r"(?P<name>[a-z][a-z0-9_-]*)@(?P<version>[1-9][0-9]{0,8})")


@dataclass(frozen=True)
class Input:
    """What a stage was given: how it was named, and the fingerprint of its content."""

    ref: str
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a result depends on: the stage, its settings as JSON, and its inputs by field."""

    stage: str
    config: dict[str, Any]
    inputs: dict[str, Input] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Artifact(Origin):
    """One finished result.

    ``round`` is the round it was made in (0 before the first), ``figures`` are the stage's
    measurements, ``details`` what else it has to tell (JSON: funnels, samples), ``parents`` the
    refs of the artifacts it was made from, ``sequence`` its place in the order of making (clocks
    jump, this does not), ``wall_seconds`` the time it took and ``peak_rss_bytes`` the most memory
    the process had used.
    """

    name: str
    version: int
    kind: Kind
    round: int
    fingerprint: str
    figures: dict[str, Figure]
    details: dict[str, Any]
    parents: tuple[str, ...]
    sequence: int
    code_version: str
    wall_seconds: float
    peak_rss_bytes: int
    path: Path

    @property
    def ref(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"


@dataclass(kw_only=True)
class Draft:
    """An artifact being made: write its files into ``path``, set ``kind``, figures and details.

    ``artifact`` is set when the block has ended well.
    """

    ref: str
    path: Path
    kind: Kind | None = None
    figures: dict[str, Figure] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    artifact: Artifact | None = None


def fingerprint(origin: Origin) -> str:
    """A sha256 over stage, settings and the contents of the inputs, not over their names."""
    inputs = {name: value.fingerprint for name, value in origin.inputs.items()}
    text = json.dumps([origin.stage, origin.config, inputs], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def content_fingerprint(path: Path | str) -> str:
    """As ``manifest.content_fingerprint``, without the record of when and how it was made."""
    return manifest.content_fingerprint(path, leave_out=frozenset({ARTIFACT}))


def difference(old: Origin, new: Origin) -> list[str]:
    """What changed from ``old`` to ``new``, one sentence each; empty when nothing did.

    Example: ``["train.learning_rate: 0.001 → 0.002", "input data: content changed (sft_data@1 →
    sft_data@2)"]``.
    """
    changes = [f"stage: {old.stage} → {new.stage}"] if old.stage != new.stage else []
    changes += _compare(_flat(_plain(old.config)), _flat(_plain(new.config)))
    for name in sorted(old.inputs.keys() | new.inputs.keys()):
        before, after = old.inputs.get(name), new.inputs.get(name)
        if before is None or after is None:
            changes.append(f"input {name}: {'added' if before is None else 'removed'}")
        elif before.fingerprint != after.fingerprint:
            named = before.ref if before.ref == after.ref else f"{before.ref} → {after.ref}"
            changes.append(f"input {name}: content changed ({named})")
    return changes


def _compare(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    changes = []
    for key in sorted(before.keys() | after.keys()):
        if key not in before:
            changes.append(f"{key}: added, {json.dumps(after[key], ensure_ascii=False)}")
        elif key not in after:
            changes.append(f"{key}: removed, was {json.dumps(before[key], ensure_ascii=False)}")
        elif before[key] != after[key]:
            was, now = (json.dumps(v[key], ensure_ascii=False) for v in (before, after))
            changes.append(f"{key}: {was} → {now}")
    return changes


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """As it reads after a trip through JSON: tuples are lists, keys are strings."""
    plain: dict[str, Any] = json.loads(json.dumps(config))
    return plain


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


@cache
def code_version() -> str:
    """burnish's version and 12 digits of a hash over its source, such as ``0.1.0+3f2a…``."""
    package = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    try:
        version = metadata.version("burnish")
    except metadata.PackageNotFoundError:
        version = "source"
    return f"{version}+{digest.hexdigest()[:12]}"


def peak_rss_bytes() -> int:
    """The most memory this process has held so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


Artifacts = list[Artifact]
_Folders = list[tuple[str, int]]


class ArtifactStore:
    """The artifacts of one run folder. One process at a time writes to it."""

    def __init__(self, run_folder: Path | str) -> None:
        self.folder = Path(run_folder).absolute() / "artifacts"

    @contextmanager
    def create(
        self, name: str, origin: Origin, parents: tuple[str, ...] = (), round: int = 0
    ) -> Iterator[Draft]:
        """Make the next version of ``name``; it appears, sealed, when the block ends well.

        Example::

            with store.create("sft", Origin(stage="fit.sft", config=..., inputs=...)) as draft:
                outcome = stage.run(config, inputs, context_with(output=draft.path))
                draft.kind, draft.figures = outcome.kind, outcome.figures
            draft.artifact.ref  # "sft@1"

        Raises:
            InputError: the name breaks the grammar of names.
            StorageError: disk full or no permission; nothing of the artifact remains.
        """
        check_name(name)
        started = time.monotonic()
        atomic.sweep(self.folder)
        taken = self._folders()
        version = 1 + max((v for n, v in taken if n == name), default=0)
        sequence = 1 + max((made.sequence for made in self.list()), default=0)
        target = self.folder / f"{name}@{version}"
        with atomic.new_folder(target) as temp:
            draft = Draft(ref=target.name, path=temp)
            yield draft
            if draft.kind is None:
                raise ValueError(f"{draft.ref}: the draft's kind was not set")
            made = Artifact(
                name=name,
                version=version,
                kind=draft.kind,
                round=round,
                stage=origin.stage,
                config=_plain(origin.config),
                inputs=origin.inputs,
                fingerprint=fingerprint(origin),
                figures=dict(draft.figures),
                details=_plain(draft.details),
                parents=parents,
                sequence=sequence,
                code_version=code_version(),
                wall_seconds=time.monotonic() - started,
                peak_rss_bytes=peak_rss_bytes(),
                path=target,
            )
            atomic.write_json(temp / ARTIFACT, _to_json(made))
            manifest.seal(temp)
        draft.artifact = made

    def get(self, name: str, version: int | None = None, deep: bool = True) -> Artifact:
        """An artifact by name, the latest where no version is given, checked against its manifest.

        Args:
            name: as given to ``create``.
            version: from 1.
            deep: read and hash every byte; otherwise only names and sizes are checked.

        Raises:
            InputError: there is no such artifact.
            CorruptError: it is damaged; no older version is taken in its stead.
        """
        check_name(name)
        versions = sorted(v for n, v in self._folders() if n == name)
        wanted = version if version is not None else max(versions, default=0)
        if wanted not in versions:
            known = ", ".join(f"{n}@{v}" for n, v in sorted(self._folders())) or "none yet"
            ref = name if version is None else f"{name}@{version}"
            raise InputError(Problem(str(self.folder), None, ref, "no such artifact", known))
        path = self.folder / f"{name}@{wanted}"
        manifest.verify(path, deep)
        return _from_json(path)

    def list(self) -> Artifacts:
        """All readable artifacts in the order of making; damaged ones are logged by name."""
        found = []
        for name, version in self._folders():
            try:
                found.append(_from_json(self.folder / f"{name}@{version}"))
            except CorruptError as error:
                log.warning("artifact %s is damaged and passed over: %s", error.path, error.reason)
        return sorted(found, key=lambda made: (made.sequence, made.ref))

    def _folders(self) -> _Folders:
        if not self.folder.is_dir():
            return []
        with storage_errors(self.folder):
            matches = [_FOLDER.fullmatch(path.name) for path in self.folder.iterdir()]
        return [(match["name"], int(match["version"])) for match in matches if match]


def _to_json(made: Artifact) -> dict[str, Any]:
    return {name: value for name, value in asdict(made).items() if name != "path"}


def _from_json(path: Path) -> Artifact:
    try:
        content = json.loads((path / ARTIFACT).read_bytes())
        content["inputs"] = {name: Input(**value) for name, value in content["inputs"].items()}
        content["figures"] = {name: Figure(**value) for name, value in content["figures"].items()}
        content["parents"] = tuple(content["parents"])
        made = Artifact(path=path, **content)
        whole = made.ref == path.name and made.kind in get_args(Kind)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise CorruptError(path, f"{ARTIFACT} is missing or damaged")
    return made
