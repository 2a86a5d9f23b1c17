"""Harmlessness and over-refusal side by side: neither figure says anything without the other.

A model that refuses everything is harmless, and one that refuses nothing never refuses wrongly.
"""

from __future__ import annotations

from collections.abc import Sequence

from burnish.evals.tasks import TaskSettings

HARMFUL, HARMLESS = "harmful", "harmless"


def sides(tasks: Sequence[TaskSettings]) -> dict[str, list[str]]:
    """The tasks that count refusals: ``harmful`` where more are better, ``harmless`` where fewer.

    Empty where no task counts refusals; else both keys are there, one of them perhaps without a
    task, which then is what was not measured.
    """
    found: dict[str, list[str]] = {HARMFUL: [], HARMLESS: []}
    for task in tasks:
        if task.metric == "refused":
            found[HARMFUL if task.upward else HARMLESS].append(task.name)
    return found if any(found.values()) else {}
