"""``torchrun -m burnish fit``: several processes, one command."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from tests.engine.several import torchrun

from burnish.engine import ranks
from burnish.models.load import load_model

FIT = [
    "fit", "sft", "--model", "burnish-tiny", "--data", "examples.jsonl", "--json",
    "--set", "train.max_steps=3", "--set", "train.segments_per_step=5",
    "--set", "train.tokens_per_batch=60",
]  # fmt: skip


def write_examples() -> None:
    rows = [
        {
            "id": f"e{n}",
            "messages": [
                {"role": "user", "content": f"What is {n} + {n}?"},
                {"role": "assistant", "content": f"It is {2 * n}. " + "Yes. " * (n % 5)},
            ],
        }
        for n in range(14)
    ]
    Path("examples.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n")


def test_two_processes_leave_the_model_that_one_would(burnish: Any, tmp_path: Path) -> None:
    # C-07 from the command line.
    write_examples()
    done = torchrun("burnish", *FIT, "--out", "two")
    assert json.loads(done.stdout)["out"] == "two"
    alone = burnish(*FIT, "--out", "one")
    assert alone.code == 0, alone.err
    assert sorted(os.listdir()) == ["examples.jsonl", "one", "two"]
    figures = [json.loads(text)["figures"]["tokens"] for text in (done.stdout, alone.out)]
    assert figures[0] == figures[1]
    load_model(tmp_path / "two")
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("one", "two")]
    start = load_model("burnish-tiny").model.state_dict()
    for name, one in weights[0].items():
        assert (weights[1][name] - one).abs().max().item() < 5e-5
    moved = max((one - start[name]).abs().max().item() for name, one in weights[0].items())
    assert moved > 1e-3


@pytest.mark.parametrize("rank", [0, 1])
def test_other_commands_are_refused(
    rank: int, burnish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", str(rank))
    done = burnish("run", "quickstart")
    assert done.code == 2
    # The first process alone says why.
    assert ("torchrun ... -m burnish fit" in done.err) == (rank == 0)
    assert not Path("runs").exists()


def test_what_several_processes_cannot_fit_is_refused(
    burnish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_examples()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(ranks, "count", lambda: 2)
    monkeypatch.setattr("burnish.cli.fit_commands.followed", lambda: False)
    done = burnish(*FIT, "--out", "x", "--set", "lora.bits=4")
    assert done.code == 2
    assert "prepare.sft.lora.bits: set, with several processes; run it without" in done.err
