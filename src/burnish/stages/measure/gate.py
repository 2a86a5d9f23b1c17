"""The gate: two evaluations of the same items, a policy, a verdict. It moves nothing."""

from __future__ import annotations

from burnish.config import DataRef, Settings
from burnish.evals.compare import align, check_judges
from burnish.evals.gate import GatePolicy, decide
from burnish.records import Figure
from burnish.stages.base import Context, Inputs, Outcome
from burnish.store import atomic


class Config(Settings):
    """Judge the evaluation ``after`` against ``before`` by ``policy``.

    Metrics are the evaluations' task names, turned so that higher is better, and ``general``:
    the mean log-probability a token of the general text (its guard's margin is in nats). Grades of
    a judge that no labels say agrees with people, or that they say does not, decide nothing.
    """

    before: DataRef
    after: DataRef
    policy: GatePolicy


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Pair the two evaluations item by item, decide, and write ``verdict.json``.

    Raises:
        InputError: a metric of the policy was not measured on both sides, or was graded by a judge
            that may not decide.
    """
    names = [*config.policy.target, *config.policy.guards]
    check_judges([inputs.path("before"), inputs.path("after")], names)
    sides = align(inputs.path("before"), inputs.path("after"), names)
    verdict = decide(config.policy, sides.before, sides.after, sides.groups)
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
