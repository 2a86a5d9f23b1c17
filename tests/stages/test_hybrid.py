"""The combined objective: exact whatever the counts, resumed bit for bit."""

from __future__ import annotations

import functools
import json
import os
import signal
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from safetensors.torch import load_file
from tests import tiny
from tests.stages.fits import context, saved_model

from burnish.config import InputError, Interrupted
from burnish.engine import StepInfo, TrainSettings
from burnish.engine.window import accumulate
from burnish.models.forward import token_logprobs
from burnish.models.load import Loaded
from burnish.objectives import Loss
from burnish.records import Preference, Prompt
from burnish.rollouts import OnlineSettings
from burnish.sampling import Sampling
from burnish.stages import training
from burnish.stages.base import Inputs
from burnish.stages.fit import dpo, grpo, online_dpo, ppo
from burnish.stages.hybrid import HybridSource, PreferenceTerm, balance, hybrid_loss
from burnish.stages.policy import KlBound
from burnish.stages.reference import with_reference
from burnish.store import tables
from burnish.text.batches import Batch, Segment, pack

PAIRS = [
    Preference(
        id=f"p{n}",
        prompt=[{"role": "user", "content": "a" * (n + 1)}],
        chosen=[{"role": "assistant", "content": "hello" * (1 + n % 3)}],
        rejected=[{"role": "assistant", "content": "the"}],
    )
    for n in range(7)
]


def test_balance_by_hand() -> None:
    # 12 policy units and 4 pairs: the pairs' sum is scaled by 0.5 * 12 / 4, and divided by 12.
    assert balance(0.5, 12, 4) == (1.5, 0.0)
    # Without units of the policy's own the pairs are what is divided by.
    assert balance(0.5, 0, 4) == (0.5, 1.0)


class Fixed:
    """A policy's source that always gives the same windows of 5 and 3 targets."""

    dropout, steps = False, 9

    def __init__(self, targets: bool = True) -> None:
        rows = [Segment([1, *range(60, 60 + n)], [False] + [targets] * n) for n in (5, 3)]
        self.batches = [pack([row]) for row in rows]

    def window(self, step: int) -> list[Batch]:
        return list(self.batches)


def policy_loss(model: Any, batch: Batch) -> Loss:
    scores = token_logprobs(model, batch)
    return Loss(-scores.logprobs.sum(), batch.targets.sum(), {})


def prepared(
    tmp_path: Path, targets: bool = True, **settings: Any
) -> tuple[torch.nn.Module, HybridSource, PreferenceTerm, list[list[Segment]]]:
    model = tiny.model()
    loaded = Loaded(model, tiny.tokenizer(), "", None)
    term = PreferenceTerm(data=["d"], **settings)
    (units,) = with_reference(model, [training.pairs(loaded, PAIRS)], 2000, tmp_path)
    with torch.no_grad():  # away from the reference, so that the term has a slope of its own
        for weight in model.parameters():
            weight.mul_(1.05)
    source = HybridSource(
        Fixed(targets),  # type: ignore[arg-type]
        units, term, count=lambda batch: int(batch.targets.sum()), tokens_per_batch=30, seed=0,
    )  # fmt: skip
    return model, source, term, units


def gradient(model: torch.nn.Module, loss: Any, window: list[Batch]) -> tuple[torch.Tensor, float]:
    model.zero_grad()
    sums = accumulate(model, loss, window)
    parts = [(p.grad if p.grad is not None else torch.zeros_like(p)).flatten()
             for p in model.parameters()]  # fmt: skip
    return torch.cat(parts) / sums.count, sums.loss


def test_each_term_is_divided_by_its_own_count(tmp_path: Path) -> None:
    # M19: the window's gradient is that of mean(policy) + weight * mean(pairs), in micro-batches
    # of whatever size, computed apart from each other.
    model, source, term, units = prepared(tmp_path, weight=0.7, pairs_per_step=3)
    window = source.window(0) or []
    pairs = [batch for batch in window if batch.per_segment]
    assert len(window) == 2 + len(pairs)
    assert len(pairs) > 1
    found, total = gradient(model, hybrid_loss(policy_loss, term), window)
    own, own_loss = gradient(model, policy_loss, Fixed().batches)
    chosen = {name for batch in pairs for name in batch.ids}
    assert len(chosen) == 3
    picked = [[unit for unit in units if unit[0].id in chosen]]
    config = dpo.Config(model="m", data=["d"], beta=term.beta)
    dpo_loss = functools.partial(dpo.loss, config=config)
    theirs, their_loss = gradient(model, dpo_loss, [pack(unit for part in picked for unit in part)])
    assert total == pytest.approx(own_loss + 0.7 * their_loss, rel=1e-5)
    torch.testing.assert_close(found, own + 0.7 * theirs, rtol=1e-4, atol=1e-6)
    assert theirs.norm() > 0.01


def test_a_window_without_units_of_the_policy_has_the_pairs_alone(tmp_path: Path) -> None:
    model, source, term, _ = prepared(tmp_path, targets=False, weight=0.7, pairs_per_step=3)
    sums = accumulate(model, hybrid_loss(policy_loss, term), source.window(0) or [])
    assert sums.count == 3
    assert sums.loss == pytest.approx(0.7 * sums.metrics["preference_loss"], rel=1e-6)


