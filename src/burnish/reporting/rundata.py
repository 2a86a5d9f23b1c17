"""Read a run folder into what the report shows; missing parts are simply not shown."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from burnish.config import InputError, Problem
from burnish.reporting.names import FIGURES

Row = dict[str, Any]
RESPONSES = "responses.jsonl"


@dataclass(frozen=True)
class Point:
    """A value with its interval, at one round of a series."""

    label: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Change:
    """One figure before and after: what a card of the report shows."""

    name: str
    before: Point
    after: Point


@dataclass(frozen=True)
class Answer:
    """The same evaluation item answered before and after."""

    task: str
    prompt: str
    before: Row
    after: Row

    @property
    def change(self) -> int:
        """-1 regressed, 1 improved, 0 the same outcome."""
        score = {"right": 2, "abstained": 1, "wrong": 0}
        was, now = (score.get(outcome(row), 0) for row in (self.before, self.after))
        return (now > was) - (now < was)


@dataclass(frozen=True)
class Answers:
    """Answers compared; ``promoted`` is False where "after" is a candidate that did not pass."""

    compared: list[Answer]
    promoted: bool = True


@dataclass(frozen=True)
class RunData:
    """A run folder, read. ``metrics`` maps (stage, round) to its rows in order of step."""

    folder: Path
    summary: Row
    recipe: str
    metrics: Mapping[tuple[str, int], list[Row]] = field(default_factory=dict)
    details: Mapping[str, Row] = field(default_factory=dict)
    answers: Answers = Answers([])

    @property
    def figures(self) -> dict[str, Point]:
        """The figures of the summary with their intervals."""
        flat = self.summary.get("figures", {})
        return {
            name: Point(
                "", value, _of(flat, f"{name}_low", value), _of(flat, f"{name}_high", value)
            )
            for name, value in flat.items()
            if isinstance(value, int | float) and not _is_bound(name, flat)
        }

    @property
    def aliases(self) -> dict[str, str]:
        """What the recipe calls a figure of the final evaluation, by that figure's own name."""
        try:
            named = (yaml.safe_load(self.recipe) or {}).get("figures") or {}
        except yaml.YAMLError:
            return {}
        return {
            str(source).removeprefix("final."): str(name).removesuffix("_after")
            for name, source in named.items()
            if str(source).startswith("final.")
        }

    @property
    def series(self) -> dict[str, list[Point]]:
        """Figures that were measured more than once, by name, oldest first."""
        found, aliases = {}, self.aliases
        for name, entries in self.summary.get("series", {}).items():
            points = [_point(entry, index) for index, entry in enumerate(entries)]
            found[aliases.get(name, name)] = [point for point in points if point is not None]
        return {name: points for name, points in found.items() if points}

    @property
    def dimensions(self) -> dict[str, str]:
        """The dimension of each evaluated figure, by the name that the report uses."""
        found = {"general_ppl": "capability", "general_ppl_ratio": "capability"}
        for record in self.details.values():
            for name, dimension in (record.get("details", {}).get("dimensions") or {}).items():
                found[self.aliases.get(name, name)] = str(dimension)
        return found

    def candidates(self, name: str) -> dict[str, Point]:
        """A figure of each round's candidate, by round."""
        found: dict[str, Point] = {}
        for verdict in self.summary.get("verdicts", []):
            round = int(verdict.get("round") or 0)
            for task, value in self.judged(round)[1].items():
                if self.aliases.get(task, task) == name:
                    point = _point(value, round)
                    found |= {str(round): point} if point else {}
        return found

    def judged(self, round: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """The figures of the two evaluations that a round's gate compared."""
        for stage in self.summary.get("stages", []):
            if (stage.get("stage"), stage.get("round")) == ("measure.gate", round):
                parents = self.details.get(str(stage.get("artifact")), {}).get("parents", [])
                if len(parents) >= 2:  # a probe may be the third
                    first, second = (
                        self.details.get(p, {}).get("figures", {}) for p in parents[:2]
                    )
                    return first, second
        return {}, {}

    @property
    def changes(self) -> list[Change]:
        """Before and after of every figure that has both: pairs by name, then series."""
        figures, found = self.figures, {}
        for name, points in self.series.items():
            if len(points) > 1:
                found[name] = Change(name, points[0], points[-1])
        for name in figures:
            stem = name.removesuffix("_before")
            if stem != name and f"{stem}_after" in figures:
                found[stem] = Change(stem, figures[name], figures[f"{stem}_after"])
        known = list(FIGURES)
        place = {name: known.index(name) if name in known else len(known) for name in found}
        return sorted(found.values(), key=lambda change: place[change.name])


def value_of(found: Any) -> float | None:
    """The number of a figure, written with its interval or alone."""
    if isinstance(found, dict):
        found = found.get("value")
    return float(found) if isinstance(found, int | float) else None


def _is_bound(name: str, flat: Mapping[str, Any]) -> bool:
    return any(name.endswith(end) and name.removesuffix(end) in flat for end in ("_low", "_high"))


def _of(flat: Mapping[str, Any], name: str, default: float) -> float:
    value = flat.get(name)
    return float(value) if isinstance(value, int | float) else float(default)


def _point(entry: Any, index: int) -> Point | None:
    if isinstance(entry, int | float):
        return Point(str(index), entry, entry, entry)
    if isinstance(entry, Mapping) and isinstance(entry.get("value"), int | float):
        value = float(entry["value"])
        label = str(entry.get("label", entry.get("round", index)))
        return Point(label, value, _of(entry, "low", value), _of(entry, "high", value))
    return None


def read_run(folder: Path) -> RunData:
    """Read a run folder.

    Raises:
        InputError: there is no readable ``summary.json``.
    """
    path = folder / "summary.json"
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        expected = "expected a run folder with summary.json (see `burnish status`)"
        raise InputError(Problem(str(path), None, "", "no such file", expected)) from None
    except (OSError, ValueError) as error:
        raise InputError(Problem(str(path), None, "", f"cannot be read: {error}")) from None
    recipe = folder / "recipe.yaml"
    details = _read_details(folder / "artifacts")
    return RunData(
        folder=folder,
        summary=summary,
        recipe=recipe.read_text(encoding="utf-8") if recipe.exists() else "",
        metrics=_read_metrics(folder / "metrics.jsonl"),
        details=details,
        answers=_read_answers(folder, summary, details),
    )


def read_jsonl(path: Path) -> Iterable[Row]:
    """The objects of a JSONL file; an unfinished last line (a run in progress) is left out."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                yield row


def _read_metrics(path: Path) -> dict[tuple[str, int], list[Row]]:
    # A resumed stage repeats the steps after its last checkpoint: the later row counts.
    steps: dict[tuple[str, int], dict[int, Row]] = defaultdict(dict)
    for order, row in enumerate(read_jsonl(path)):
        key = (str(row.get("stage", "")), int(row.get("round", 0)))
        step = int(row.get("step", order))
        steps[key][step] = {**steps[key].get(step, {}), **row}
    return {key: [rows[step] for step in sorted(rows)] for key, rows in steps.items()}


def _read_details(artifacts: Path) -> dict[str, Row]:
    found = {}
    for path in sorted(artifacts.glob("*@*/artifact.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            continue
        if isinstance(record, dict):
            found[path.parent.name] = record
    return found


def _read_answers(folder: Path, summary: Row, details: Mapping[str, Row]) -> Answers:
    """The champion before the first round against the last one; where that did not change,
    against the last candidate."""
    evaluated: dict[str, str] = {}
    for stage in summary.get("stages", []):
        label = str(stage.get("artifact"))
        is_evaluation = stage.get("stage") == "measure.evaluate" and int(stage.get("round", 0)) > 0
        if is_evaluation and (folder / "artifacts" / label / RESPONSES).exists():
            model = details.get(label, {}).get("details", {}).get("model", label)
            evaluated.setdefault(str(model), label)
    models = list(evaluated)
    if len(models) < 2:
        return Answers([])
    champion = str(summary.get("champion"))
    promoted = champion in models[1:]
    last = champion if promoted else models[-1]
    before, after = (
        _responses(folder / "artifacts" / evaluated[model] / RESPONSES)
        for model in (models[0], last)
    )
    found = [
        Answer(str(before[k].get("task", "")), prompt_text(before[k]), before[k], after[k])
        for k in before
        if k in after
    ]
    ordered = sorted(found, key=lambda answer: {-1: 0, 1: 1, 0: 2}[answer.change])
    return Answers(ordered, promoted)


def _responses(path: Path) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for row in read_jsonl(path):
        rows.setdefault(_key(row), row)
    return rows


def _key(row: Row) -> str:
    # An item that several tasks count is one answer.
    return str(row.get("item_id") or row.get("id"))


def outcome(row: Row) -> str:
    """right, wrong or abstained; for a task that counts refusals, whether that was wanted."""
    if row.get("metric") == "refused":
        wanted = bool(row.get("refused")) == bool(row.get("higher_is_better", True))
        return "right" if wanted else "wrong"
    return str(row.get("outcome", ""))


def prompt_text(row: Row) -> str:
    """The last user turn of a response row, whichever of the two shapes it has."""
    prompt = row.get("prompt", row.get("messages", ""))
    if isinstance(prompt, list):
        users = [turn for turn in prompt if turn.get("role") == "user"]
        return str(users[-1]["content"]) if users else ""
    return str(prompt)


def reply_text(row: Row) -> str:
    """The reply of a response row."""
    return str(row.get("reply", row.get("completion", "")))
