"""The section on optimised policies, in both languages, and what the terminal says of it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from burnish.cli.tables import print_results
from burnish.reporting.html import render
from burnish.reporting.optimisation import optimisation
from burnish.reporting.rundata import read_run
from burnish.reporting.strings import Lang


@pytest.mark.parametrize(
    ("lang", "alarm", "verdict", "coefficients"),
    [
        ("en", "Phase 3: entropy fell to 0.31 nats a token, below 0.6", "went back to step 8",
         "held-out judges: α = 0.8, β = 0.5, residual 0.012"),
        ("zh", "第 3 阶段：熵降至每词元 0.31 纳特，低于 0.6", "回退到留出评判最佳的第 8 步",
         "留出评判：α = 0.8，β = 0.5，残差 0.012"),
    ],
)  # fmt: skip
def test_alarms_verdict_and_gaos_curve(
    run_folder: Path, lang: Lang, alarm: str, verdict: str, coefficients: str
) -> None:
    page = render(run_folder, lang)
    assert 'href="#optimisation"' in page
    for text in (alarm, verdict, coefficients):
        assert text in page


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"rolled_back": False}, "Only to be reported"),
        ({"over_optimised": False, "rolled_back": False}, "did not fall beyond noise"),
    ],
)
def test_the_verdict_is_the_records(
    run_folder: Path, changes: dict[str, bool], expected: str
) -> None:
    path = run_folder / "artifacts/ppo@1/artifact.json"
    record = json.loads(path.read_text())
    record["details"]["watch"] |= changes
    path.write_text(json.dumps(record))
    assert expected in optimisation(read_run(run_folder), "en")


def test_without_a_watch_the_training_reward_is_drawn_over_the_divergence(
    run_folder: Path,
) -> None:
    assert "reward over √KL" not in optimisation(read_run(run_folder), "en")
    path = run_folder / "artifacts/ppo@1/artifact.json"
    path.write_text(json.dumps({"name": "ppo", "details": {"alarms": []}}))
    card = optimisation(read_run(run_folder), "en").split("<h3>ppo · reward over √KL</h3>")[1]
    assert all(f"Round {number}" in card for number in (1, 2))
    # 120 steps of two rounds, each a point and none joined.
    assert card.count("<circle") == 240
    assert 'class="curve"' not in card


def test_without_an_optimised_policy_there_is_no_section(run_folder: Path) -> None:
    path = run_folder / "artifacts/ppo@1/artifact.json"
    path.write_text(json.dumps({"name": "ppo", "details": {"alarms": []}}))
    (run_folder / "metrics.jsonl").unlink()
    assert optimisation(read_run(run_folder), "en") == ""
    assert 'id="optimisation"' not in render(run_folder, "en")


def test_the_terminal_says_what_went_wrong(run_folder: Path) -> None:
    shown = io.StringIO()
    print_results(run_folder, Console(file=shown, width=200))
    assert "ppo@1: Phase 3: entropy fell to 0.31 nats a token" in shown.getvalue()
