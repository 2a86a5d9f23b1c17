"""The family of a registered model: what it was made from, as a table and as a drawing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.reporting.graph import Node, graph
from burnish.reporting.markup import Markup
from burnish.store.registry import Registry
from burnish.tracing.models import Traced


@dataclass(frozen=True)
class Family:
    """``stages``: by ref, the folder's name and what was given to it from outside; ``edges``:
    (child, parent)."""

    found: Traced
    stages: dict[str, dict[str, Any]]
    edges: list[tuple[str, str]]

    def drawing(self, label: str, given: bool = True) -> Markup:
        """All of it as one SVG graph, the model itself marked; what was ``given`` if asked to."""
        made = {step.path.name: step for step in self.found.steps}
        nodes: dict[str, Node] = {}
        links = list(self.edges)
        for name, stage in self.stages.items():
            for ref in stage["given"] if given else ():
                nodes[ref] = Node(Path(ref).name, "given", ref)
                links.append((name, ref))
        for name, stage in self.stages.items():
            step = made.get(stage["folder"])
            note = f"{step.stage}, round {step.round}" if step else "folder is gone"
            said = [f"{n} = {f.value:.4g}" for n, f in step.figures.items()] if step else []
            mark = "champion" if name == self.found.entry.ref else ""
            nodes[name] = Node(name, note, "\n".join([name, *said]), mark)
        return graph(nodes, links, label)


def family(registry: Registry, found: Traced) -> Family:
    """The family of a traced model."""
    entry = found.entry
    kin = {entry.ref, *(one.ref for one in registry.lineage(entry.name, entry.version))}
    given: dict[str, list[str]] = {}
    for one in found.given:
        given.setdefault(one.step, []).append(one.ref)
    folders = {one.ref: Path(one.path).name for one in registry.entries() if one.ref in kin}
    stages = {
        name: {"folder": folder, "given": given.get(folder, [])} for name, folder in folders.items()
    }
    edges = [(child, parent) for child, parent in registry.edges() if {child, parent} <= kin]
    return Family(found, stages, edges)
