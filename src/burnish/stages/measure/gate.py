"""The gate: two evaluations of the same items, a policy, a verdict. It moves nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import model_validator

from burnish.config import DataRef, InputError, Problem, Settings
from burnish.evals import consistency, savings, tasks
from burnish.evals.compare import RESPONSES, Aligned, align, check_judges
from burnish.evals.consistency import DRIFT
from burnish.evals.constant import commonest
from burnish.evals.gate import GatePolicy, decide
from burnish.evals.savings import Saving
from burnish.records import Figure
from burnish.redteam import attempts, figures
from burnish.stages.base import Context, Inputs, Outcome
from burnish.store import atomic
from burnish.store.names import ARTIFACT

MEMORY = "peak_memory_bytes"
ATTACKED = {figures.WITHSTOOD, figures.BENIGN_ANSWERED}


class Config(Settings):
    """Judge the evaluation ``after`` against ``before`` by ``policy``.

    Metrics are the evaluations' task names, turned so that higher is better, and ``general``: the
    mean log-probability a token of the general text (its guard's margin is in nats). With a
    ``probe`` of the candidate (an artifact of ``measure.probe``) a guard ``drift`` bounds the share
    of its items on which the candidate disagrees with the earlier version that it is furthest from.
    With ``redteam`` (an artifact of ``measure.redteam`` that attacked the present model as
    ``before``) there are the metrics ``withstood`` (harmful attempts that failed) and
    ``benign_answered`` (harmless prompts in the same wordings that were not refused). Grades of a
    judge that no labels say agrees with people, or that they say does not, decide nothing. A policy
    with ``cheaper`` needs an ``after`` that timed the model of ``before`` in its
    ``efficiency.beside``.
    """

    before: DataRef
    after: DataRef
    probe: DataRef | None = None
    redteam: DataRef | None = None
    policy: GatePolicy

    @model_validator(mode="after")
    def _probed(self) -> Config:
        if (DRIFT in self.policy.guards) != (self.probe is not None):
            raise ValueError("a guard 'drift' and a probe go together; expected both or neither")
        named = ATTACKED & {*self.policy.target, *self.policy.guards}
        if bool(named) != (self.redteam is not None):
            raise ValueError(f"redteam and one of {', '.join(sorted(ATTACKED))} in the policy go "
                             "together; expected both or neither")  # fmt: skip
        if MEMORY in self.policy.cheaper:
            raise ValueError(f"policy.cheaper: {MEMORY} is that of the whole process here, with "
                             "all that it has loaded; expected size_bytes or a speed")  # fmt: skip
        return self


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Pair the two evaluations item by item, decide, and write ``verdict.json``.

    Raises:
        InputError: a metric of the policy was not measured on both sides, or was graded by a judge
            that may not decide; or the two models were not timed beside each other.
    """
    names = [*config.policy.target, *config.policy.guards]
    names = [name for name in names if name not in {DRIFT, *ATTACKED}]
    check_judges([inputs.path("before"), inputs.path("after")], names)
    sides = align(inputs.path("before"), inputs.path("after"), names)
    if config.probe is not None:
        _add_drift(sides, inputs.path("probe"))
    if config.redteam is not None:
        _add_attacks(sides, inputs.path("redteam"))
    said = commonest(tasks.read(inputs.path("after") / RESPONSES))
    saved = _saved(config.policy, inputs.path("before"), inputs.path("after"))
    verdict = decide(config.policy, sides.before, sides.after, sides.groups, said, saved)
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
        "power": config.policy.power,
        "items_needed": found["items_needed"],
        "saved": found["saved"],
    }
    atomic.write_json(context.output / "verdict.json", details)
    gain = Figure(verdict.gain.difference, verdict.gain.low, verdict.gain.high, verdict.gain.n)
    return Outcome("report", {"gain": gain}, details)


def _saved(policy: GatePolicy, before: Path, after: Path) -> list[Saving]:
    """What the candidate saves, by the turns that its evaluation timed with the present model."""
    if not policy.cheaper:
        return []
    model = _json(before / ARTIFACT)["details"]["model"]
    timed = after / savings.FILE
    turns: dict[str, Any] = _json(timed) if timed.exists() else {"beside": "no other model"}
    if turns["beside"] != model:
        found = f"its model was timed beside {turns['beside']}"
        expected = f"efficiency.beside: the model of {before.name}, {model}"
        raise InputError(Problem(str(after), None, "cheaper", found, expected))
    return savings.savings(
        policy.cheaper, turns["before"], turns["after"],
        alpha=policy.alpha, draws=policy.draws, seed=policy.seed,
    )  # fmt: skip


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _add_drift(sides: Aligned, probe: Path) -> None:
    """Agreement with the earlier version furthest away, which agreed with itself throughout."""
    versions = consistency.read(probe)
    far = consistency.furthest(versions) or versions[-1]
    agrees, groups = consistency.agreement(far, versions[-1])
    sides.before[DRIFT], sides.after[DRIFT] = [1.0] * len(agrees), [*agrees]
    sides.groups[DRIFT] = groups


def _add_attacks(sides: Aligned, folder: Path) -> None:
    """Attempts on the candidate against the same on the model before it."""
    if not (folder / attempts.BEFORE_FILE).exists():
        expected = "a measure.redteam with before, the model to be replaced"
        raise InputError(Problem(str(folder), None, "redteam", "one model attacked", expected))
    earlier, now = (attempts.read(folder / name) for name in (attempts.BEFORE_FILE, attempts.FILE))
    for name, paired in figures.gate_values(earlier, now).items():
        sides.before[name], sides.after[name] = paired.before, paired.after
        sides.groups[name] = paired.groups