def test_pairs_come_in_turn(tmp_path: Path) -> None:
    _, source, _, _ = prepared(tmp_path, pairs_per_step=3)
    seen = [place for step in range(14) for place in source._chosen(step)]
    assert all(sorted(seen[at : at + 7]) == list(range(7)) for at in range(0, 42, 7))
    assert seen[:7] != seen[7:14]
    few = prepared(tmp_path, pairs_per_step=50)[1]
    assert sorted(few._chosen(3)) == list(range(7))


ONLINE: dict[str, Any] = {
    "model": "m", "prompts": ["p"], "max_kl": 1000.0,
    "sampling": Sampling(temperature=0.9, max_new_tokens=8),
    "online": OnlineSettings(phases=2, prompts_per_phase=4, per_prompt=4),
    "train": TrainSettings(learning_rate=0.01, schedule="constant", epochs=2, segments_per_step=8,
                           tokens_per_batch=200),
    "preferences": {"data": ["d"], "weight": 0.5, "pairs_per_step": 3},
}  # fmt: skip


def fit(folder: Path, stage: Any, pairs: list[Preference] = PAIRS, **changes: Any) -> Any:
    folder.mkdir(exist_ok=True)
    verify = {"kind": "format", "rules": [{"rule": "max_words", "n": 1}]}
    prompts = [Prompt(id=f"p{n}", messages=[{"role": "user", "content": "b" * n}], verify=verify)
               for n in range(4)]  # fmt: skip
    tables.write(folder / "prompts.jsonl", prompts)
    tables.write(folder / "pairs.jsonl", pairs)
    inputs = {"model": [saved_model(folder)], "prompts": [str(folder / "prompts.jsonl")],
              "preferences.data": [str(folder / "pairs.jsonl")]}  # fmt: skip
    place = context(folder) if not (folder / "output").exists() else resumed(folder)
    outcome = stage.run(stage.Config(**ONLINE | changes), Inputs(inputs), place)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return outcome, rows, load_file(folder / "output" / "model.safetensors")


def resumed(folder: Path) -> Any:
    (folder / "output").rmdir()
    return context(folder)


@pytest.mark.parametrize("stage", [ppo, grpo, online_dpo])
def test_the_term_is_learnt_in_every_online_stage(stage: Any, tmp_path: Path) -> None:
    _, rows, with_term = fit(tmp_path / "a", stage)
    assert rows[-1]["preference_margin"] > rows[0]["preference_margin"] + 0.01
    assert rows[0]["preference_loss"] == pytest.approx(0.693147, abs=1e-4)
    _, rows, without = fit(tmp_path / "b", stage, preferences=None)
    assert "preference_loss" not in rows[0]
    assert not torch.equal(with_term["model.norm.weight"], without["model.norm.weight"])


@pytest.mark.parametrize("aggregate", ["seq_mean", "token_mean", "constant_length"])
def test_grpos_count_is_that_of_its_loss(aggregate: Any) -> None:
    config = grpo.Config(model="m", prompts=["p"], aggregate=aggregate)
    streams = ("old_logprobs", "ref_logprobs", "advantages")
    rows = [Segment([1, 70, 71, 72][: n + 1], [False] + [True] * n, str(n),
                    {name: [0.0] * (n + 1) for name in streams}) for n in (1, 3)]  # fmt: skip
    batch = pack(rows)
    assert grpo.count(batch, config) == float(grpo.loss(tiny.model(), batch, config).count)


def test_resumed_it_is_bit_for_bit_the_same(tmp_path: Path) -> None:
    # interrupted in the middle of the second phase.
    _, rows, weights = fit(tmp_path / "a", ppo, credit={"adaptive": {"target": 0.1, "horizon": 16}})
    usual = KlBound.__call__

    def interrupt(self: KlBound, info: StepInfo) -> Any:
        if info.step == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return usual(self, info)

    again = {"credit": {"adaptive": {"target": 0.1, "horizon": 16}}}
    with mock.patch.object(KlBound, "__call__", interrupt), pytest.raises(Interrupted):
        fit(tmp_path / "b", ppo, **again)
    _, more, same = fit(tmp_path / "b", ppo, **again)
    assert len(more) == len(rows) == 8
    for name in ("loss", "preference_loss", "reward", "kl_coef"):
        assert [row[name] for row in more] == [row[name] for row in rows]
    assert all(torch.equal(value, same[name]) for name, value in weights.items())
    # C-19: 16 replies at a horizon of 16; the first phase's divergence is 0, its error -0.2.
    assert rows[0]["kl_coef"] == 0.05
    assert rows[4]["kl_coef"] == pytest.approx(0.05 * 0.8)


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no records"):
        fit(tmp_path / "a", ppo, pairs=[])
    with pytest.raises(ValueError, match="horizon must be at least a phase's 16 replies"):
        ppo.Config(**ONLINE, credit={"adaptive": {"horizon": 15}})
