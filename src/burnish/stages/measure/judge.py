"""A judge's grades of the replies of an evaluation, as a metric that the gate can read."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from pydantic import Field

from burnish.config import DataRef, InputError, Problem, Settings
from burnish.evals import tasks
from burnish.evals.compare import GENERAL_LOSSES, JUDGED, RESPONSES, Judged, judged
from burnish.evals.statistics import mean_figure
from burnish.evals.tasks import Response
from burnish.rewards.candidates import Candidate
from burnish.rewards.scoring import ScoreCache, chunks
from burnish.stages.base import Context, Inputs, Outcome
from burnish.stages.judging import JudgeSettings, Judging, load_judge, verdicts
from burnish.stages.scoring import AT_ONCE, SCORES
from burnish.store import atomic

UNTESTED = "no labels of people say how well it agrees with them"


class Config(Settings):
    """Have a ``judge`` grade the replies of ``evaluation``, 0 to 1, as the metric ``name``.

    What comes out is that evaluation with the metric added. ``tasks`` are those whose replies are
    graded; all where none are named. A reply without a verdict is missing. Without the judge's
    ``labels``, or where these say that it agrees too little with people, the metric is reported and
    the gate refuses it.
    """

    evaluation: DataRef
    judge: JudgeSettings
    name: str = Field("judged", pattern=r"^[\w.-]+$")
    tasks: list[str] = []


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Write the evaluation's files again with ``judged.json`` beside them."""
    folder = inputs.path("evaluation")
    responses = tasks.read(folder / RESPONSES)
    asked = _asked(config, responses)
    cache = ScoreCache(context.cache / SCORES)
    judging = load_judge(config.judge, inputs, context, cache)
    grades = _grades(judging, asked, cache)
    for name in (RESPONSES, GENERAL_LOSSES):
        if (folder / name).exists():
            shutil.copyfile(folder / name, context.output / name)
    there = [(one, grade) for one, grade in zip(asked, grades, strict=True) if grade is not None]
    reasons = [UNTESTED] if judging.tested is None else judging.tested.reasons
    found = Judged(
        judge=judging.judge.name,
        usable=judging.tested is not None and judging.usable,
        reasons=reasons,
        values={one.item_id: grade for one, grade in there},
        groups={one.item_id: one.group for one, _ in there},
    )
    atomic.write_json(context.output / JUDGED, {**judged(folder), config.name: found})
    figure = mean_figure([grade for _, grade in there], [one.group for one, _ in there])
    details = {
        "judge": judging.details(),
        "may_decide": found["usable"],
        "reasons": reasons,
        "missing": len(asked) - len(there),
    }
    return Outcome("report", {**tasks.figures(responses), config.name: figure}, details)


def _asked(config: Config, responses: Sequence[Response]) -> list[Response]:
    """The responses to grade, one an item.

    Raises:
        InputError: no such task, or the name is taken.
    """
    known = {one.task for one in responses}
    problems = [
        Problem("", None, "tasks", f"no task {task!r}", f"of {', '.join(sorted(known))}")
        for task in config.tasks
        if task not in known
    ]
    if config.name in known:
        problems.append(Problem("", None, "name", f"{config.name!r} is a task", "another name"))
    if problems:
        raise InputError(problems)
    wanted = set(config.tasks) or known
    return list({one.item_id: one for one in responses if one.task in wanted}.values())


def _grades(judging: Judging, asked: Sequence[Response], cache: ScoreCache) -> list[float | None]:
    candidates = [
        Candidate(one.item_id, one.messages, one.reply, one.lang, None, one.finish == "stop")
        for one in asked
    ]
    parts = chunks(candidates, AT_ONCE)
    return [grade for part in parts for grade in verdicts(judging.judge, part, cache)]
