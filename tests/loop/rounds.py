"""Short recipes whose rounds can be good, bad or broken: one fit between two measurements."""

from __future__ import annotations

import copy
from typing import Any

SURE = {"learning_rate": 2e-2, "max_steps": 60, "epochs": 20, "segments_per_step": 20}


def one_fit(value: dict[str, Any], name: str, fit: dict[str, Any], **rounds: Any) -> dict[str, Any]:
    """The mini recipe cut down to: measure, ``fit``, measure, gate, promote."""
    mini = copy.deepcopy(value)
    before, after, gate = (mini["round"][stage] for stage in ("before", "after", "gate"))
    for stage in (before, after):
        del stage["heldout"], stage["base"]
        stage["sampling"] = {"max_new_tokens": 10, "temperature": 0}
    return {
        "name": name,
        "model": "model",
        "prepare": {"sft": mini["prepare"]["sft"] | {"model": "@base"}},
        "round": {
            "before": before,
            "fit": {"model": "@champion", **fit},
            "after": after | {"model": "@fit"},
            "gate": gate | {"policy": {"target": ["capitals"]}},
            "promote": {"run": "release.promote", "verdict": "@gate", "model": "@fit"},
        },
        "rounds": {"champion": "@sft", **rounds},
        "figures": {"capitals_before": "start.capitals", "capitals_after": "final.capitals"},
    }


def idle(value: dict[str, Any], name: str, **rounds: Any) -> dict[str, Any]:
    """Rounds that train one step at a rate that changes nothing that is measured."""
    train = {"max_steps": 1, "learning_rate": 1e-12, "segments_per_step": 4}
    return one_fit(value, name, {"run": "fit.sft", "data": ["sft.jsonl"], "train": train}, **rounds)
