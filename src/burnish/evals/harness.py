"""Tasks of lm-evaluation-harness by name, or a user's own in its YAML form."""

from __future__ import annotations

import contextlib
import io
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, NonNegativeInt, PositiveInt

from burnish.config import DataRef, InputError, Problem, Settings
from burnish.config.optional import needed
from burnish.evals.harness_model import harness_model
from burnish.evals.statistics import mean_figure
from burnish.models.load import Loaded
from burnish.records import Figure


class HarnessSettings(Settings):
    """Tasks that lm-eval knows by name (it fetches their data), or those of ``folder``.

    ``folder`` holds task files in lm-eval's YAML form, and data files that these name; with it
    lm-eval's own tasks are not loaded, and nothing is fetched. ``limit`` takes the first items of
    each task, ``shots`` sets the number of examples before each question, and ``chat`` puts
    questions through the model's chat template, which lm-eval does not do by itself.
    """

    tasks: list[str] = Field(min_length=1)
    folder: DataRef | None = None
    limit: PositiveInt | None = None
    shots: NonNegativeInt | None = None
    chat: bool = False


@dataclass(frozen=True)
class HarnessResult:
    """Figures by ``task.metric``, each item's value of those that have one (turned so that higher
    is better), and which way each metric points. ``versions`` are the tasks' own."""

    figures: dict[str, Figure]
    values: dict[str, dict[str, float]]
    upward: dict[str, bool]
    versions: dict[str, Any]


def measure(
    settings: HarnessSettings, loaded: Loaded, folder: Path | None, seed: int = 0
) -> HarnessResult:
    """Run the tasks on a model in this process.

    Raises:
        InputError: lm-eval is not installed, there is no such task, or its data cannot be read.
    """
    needed("evals", "lm_eval", at="harness")
    from lm_eval import evaluator
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    where = contextlib.nullcontext() if folder is None else contextlib.chdir(folder)
    # The data files a task names lie beside it; lm-eval's bars would run through burnish's own.
    with where, contextlib.redirect_stderr(io.StringIO()):
        manager = TaskManager(include_path=folder, include_defaults=folder is None)
        known = set(manager.all_tasks)
        if unknown := [name for name in settings.tasks if name not in known]:
            expected = ", ".join(sorted(known)[:20]) or "a folder with task files"
            problem = Problem("", None, "harness.tasks", f"no task {unknown[0]!r}", expected)
            raise InputError(problem)
        try:
            found = evaluator.simple_evaluate(
                harness_model(loaded, seed), tasks=list(settings.tasks), task_manager=manager,
                num_fewshot=settings.shots, limit=settings.limit, bootstrap_iters=0,
                apply_chat_template=settings.chat, random_seed=seed, numpy_random_seed=seed,
                torch_random_seed=seed, fewshot_random_seed=seed, verbosity="ERROR",
            )  # fmt: skip
        except (OSError, ValueError, KeyError, ImportError) as error:
            said = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
            raise InputError(
                Problem("", None, "harness.tasks", f"lm-eval: {type(error).__name__}: {said}",
                        "tasks whose data can be read here")
            ) from error  # fmt: skip
    return read_results(found, seed)


def read_results(found: Mapping[str, Any], seed: int = 0) -> HarnessResult:
    """From what ``simple_evaluate`` returns; metrics without a number an item have no interval."""
    result = HarnessResult({}, {}, {}, dict(found.get("versions") or {}))
    for task, rows in found["samples"].items():
        filters = list(dict.fromkeys(str(row["filter"]) for row in rows))
        for kind in filters:
            ours = [row for row in rows if row["filter"] == kind]
            for metric in ours[0]["metrics"]:
                name = f"{task}.{metric}" + (f".{kind}" if len(filters) > 1 else "")
                upward = bool(found["higher_is_better"].get(task, {}).get(metric, True))
                _add(result, name, upward, [(str(row["doc_id"]), row[metric]) for row in ours],
                     found["results"][task].get(f"{metric},{kind}"), seed)  # fmt: skip
    return result


def _add(
    result: HarnessResult,
    name: str,
    upward: bool,
    items: list[tuple[str, Any]],
    overall: Any,
    seed: int,
) -> None:
    result.upward[name] = upward
    if all(isinstance(value, bool | int | float) for _, value in items):
        numbers = {item: float(value) for item, value in items}
        result.figures[name] = mean_figure(list(numbers.values()), seed=seed)
        sign = 1 if upward else -1
        result.values[name] = {item: sign * value for item, value in numbers.items()}
    elif isinstance(overall, int | float):
        result.figures[name] = Figure(float(overall), -math.inf, math.inf, len(items))
