"""``burnish ab`` from beginning to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from burnish.store.registry import Registry


def test_an_experiment_from_start_to_verdict(burnish: Any) -> None:
    assert "no registry yet" in burnish("ab", "list").err
    with Registry("runs/registry.sqlite") as registry:
        for number in (1, 2):
            registry.register("sft", "model", f"models/{number}", f"f{number}")
    assert "no experiments" in burnish("ab", "list").out
    begun = burnish("ab", "start", "tone", "sft@1", "sft@2", "--share", "0.2", "--set", "tau=0.2")
    assert begun.code == 0, begun.err
    assert burnish("ab", "start", "tune", "sft@1", "sft@2", "--set", "tua=1").code == 2
    arm = json.loads(burnish("ab", "assign", "tone", "ann", "--json").out)["arm"]
    assert burnish("ab", "assign", "tone", "ann").out.strip() == arm
    assert "50%" in burnish("ab", "share", "tone", "0.5").out
    rows = [
        {"request": n, "arm": f"sft@{1 + n % 2}", "user": n, "value": int(n % 2 or n % 10 == 0)}
        for n in range(300)
    ]
    Path("o.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:40]))
    assert burnish("ab", "record", "tone", "o.jsonl").out == "40 outcomes taken, 0 known already\n"
    early = burnish("ab", "show", "tone")
    assert "undecided, goes on: 40 outcomes do not decide yet" in early.out
    Path("o.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    burnish("ab", "record", "tone", "o.jsonl")
    shown = json.loads(burnish("ab", "show", "tone", "--json").out)
    assert shown["decision"] == "promoted"
    assert shown["experiment"]["verdict"] == 1
    assert "burnish models promote sft@2" in burnish("ab", "end", "tone").out
    assert "ended" in burnish("ab", "list").out
    assert "A/B tone" in burnish("models", "show", "sft@2").out


def test_ending_an_open_one_records_it_as_undecided(burnish: Any) -> None:
    with Registry("runs/registry.sqlite") as registry:
        for number in (1, 2):
            registry.register("sft", "model", f"models/{number}", f"f{number}")
    burnish("ab", "start", "tone", "sft@1", "sft@2")
    assert "undecided, ended" in burnish("ab", "end", "tone").out
    burnish("ab", "end", "tone")
    with Registry("runs/registry.sqlite") as registry:
        assert [verdict.decision for verdict in registry.verdicts()] == ["undecided"]
