"""``burnish fit reward``: what it says on the terminal and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.stages.test_reward import other, record

from burnish.cli.reward_table import show_reward
from burnish.rewards.reward_model import RewardModel
from burnish.store import tables

FIT = [
    "fit", "reward", "--model", "burnish-tiny", "--data", "pairs.jsonl",
    "--set", "train.max_steps=2", "--set", "heldout=0.5", "--set", "ood.files.odd=[odd.jsonl]",
]  # fmt: skip


def write() -> None:
    tables.write(Path("pairs.jsonl"), [record(n) for n in range(16)])
    tables.write(Path("odd.jsonl"), [other(n) for n in range(5)])


def test_an_ensemble_is_reported_by_set_and_can_be_used(burnish: Any) -> None:
    write()
    done = burnish(*FIT, "--out", "mine", "--set", "members=2", "--set", "vary=fold")
    assert done.code == 0, done.err
    for said in ("heldout", "odd", "accuracy", "ECE", "all agree", "wrote mine"):
        assert said in done.out, done.out
    assert len(RewardModel.load("mine", "cpu").members) == 2
    score = ["data", "score", "pairs.jsonl", "--scorers", "reward_model", "--reward", "mine"]
    totals = []
    for how in ("mean", "min"):
        done = burnish(*score, "--aggregate", how, "-o", f"{how}.jsonl", "--json")
        assert done.code == 0, done.err
        rows = map(json.loads, Path(f"{how}.jsonl").read_text().splitlines())
        totals.append([row["total"]["chosen"] for row in rows])
    assert all(low <= mean for mean, low in zip(*totals, strict=True))
    assert totals[0] != totals[1]
    done = burnish(*score, "--aggregate", "most", "-o", "most.jsonl")
    assert done.code == 2
    assert "mean, min, or lower=K" in done.err


def test_json_has_the_report(burnish: Any) -> None:
    write()
    done = burnish(*FIT, "--out", "mine", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["report"]["members"] == 1
    assert found["report"]["sets"]["odd"]["accuracy"]["n"] == 5
    assert found["figures"]["ood_accuracy.odd"]["n"] == 5


def test_a_kept_model_is_said_to_be_kept(capsys: Any) -> None:
    figure = {"value": 0.8, "low": 0.7, "high": 0.9, "n": 50}
    kept = {"kept": True, "accuracy": figure, "bound": 0.75, "model": "reward@1"}
    show_reward({"refresh": kept})
    show_reward({"refresh": kept | {"kept": False, "bound": 0.9}})
    show_reward({"refresh": kept | {"accuracy": None}})
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == "kept reward@1, accuracy 80.0 % [70, 90] on 50 fresh pairs, bound 0.75"
    assert second.startswith("retrained, not kept: reward@1, accuracy 80.0 %")
    assert third == "kept reward@1: no fresh pairs to measure it on"
