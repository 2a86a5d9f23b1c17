"""The reward model's part of the report, in both languages."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import pytest

from burnish.reporting.rewards import reward, set_name
from burnish.reporting.rundata import RunData
from burnish.reporting.strings import Lang


def figure(value: float, n: int = 40) -> dict[str, Any]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": n}


def a_set(**more: Any) -> dict[str, Any]:
    bins = [
        {"low": 0.5, "high": 0.55, "n": 17, "confidence": 0.52, "accuracy": 0.5},
        {"low": 0.95, "high": 1.0, "n": 23, "confidence": 0.97, "accuracy": 0.8},
    ]
    calibration = {"error": 0.1234, "bins": bins}
    return {
        "accuracy": figure(0.7),
        "calibration": {"before": calibration, "after": calibration | {"error": 0.0567}},
        "length": {"gaps": figure(-0.31), "accuracy": {"longer": figure(0.6, 12)}},
        **more,
    }


def run_with(*rounds: dict[str, Any]) -> RunData:
    details = {
        f"reward@{n}": {"name": "reward", "stage": "fit.reward", "round": n, "details": each}
        for n, each in enumerate(rounds, start=1)
    }
    return RunData(Path("x"), {}, "", details=details)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_last_rounds_model_is_shown_with_all_that_is_known(lang: Lang) -> None:
    agreement = {"all_agree": figure(0.9), "agree": figure(0.75)}
    sets = {"heldout": a_set(agreement=agreement), "<odd>": a_set(), "own": a_set()}
    best = {"n": 4, "picked": figure(0.5), "average": figure(0.1), "best": figure(0.9)}
    details = {"sets": sets, "temperature": 1.618, "best_of_n": best}
    page = str(reward(run_with({"sets": {"longest": a_set()}}, details), lang))
    assert page.count("<svg") == 3  # a reliability plot for each set of the last round
    assert "&lt;odd&gt;" in page
    assert "<odd>" not in page
    for shown in ("reward@2", "0.123", "0.057", "-0.31", "1.62", "+0.500", "n=12", "23", "0.970"):
        assert shown in page, shown
    assert "reward@1" not in page
    assert html.escape(set_name("own", lang)) in page


@pytest.mark.parametrize(
    ("refresh", "expected"),
    [
        ({"kept": True, "accuracy": figure(0.8)}, "Kept reward@1: accuracy 80"),
        ({"kept": False, "accuracy": figure(0.6)}, "Retrained: reward@1 had accuracy 60"),
        ({"kept": True, "accuracy": None}, "no fresh pairs"),
    ],
)
def test_a_refresh_is_told(refresh: dict[str, Any], expected: str) -> None:
    details = {
        "sets": {"heldout": a_set()},
        "refresh": refresh | {"bound": 0.75, "model": "reward@1"},
        "temperature": None,
    }
    page = str(reward(run_with(details), "en"))
    assert expected in page
    assert "No temperature" in page


def test_a_run_without_a_reward_model_says_nothing_of_one() -> None:
    assert str(reward(run_with(), "en")) == ""
    assert str(reward(run_with(json.loads('{"pairs": 3}')), "en")) == ""
