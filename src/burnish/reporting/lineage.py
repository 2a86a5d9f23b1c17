"""Lineage in the report: a picture of what the last models were made from, and every artifact."""

from __future__ import annotations

from burnish.reporting.graph import Node, graph
from burnish.reporting.markup import Markup, el
from burnish.reporting.names import show, stage_name
from burnish.reporting.rundata import Row, RunData, value_of
from burnish.reporting.strings import Lang, text, word


def lineage(run: RunData, lang: Lang) -> Markup:
    """The ancestors of the champion and of the last model as a graph; all artifacts folded."""
    artifacts = run.summary.get("artifacts", [])
    if not artifacts:
        return Markup("")
    columns = ("artifact", "kind", "from", "figures")
    head = el("tr", [el("th", text(lang, f"col_{column}")) for column in columns])
    rows = [
        el("tr", el("td", el("code", artifact_label(artifact))),
           el("td", word(lang, f"kind_{artifact.get('kind')}", artifact.get("kind", ""))),
           el("td", ", ".join(parents_of(artifact, run))), el("td", _figures(artifact)))
        for artifact in artifacts
    ]  # fmt: skip
    title = text(lang, "all_artifacts", count=len(artifacts))
    return el(
        "section",
        el("h2", text(lang, "lineage")),
        el("p", text(lang, "lineage_note"), class_="note"),
        _picture(artifacts, run, lang),
        el("details", el("summary", title), el("div", el("table", head, rows), class_="scroll")),
        id="lineage",
    )


def artifact_label(artifact: Row) -> str:
    """``sft@1``."""
    return f"{artifact.get('name', '')}@{artifact.get('version', '')}"


def parents_of(artifact: Row, run: RunData) -> list[str]:
    """The artifacts this one was made from."""
    record = run.details.get(artifact_label(artifact), {})
    listed = artifact.get("parents") or record.get("parents") or []
    return [str(parent) for parent in listed]


def _figures(artifact: Row) -> str:
    flat = artifact.get("figures", {})
    said = []
    for name, value in flat.items():
        bounds = name.endswith(("_low", "_high")) and name.rpartition("_")[0] in flat
        number = value_of(value)
        if number is not None and not bounds:
            said.append(f"{name.replace('_', ' ')} {show(number)}")
    return " · ".join(said[:4])


def ancestors(artifacts: list[Row], run: RunData) -> dict[str, Row]:
    """The champion, the last model, and all that they were made from, in the order made."""
    by_label = {artifact_label(artifact): artifact for artifact in artifacts}
    models = [label for label, artifact in by_label.items() if artifact.get("kind") == "model"]
    ahead = [str(run.summary.get("champion")), *models[-1:]]
    found: set[str] = set()
    while ahead:
        label = ahead.pop()
        if label in by_label and label not in found:
            found.add(label)
            ahead += parents_of(by_label[label], run)
    return {label: artifact for label, artifact in by_label.items() if label in found}


def _picture(artifacts: list[Row], run: RunData, lang: Lang) -> Markup | None:
    shown = ancestors(artifacts, run)
    if len(shown) < 2:
        return None
    kinds = {str(step.get("artifact")): str(step.get("stage", ""))
             for step in run.summary.get("stages", [])}  # fmt: skip
    champion = str(run.summary.get("champion"))
    nodes = {}
    for label, artifact in shown.items():
        stage = kinds.get(label) or str(artifact.get("stage", ""))
        note = text(lang, "champion") if label == champion else stage_name(stage, lang)
        about = "\n".join(filter(None, (label, stage, _figures(artifact))))
        nodes[label] = Node(label, note, about, "champion" if label == champion else "")
    edges = [(label, parent) for label in shown for parent in parents_of(shown[label], run)]
    return el("div", graph(nodes, edges, text(lang, "lineage")), class_="scroll")
