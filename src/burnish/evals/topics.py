"""How a model did in each topic, from its last evaluation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from burnish.config import InputError, Problem
from burnish.evals.compare import RESPONSES
from burnish.evals.statistics import mean_figure
from burnish.evals.tasks import Response, counts, read, score
from burnish.records import Figure

_FORM = '{"topic": 0.4} or {"topic": {"value": 0.4, "low": 0.3, "high": 0.5, "n": 80}}'


def topic_scores(responses: Sequence[Response], seed: int = 0) -> dict[str, Figure]:
    """The mean of each topic, turned so that 1 is best; intervals are clustered on groups.

    A response's topic is that of its item, or its category, or its task. One item that several
    tasks ask with one metric counts once.
    """
    topics: dict[str, dict[tuple[str, str], Response]] = {}
    for one in responses:
        own = topics.setdefault(one.topic or one.category or one.task, {})
        own.setdefault((one.item_id, one.metric), one)
    return {
        topic: mean_figure(
            [_good(one) for one in own.values()], [one.group for one in own.values()], seed=seed
        )
        for topic, own in topics.items()
    }


def _good(one: Response) -> float:
    value = counts(one, one.metric)
    return value if one.higher_is_better else 1 - value


def read_scores(path: Path) -> dict[str, Figure]:
    """Scores by topic from what ``measure.evaluate`` made, its responses, or a file of scores.

    Args:
        path: the artifact's folder, a ``responses.jsonl``, or JSON such as ``{"sleep": 0.4}`` with
            numbers from 0 (weak) to 1, or figures with ``value``, ``low``, ``high`` and ``n``.

    Raises:
        InputError: none of these.
    """
    if path.is_dir():
        path = path / RESPONSES
    if path.suffix == ".jsonl":
        return topic_scores(score(read(path)))
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(Problem(str(path), None, "", f"cannot be read: {error}", _FORM)) from None
    if not isinstance(found, dict):
        raise InputError(Problem(str(path), None, "", "no scores by topic", _FORM))
    return {topic: _figure(path, topic, value) for topic, value in found.items()}


def _figure(path: Path, topic: str, value: Any) -> Figure:
    numbers = value if isinstance(value, dict) else {"value": value}
    mean = numbers.get("value")
    if isinstance(mean, bool) or not isinstance(mean, int | float) or not 0 <= mean <= 1:
        raise InputError(Problem(str(path), None, topic, f"found {value!r:.80}", _FORM))
    low, high, n = (numbers.get(name) for name in ("low", "high", "n"))
    return Figure(
        float(mean),
        float(mean if low is None else low),
        float(mean if high is None else high),
        int(n or 0),
    )
