"""Everything known of one record: what it is, what made it, what it came from, what it led to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

from burnish.config import InputError, Problem
from burnish.store.artifacts import Artifact
from burnish.store.manifest import file_hash
from burnish.tracing.collect import DataFile, descended, resolved, users_of
from burnish.tracing.files import KINDS, Found, content_hash, records_of, scores_of, shortened
from burnish.tracing.index import PLACE, Index, Place

MOST_PARENTS, MOST_CHILDREN = 12, 10
_JUDGES = ("judge", "critic", "reward", "constitution")
_CLASSES = {kind.__name__.lower(): kind for kind in KINDS}


@dataclass
class Node:
    """One record and, unless it stands above already, what it was made from.

    ``missing`` marks a parent that no file here holds, ``repeated`` one that is shown above;
    ``more`` counts parents that are not shown. ``hash`` is of the record's texts, ``sha256`` of
    the file it stands in.
    """

    id: str
    kind: str = ""
    text: str = ""
    hash: str = ""
    source: str = ""
    tier: str = ""
    lang: str = ""
    topic: str = ""
    synthetic: bool = False
    scores: dict[str, float] = field(default_factory=dict)
    places: list[str] = field(default_factory=list)
    sha256: str = ""
    made_by: dict[str, Any] | None = None
    origin: bool = False
    missing: bool = False
    repeated: bool = False
    more: int = 0
    parents: list[Node] = field(default_factory=list)


@dataclass
class Explanation:
    """A record's tree, its descendants, and what the run did with the files it stands in.

    ``used_by`` maps an artifact to how it took the record: ``data.0`` names an input that holds
    it, ``from dpo@1`` that the artifact was made from one that took it.
    """

    record: Node
    descendants: int
    descendants_in: dict[str, int]
    children: list[Node]
    used_by: dict[str, str]
    models: list[str]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """As JSON; empty fields of records are left out."""
        found = asdict(self)
        found["record"] = _bare(found["record"])
        found["children"] = [_bare(node) for node in found["children"]]
        return found


def _bare(node: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in node.items() if value or name == "synthetic"}
    if "parents" in kept:
        kept["parents"] = [_bare(parent) for parent in kept["parents"]]
    return kept


def explain(index: Index, id: str) -> Explanation:
    """What is known of the record ``id``.

    Raises:
        InputError: no file of the index holds it; the message names the ids most like it.
    """
    if not index.places(id):
        nearest = ", ".join(index.nearest(id))
        found = f"no record of this id in {len(index.files)} files"
        raise InputError(Problem("", None, id, found, f"nearest: {nearest}" if nearest else ""))
    shown: set[str] = set()
    record = _tree(index, id, shown)
    below = index.descendants(id)
    places = [place for one in (id, *below) for place in index.places(one)]
    children = index.children(id)
    used = _used_by(places, index.collected.artifacts)
    kinds = {made.ref: made.kind for made in index.collected.artifacts}
    cycles = set(index.cycles()) & shown
    notes = list(index.collected.notes)
    notes += [f"a cycle: {', '.join(sorted(cycles))} descend from themselves"] if cycles else []
    return Explanation(
        record=record,
        descendants=len(below),
        descendants_in=dict(
            Counter(f"{p.file.label} ({p.kind})" for one in below for p in index.places(one))
        ),
        children=[_node(index, child) for child in children[:MOST_CHILDREN]],
        used_by=used,
        models=[ref for ref in used if kinds[ref] in ("model", "reward_model")],
        notes=notes,
    )


def _tree(index: Index, id: str, shown: set[str]) -> Node:
    node = _node(index, id)
    shown.add(id)
    parents = index.parents(id)
    node.more = max(0, len(parents) - MOST_PARENTS)
    for parent in parents[:MOST_PARENTS]:
        if parent in shown:
            node.parents.append(Node(parent, repeated=True))
        elif index.places(parent):
            node.parents.append(_tree(index, parent, shown))
        else:
            origin = PLACE.fullmatch(parent) is not None
            node.parents.append(Node(parent, origin=origin, missing=not origin))
    return node


def _node(index: Index, id: str) -> Node:
    places = index.places(id)
    first = places[0]
    found = read(first)
    record = found.record
    artifact = first.file.artifact
    return Node(
        id=id,
        kind=first.kind,
        text=shortened(record),
        hash=content_hash(record),
        source=record.source,
        tier=record.tier,
        lang=record.lang,
        topic=found.column("topic"),
        synthetic=record.synthetic,
        scores=scores_of(found),
        places=[str(place) for place in places],
        sha256=file_hash(first.file.path),
        made_by=made_by(artifact, index.collected.artifacts) if artifact else None,
    )


def read(place: Place) -> Found:
    """The record at a place, read again from its file."""
    rows = records_of(place.file.path, _CLASSES[place.kind], [])
    return next(found for found in rows if found.number == place.number)


def made_by(artifact: Artifact, artifacts: Iterable[Artifact]) -> dict[str, Any]:
    """The stage that made an artifact, its model, judge, filters and other settings."""
    made = list(artifacts)
    given = {name: resolved(name, artifact, made) for name in artifact.inputs}
    judges = {name: given[name] for name in _JUDGES if name in given}
    judges |= {
        name: str(value)
        for name in _JUDGES
        if isinstance(value := artifact.details.get(name, artifact.config.get(name)), str)
    }
    settings = _flat(artifact.config)
    filters = {name: value for name, value in settings.items() if name.startswith("filters.")}
    return {
        "artifact": artifact.ref,
        "stage": artifact.stage,
        "round": artifact.round,
        "code_version": artifact.code_version,
        "model": given.get("model", ""),
        "judge": judges,
        "inputs": given,
        "filters": {name.removeprefix("filters."): value for name, value in filters.items()},
        "settings": {name: value for name, value in settings.items() if name not in filters},
    }


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Settings by dotted names, without what is not set."""
    if isinstance(value, Mapping):
        inner = value.items()
    elif isinstance(value, list):
        inner = ((str(place), item) for place, item in enumerate(value))  # type: ignore[assignment]
    else:
        return {} if value is None else {name: value}
    return {
        key: leaf
        for part, item in inner
        for key, leaf in _flat(item, f"{name}.{part}" if name else str(part)).items()
    }


def _used_by(places: Iterable[Place], artifacts: list[Artifact]) -> dict[str, str]:
    files: dict[str, DataFile] = {str(place.file.path): place.file for place in places}
    used: dict[str, str] = {}
    for file in files.values():
        used |= {ref: name for ref, name in users_of(file, artifacts).items() if ref not in used}
    return used | {ref: f"from {above}" for ref, above in descended(used, artifacts).items()}


def several(values: Iterable[str], most: int = 3) -> str:
    """The first of many, and how many more there are."""
    listed = list(values)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(islice(listed, most)) + more
