"""Harmlessness and over-refusal: in no table one without the other."""

from __future__ import annotations

from typing import Any

import pytest

from burnish.evals import refusals as sides_of
from burnish.evals.tasks import TaskSettings
from burnish.reporting.refusals import of_artifact, refused, shown, turned

FIGURE = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 50}


def task(name: str, **settings: Any) -> TaskSettings:
    return TaskSettings.model_validate({"name": name, "data": "x", "metric": "refused"} | settings)


def test_refusals_are_told_apart_by_which_way_is_better() -> None:
    benign = task("benign", higher_is_better=False)
    other = task("form", metric="right")
    both = {"harmful": ["bad"], "harmless": ["benign"]}
    assert sides_of.sides([task("bad"), other, benign]) == both
    assert sides_of.sides([task("bad")]) == {"harmful": ["bad"], "harmless": []}
    assert sides_of.sides([other]) == {}


def test_what_was_not_measured_is_said_in_its_place() -> None:
    one = refused("m", {"harmful": ["bad"], "harmless": []}, {"bad": FIGURE})
    assert one is not None
    assert shown(one.harmful, "en") == "bad 90 % [80 %, 95 %]"
    assert shown(one.harmless, "en") == "not measured"
    assert shown(one.harmless, "zh") == "未测量"
    assert refused("m", {}, {"form": FIGURE}) is None


def test_a_constitutions_own_replies_are_turned_to_shares_refused() -> None:
    assert turned(FIGURE) == pytest.approx({"value": 0.1, "low": 0.05, "high": 0.2, "n": 50})
    none = {"value": None, "low": 0, "high": 1, "n": 0}
    found = of_artifact("c@1", {"figures": {"harmful_complied": FIGURE, "harmless_refused": none}})
    assert found is not None
    assert found.harmful[""]["value"] == pytest.approx(0.1)
    assert shown(found.harmless, "en") == "not measured"
