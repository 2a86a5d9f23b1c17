"""Make the candidate the champion if the gate says so; the only stage that moves an alias."""

from __future__ import annotations

import json
from pathlib import Path

from burnish.config import DataRef, ModelRef, Settings
from burnish.stages.base import Context, Inputs, Outcome
from burnish.store import atomic
from burnish.store.artifacts import ArtifactStore, content_fingerprint
from burnish.store.names import parse_ref
from burnish.store.registry import Registry
from burnish.tracing.card import write_card


class Config(Settings):
    """``verdict`` is a gate's artifact, ``model`` its candidate, ``alias`` what may move to it."""

    verdict: DataRef
    model: ModelRef
    champion: ModelRef = "@champion"
    alias: str = "champion"


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Register the candidate with its ancestors, log the verdict, move the alias if promoted.

    Its model card is then written to ``cards`` beside the registry.
    """
    verdict = json.loads((inputs.path("verdict") / "verdict.json").read_text(encoding="utf-8"))
    candidate, champion = Path(inputs.model("model")), Path(inputs.model("champion"))
    promoted = verdict["decision"] == "promoted"
    store = ArtifactStore(candidate.parent.parent)
    with Registry(context.registry) as registry:
        ref = register(registry, store, candidate.name)
        before = registry.alias(config.alias)
        if promoted and before != ref:
            registry.set_alias(config.alias, ref, before or "", verdict["reason"])
        registry.add_verdict(
            context.round, ref, champion.name, verdict["decision"], verdict["reason"], verdict
        )
        if promoted:
            write_card(registry, ref)
    details = {"promoted": promoted, "ref": ref, "alias": config.alias}
    atomic.write_json(context.output / "promotion.json", details)
    return Outcome("report", {}, details)


def register(registry: Registry, store: ArtifactStore, ref: str) -> str:
    """Register an artifact and all it was made from; returns its ref in the registry.

    What is registered already (an interrupted promotion, a shared ancestor) stays as it is.
    """
    artifact = store.get(*parse_ref(ref), deep=False)
    mark = content_fingerprint(artifact.path)
    for entry in registry.entries(artifact.name):
        if (entry.fingerprint, entry.path) == (mark, str(artifact.path)):
            return entry.ref
    parents = [register(registry, store, parent) for parent in artifact.parents]
    figures = {name: figure.value for name, figure in artifact.figures.items()}
    version = registry.register(artifact.name, artifact.kind, artifact.path, mark, figures, parents)
    return f"{artifact.name}@{version}"
