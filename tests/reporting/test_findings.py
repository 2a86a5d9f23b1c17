from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from burnish.reporting.findings import findings, recommendations, separated, tone_of
from burnish.reporting.rundata import Change, Point, read_run


def run_with(folder: Path, **summary: Any) -> Any:
    (folder / "summary.json").write_text(json.dumps(summary))
    return read_run(folder)


def test_touching_intervals_are_no_change() -> None:
    before = Point("", 0.4, 0.3, 0.5)
    assert not separated(before, Point("", 0.6, 0.5, 0.7))
    assert separated(before, Point("", 0.61, 0.51, 0.7))
    assert separated(before, Point("", 0.2, 0.1, 0.29))


def test_direction_decides_good_or_bad() -> None:
    low, high = Point("", 0.1, 0.05, 0.15), Point("", 0.9, 0.85, 0.95)
    assert tone_of(Change("harmful_refused", low, high)) == "good"
    assert tone_of(Change("benign_refused", low, high)) == "bad"
    assert tone_of(Change("confident_wrong", high, low)) == "good"


def test_rules_of_recommendations(tmp_path: Path) -> None:
    figures = {"general_ppl_ratio": 1.31, "benign_refused": 0.07, "unknown_abstained": 0.59}
    advice = recommendations(run_with(tmp_path, figures=figures), "en")
    assert len(advice) == 3
    at_bound = {"general_ppl_ratio": 1.3, "benign_refused": 0.06, "unknown_abstained": 0.6}
    assert recommendations(run_with(tmp_path, figures=at_bound), "en") == []


def test_wide_interval_and_source_gap_are_named(tmp_path: Path) -> None:
    figures = {
        "harmful_refused": 0.5, "harmful_refused_low": 0.3, "harmful_refused_high": 0.7,
        "reward_heldout_accuracy": 0.9, "reward_left_out_accuracy": 0.7,
    }  # fmt: skip
    advice = recommendations(run_with(tmp_path, figures=figures), "en")
    assert any("40 points wide" in item for item in advice)
    assert any("loses 20 points" in item for item in advice)


def test_bad_news_comes_first(tmp_path: Path) -> None:
    series = {
        "harmful_refused": [0.1, 0.9],
        "benign_refused": [0.0, 0.4],
    }
    tones = [item.tone for item in findings(run_with(tmp_path, series=series), "zh")]
    assert tones == ["bad", "good"]


def test_resumed_steps_count_once(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text("{}")
    rows = [{"stage": "sft", "round": 0, "step": s, "loss": y} for s, y in ((1, 5), (2, 4), (2, 3))]
    text = "\n".join(json.dumps(row) for row in rows) + '\n{"stage": "sft", "st'
    (tmp_path / "metrics.jsonl").write_text(text)
    assert [row["loss"] for row in read_run(tmp_path).metrics["sft", 0]] == [5, 3]


def test_unclear_changes_share_a_line(tmp_path: Path) -> None:
    half = {"value": 0.5, "low": 0.4, "high": 0.6}
    series = {"form": [half, half], "atlas_seen": [half, {**half, "value": 0.55}]}
    (only,) = findings(run_with(tmp_path, series=series), "en")
    wordings = "Knowledge, new wordings (50 % → 55 %)"
    assert only.text == f"No clear change: {wordings}, Constraints followed"


def test_confident_wrong_answers_are_named_unless_they_fell(tmp_path: Path) -> None:
    def advised(after: float) -> bool:
        half = {"value": 0.2, "low": 0.1, "high": 0.3}
        run = run_with(tmp_path, series={"confident_wrong": [half, {**half, "value": after}]})
        return any("Confident wrong" in item for item in recommendations(run, "en"))

    assert [advised(after) for after in (0.15, 0.2, 0.25)] == [False, True, True]
