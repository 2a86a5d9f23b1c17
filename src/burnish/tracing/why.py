"""Everything known of one record: what it is, what made it, what it came from, what it led to."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from burnish.config import InputError, Problem
from burnish.records import KINDS
from burnish.store.artifacts import Artifact
from burnish.store.manifest import file_hash
from burnish.tracing.collect import DataFile, descended, resolved, users_of
from burnish.tracing.files import content_hash, one_line, records_of, scores_of, shortened
from burnish.tracing.index import PLACE, Index, Place

MOST_PARENTS, MOST_DEPTH, MOST_CHILDREN = 12, 30, 10
_JUDGES = ("judge", "critic", "reward", "constitution")


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
        found = "; ".join(
            [f"no record of this id in {len(index.files)} files", *removals(index, id)]
        )
        raise InputError(Problem("", None, id, found, f"nearest: {nearest}" if nearest else ""))
    shown: dict[str, Node] = {}
    notes = [*index.collected.notes, *removals(index, id)]
    record = _tree(index, id, shown, notes)
    children = [Node(child) for child in index.children(id)[:MOST_CHILDREN]]
    _fill(index, [*shown.values(), *(child for child in children if child.id not in shown)])
    children = [shown.get(child.id, child) for child in children]
    below = index.descendants(id)
    places = [place for one in (id, *below) for place in index.places(one)]
    used = _used_by(places, index.collected.artifacts)
    kinds = {made.ref: made.kind for made in index.collected.artifacts}
    return Explanation(
        record=record,
        descendants=len(below),
        descendants_in=dict(
            Counter(f"{p.file.label} ({p.kind})" for one in below for p in index.places(one))
        ),
        children=[replace(child, parents=[]) for child in children],
        used_by=used,
        models=[ref for ref in used if kinds[ref] in ("model", "reward_model")],
        notes=notes,
    )


def removals(index: Index, id: str) -> list[str]:
    """What steps removed a record, by the lists (``removed*.tsv``: id, step, reason) they left."""
    found = []
    folders = dict.fromkeys(file.path.parent for file in index.collected.files)
    for listed in (path for folder in folders for path in sorted(folder.glob("*removed*.tsv"))):
        with listed.open(encoding="utf-8", errors="replace", newline="") as file:
            for row in csv.DictReader(file, dialect="excel-tab"):
                if row.get("id") == id:
                    step, reason = row.get("step") or "a step", row.get("reason") or "no reason"
                    found.append(f"removed by {step}: {one_line(reason)} ({listed})")
    return found


def _tree(
    index: Index, id: str, shown: dict[str, Node], notes: list[str], path: tuple[str, ...] = ()
) -> Node:
    """A record and its parents by id; ``shown`` collects the nodes that are to be filled.

    A parent on the ``path`` from the record down to here closes a cycle, which ``notes`` tell.
    """
    node = shown[id] = Node(id)
    path = (*path, id)
    parents = index.parents(id)
    most = MOST_PARENTS if len(path) <= MOST_DEPTH else 0
    node.more = max(0, len(parents) - most)
    for parent in parents[:most]:
        if parent in shown:
            node.parents.append(Node(parent, repeated=True))
            if parent in path:
                notes.append(f"a cycle: {' ← '.join([*path[path.index(parent) :], parent])}")
        elif index.places(parent):
            node.parents.append(_tree(index, parent, shown, notes, path))
        else:
            origin = PLACE.fullmatch(parent) is not None
            node.parents.append(Node(parent, origin=origin, missing=not origin))
    return node


def _fill(index: Index, nodes: Iterable[Node]) -> None:
    """Read the records of nodes from their first places, each file once."""
    by_file: dict[Path, dict[int, tuple[Node, Place]]] = defaultdict(dict)
    for node in nodes:
        places = index.places(node.id)
        node.places = [str(place) for place in places]
        by_file[places[0].file.path][places[0].number] = (node, places[0])
    for path, wanted in by_file.items():
        place = next(iter(wanted.values()))[1]
        sha256, artifact = file_hash(path), place.file.artifact
        made = made_by(artifact, index.collected.artifacts) if artifact else None
        for found in records_of(path, KINDS[place.kind], [], wanted):
            node, record = wanted[found.number][0], found.record
            node.kind, node.text, node.hash = found.kind, shortened(record), content_hash(record)
            node.source, node.tier, node.lang = record.source, record.tier, record.lang
            node.topic, node.synthetic = found.column("topic"), record.synthetic
            node.scores, node.sha256, node.made_by = scores_of(found), sha256, made


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
