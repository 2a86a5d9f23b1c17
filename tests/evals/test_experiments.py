"""Experiments: sticky assignment, outcomes once, periods, the verdict in the registry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.config import InputError
from burnish.evals import experiments
from burnish.evals.sequential import StopRule
from burnish.store.registry import Registry


@pytest.fixture
def registry(tmp_path: Path) -> Any:
    with Registry(tmp_path / "registry.sqlite") as opened:
        for number in (1, 2):
            opened.register("sft", "model", f"/runs/{number}", f"f{number}")
        opened.set_alias("champion", "sft@1")
        yield opened


def outcomes(rates: dict[str, float], count: int, seed: int = 0) -> list[dict[str, Any]]:
    source = np.random.default_rng(seed)
    arms = list(rates)
    return [
        {
            "request": f"r{n}",
            "arm": arms[n % 2],
            "user": f"u{n}",
            "value": int(source.random() < rates[arms[n % 2]]),
            "metrics": {"safe": 1.0 - (n % 9 == 0)},
        }
        for n in range(count)
    ]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_assignment_is_sticky_and_moves_nobody_back(registry: Registry) -> None:
    made = experiments.start(registry, "tone", "champion", "sft@2", 0.2, StopRule())
    users = [f"user-{n}" for n in range(2000)]
    first = [experiments.assign(made, user) for user in users]
    assert first == [experiments.assign(experiments.load(registry, "tone"), u) for u in users]
    assert 0.17 < first.count("sft@2") / 2000 < 0.23
    raised = experiments.set_share(registry, made, 0.6)
    later = [experiments.assign(raised, user) for user in users]
    assert all(b == "sft@2" for a, b in zip(first, later, strict=True) if a == "sft@2")
    assert 0.56 < later.count("sft@2") / 2000 < 0.64
    # Another experiment divides the same users in another way.
    other = experiments.start(registry, "other", "champion", "sft@2", 0.5, StopRule())
    both = sum(experiments.assign(other, u) == "sft@2" for u in users if
               experiments.assign(made, u) == "sft@2")  # fmt: skip
    assert 0.4 < both / first.count("sft@2") < 0.6


def test_outcomes_count_once_and_bad_rows_are_named(registry: Registry, tmp_path: Path) -> None:
    #
    made = experiments.start(registry, "tone", "sft@1", "sft@2", 0.5, StopRule())
    file = write(tmp_path / "o.jsonl", outcomes({"sft@1": 0.5, "sft@2": 0.5}, 10))
    assert experiments.record(registry, made, file) == (10, 0)
    assert experiments.record(registry, made, file) == (0, 10)
    assert len(experiments.read(registry, made).outcomes) == 10
    wrong = [
        {"request": 1, "arm": "ppo@1", "value": 1},
        {"arm": "sft@1", "value": 1},
        {"request": 2, "arm": "sft@1", "value": "good"},
    ]
    bad = write(tmp_path / "bad.jsonl", wrong)
    with pytest.raises(InputError) as caught:
        experiments.record(registry, made, bad)
    assert [(p.line, p.field) for p in caught.value.problems] == [
        (1, "arm"), (2, "request"), (3, "value"),
    ]  # fmt: skip


def test_feedback_of_a_server_is_read_leniently(registry: Registry) -> None:
    registry.add_feedback("before", "sft@2", {"value": 1})
    made = experiments.start(registry, "tone", "sft@1", "sft@2", 0.5, StopRule())
    registry.add_feedback("a", "sft@1", {"request": "a", "arm": "sft@1", "user": "u", "value": -1})
    registry.add_feedback("b", "sft@2", {"label": True})
    registry.add_feedback("c", "sft@2", {"comment": "no number"})
    registry.add_feedback("d", "else@1", {"value": 1})
    experiments.set_share(registry, made, 0.9)
    registry.add_feedback("e", "sft@2", {"value": 1, "metrics": {"safe": float("nan")}})
    found = experiments.read(registry, experiments.load(registry, "tone"))
    assert [(o.arm, o.user, o.values, o.period) for o in found.outcomes] == [
        (0, "u", {"value": -1.0}, 0), (1, "b", {"value": 1.0}, 0), (1, "e", {"value": 1.0}, 1),
    ]  # fmt: skip
    assert found.unreadable == 1


def test_the_verdict_is_written_once(registry: Registry, tmp_path: Path) -> None:
    rule = StopRule(guards={"safe": 0.2})
    made = experiments.start(registry, "tone", "champion", "sft@2", 0.5, rule)
    rates = {"sft@1": 0.3, "sft@2": 0.7}
    experiments.record(registry, made, write(tmp_path / "few.jsonl", outcomes(rates, 20)))
    conclusion, _ = experiments.conclude(registry, made)
    assert (conclusion.decision, conclusion.ended) == ("undecided", False)
    assert registry.verdicts() == []
    experiments.record(registry, made, write(tmp_path / "all.jsonl", outcomes(rates, 2000)))
    for _ in range(2):
        experiments.conclude(registry, experiments.load(registry, "tone"))
    (verdict,) = registry.verdicts()
    assert (verdict.candidate, verdict.champion, verdict.decision) == ("sft@2", "sft@1", "promoted")
    assert verdict.details["experiment"] == "tone"
    assert verdict.details["outcomes"] < 2000
    assert registry.alias("champion") == "sft@1"  # an experiment moves nothing


def test_bad_experiments_are_refused(registry: Registry) -> None:
    with pytest.raises(InputError, match="both are sft@1"):
        experiments.start(registry, "same", "champion", "sft@1", 0.5, StopRule())
    with pytest.raises(InputError, match="not in the registry"):
        experiments.start(registry, "ghost", "champion", "sft@9", 0.5, StopRule())
    experiments.start(registry, "tone", "champion", "sft@2", 0.5, StopRule())
    with pytest.raises(InputError, match="exists already"):
        experiments.start(registry, "tone", "champion", "sft@2", 0.5, StopRule())
    with pytest.raises(InputError, match="no such experiment; known: tone"):
        experiments.load(registry, "tune")
