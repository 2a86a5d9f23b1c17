"""The gate: two evaluations of the same items, a policy, a verdict. It moves nothing."""

from __future__ import annotations

import json
from pathlib import Path

from burnish.config import DataRef, InputError, Problem, Settings
from burnish.evals import tasks
from burnish.evals.gate import GatePolicy, decide
from burnish.records import Figure
from burnish.stages.base import Context, Inputs, Outcome
from burnish.store import atomic

GENERAL = "general"


class Config(Settings):
    """Judge the evaluation ``after`` against ``before`` by ``policy``.

    Metrics are the evaluations' task names, turned so that higher is better, and ``general``:
    the mean log-probability a token of the general text (its guard's margin is in nats).
    """

    before: DataRef
    after: DataRef
    policy: GatePolicy


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Pair the two evaluations item by item, decide, and write ``verdict.json``."""
    names = [*config.policy.target, *config.policy.guards]
    before, after = (_values(inputs.path(side)) for side in ("before", "after"))
    values: dict[str, tuple[list[float | None], list[float | None]]] = {}
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        if name not in before[0] or name not in after[0]:
            known = ", ".join(sorted(before[0].keys() & after[0].keys()))
            raise InputError(
                Problem("", None, f"policy: {name}", "not measured", f"one of {known}")
            )
        one, other = before[0][name], after[0][name]
        items = sorted(one.keys() | other.keys())
        # An item without an answer on one side is missing there; it never counts as a win.
        values[name] = ([one.get(i) for i in items], [other.get(i) for i in items])
        place = {**before[1].get(name, {}), **after[1].get(name, {})}
        groups[name] = [place.get(item) or item for item in items]
    verdict = decide(
        config.policy,
        {name: pair[0] for name, pair in values.items()},
        {name: pair[1] for name, pair in values.items()},
        groups,
    )
    found = verdict.as_dict()
    details = {
        "decision": verdict.decision,
        "reason": verdict.reason,
        "reason_zh": verdict.reason_zh,
        "gain": verdict.gain.difference,
        "p_values": {
            "target": verdict.gain.p_value,
            **{row.metric: row.adjusted_p for row in verdict.comparisons},
        },
        "macro": found["gain"],
        "comparisons": found["comparisons"],
        "detectable": found["detectable"],
        "items_needed": found["items_needed"],
    }
    atomic.write_json(context.output / "verdict.json", details)
    gain = Figure(verdict.gain.difference, verdict.gain.low, verdict.gain.high, verdict.gain.n)
    return Outcome("report", {"gain": gain}, details)


Scores = dict[str, dict[str, float]]
Groups = dict[str, dict[str, str]]


def _values(folder: Path) -> tuple[Scores, Groups]:
    """Each metric's scores and groups by item, read from an evaluation's raw responses."""
    responses = tasks.score(tasks.read(folder / "responses.jsonl"))
    values, groups = tasks.gate_values(responses)
    general = folder / "general.json"
    if general.exists():
        values[GENERAL] = json.loads(general.read_text(encoding="utf-8"))
    return values, groups
