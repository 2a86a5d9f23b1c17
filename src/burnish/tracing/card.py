"""A model card in Hugging Face's form, filled in from what the registry and the artifacts know."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from burnish.records import Figure
from burnish.store import atomic
from burnish.store.registry import Registry
from burnish.tracing.models import Traced, trace

FEW = 100
"""Items below which a figure is said to rest on few."""
DIMENSIONS = ("capability", "alignment", "safety")


def model_card(traced: Traced, license: str | None = None) -> str:
    """The card as Markdown with its YAML front matter.

    ``license`` is for the person who publishes the model to say: data and base model may bind it.
    """
    entry = traced.entry
    title = f"{Path(entry.path).parent.parent.name}/{entry.ref}"
    parts = [
        f"---\n{_front(traced, title, license)}\n---",
        f"# {title}",
        _about(traced),
        "## How it was made\n\n" + _table(("artifact", "stage", "figures"), _steps(traced)),
        "## Data\n\n" + _data(traced),
        "## Evaluation\n\n" + _evaluation(traced),
        "## Gate\n\n" + _gate(traced),
        "## Limits\n\n" + "\n".join(f"- {line}" for line in limits(traced)),
    ]
    return "\n\n".join(parts) + "\n"


def write_card(registry: Registry, ref: str) -> Path:
    """Write the card of ``ref`` into the folder ``cards`` beside the registry; returns its path."""
    traced = trace(registry, ref)
    path = registry.path.parent / "cards" / f"{traced.entry.ref}.md"
    atomic.write_text(path, model_card(traced))
    return path


def limits(traced: Traced) -> list[str]:
    """What the figures do not show, by rule: dimensions that were not measured, figures on few
    items, metrics that fell, guards with their margins, languages, and what machines wrote."""
    found = []
    for dimension in DIMENSIONS:
        if dimension not in traced.dimensions.values():
            found.append(f"No task measured {dimension}.")
    few = [name for name, figure in traced.figures.items() if 0 < figure.n < FEW]
    if few:
        found.append(f"Measured on fewer than {FEW} items: {', '.join(sorted(few))}.")
    for row in _comparisons(traced):
        if row.get("state") == "regressed":
            found.append(f"{row['metric']} fell against the champion before it.")
        if row.get("margin") is not None:
            found.append(f"A fall of {row['metric']} by up to {row['margin']:g} was accepted.")
    languages = _languages(traced)
    if languages:
        found.append(f"Trained on data in {', '.join(languages)} alone.")
    if traced.lost:
        found.append(f"The folders of these ancestors are gone: {', '.join(traced.lost)}.")
    return [*found, "It may state falsehoods; outside its tasks nothing is known of it."]


def _front(traced: Traced, title: str, license: str | None) -> str:
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=name,
            dataset_name=name,
            metric_type=name,
            metric_name=f"{name}, 95 % interval {_interval(figure)}, n={figure.n}",
            metric_value=round(figure.value, 6),
        )
        for name, figure in traced.figures.items()
    ]
    data = ModelCardData(
        model_name=title,
        base_model=traced.base,
        language=_languages(traced) or None,
        license=license,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["burnish", *dict.fromkeys(step.stage for step in traced.steps)],
        datasets=_files(traced) or None,
        eval_results=results or None,
    )
    return data.to_yaml()


def _about(traced: Traced) -> str:
    recipe, last = traced.recipe, traced.steps[-1] if traced.steps else None
    lines = [str(recipe.get("about") or "")]
    made = f"Made by the recipe `{recipe.get('name', '?')}` (seed {recipe.get('seed', 0)})"
    if last is not None:
        made += f" with burnish {last.code_version}, round {last.round}"
    lines.append(f"{made}, from `{traced.base}`. Content: `{traced.entry.fingerprint[:16]}`.")
    lines.append(f"```bash\nburnish chat {traced.entry.path}\n```")
    return "\n\n".join(line for line in lines if line)


def _steps(traced: Traced) -> Iterable[tuple[str, ...]]:
    for step in traced.steps:
        said = [f"{name} {figure.value:.4g}" for name, figure in step.figures.items()]
        yield f"`{step.ref}`", step.stage, ", ".join(said[:4])


def _data(traced: Traced) -> str:
    rows = [(f"`{g.ref}`", f"{g.step} {g.field}", f"`{g.fingerprint[:16]}`") for g in traced.given]
    text = _table(("given", "to", "content"), rows)
    counts = [
        (mark, ", ".join(f"{value} {count}" for value, count in values.items()))
        for mark, values in traced.records.items()
    ]
    if counts:
        text += "\n\nRecords made on the way (the first of each file):\n\n"
        text += _table(("field", "records"), counts)
    return text


def _evaluation(traced: Traced) -> str:
    if not traced.figures:
        return "This model was not evaluated."
    rows = [
        (name, traced.dimensions.get(name, ""), f"{f.value:.4g}", _interval(f), str(f.n or ""))
        for name, f in traced.figures.items()
    ]
    return _table(("figure", "dimension", "value", "95 % interval", "items"), rows)


def _interval(figure: Figure) -> str:
    return "" if figure.low == figure.high else f"{figure.low:.4g} to {figure.high:.4g}"


def _gate(traced: Traced) -> str:
    if not traced.verdicts:
        return "No gate has judged it."
    lines = [
        f"- Round {v.round}, against `{v.champion}`: **{v.decision}**. {v.reason}"
        for v in traced.verdicts
    ]
    moves = [f"- Became {m.alias}: {m.reason or 'no reason given'}" for m in traced.moves if m.done]
    return "\n".join(lines + moves)


def _comparisons(traced: Traced) -> list[dict[str, Any]]:
    return list(traced.verdicts[-1].details.get("comparisons", [])) if traced.verdicts else []


def _languages(traced: Traced) -> list[str]:
    return sorted(traced.records.get("lang", {}))


def _files(traced: Traced) -> list[str]:
    refs = [given.ref for given in traced.given if not given.fingerprint.startswith("name:")]
    return sorted({ref for ref in refs if ref != "@base"})


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    escaped = ([cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)
