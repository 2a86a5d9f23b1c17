"""fit.dpo: which reply is which, the reference, and tokens of the format left out."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests import tiny
from tests.stages.fits import context
from torch import Tensor

from burnish.config import InputError
from burnish.engine import TrainSettings
from burnish.models.forward import TokenScores
from burnish.models.load import Loaded, save_model
from burnish.records import Preference
from burnish.stages import training
from burnish.stages.base import Inputs
from burnish.stages.fit import dpo
from burnish.store import tables
from burnish.text.batches import Segment, pack

END = 2
CONFIG: dict[str, Any] = {"model": "m", "data": ["d"], "beta": 0.5}


def pair(number: int, chosen: str, rejected: str) -> Preference:
    return Preference(
        id=f"p{number}",
        prompt=[{"role": "user", "content": f"the {number}"}],
        chosen=[{"role": "assistant", "content": chosen}],
        rejected=[{"role": "assistant", "content": rejected}],
        group=f"g{number}",
    )


@torch.no_grad()
def alone(model: Any, segment: Segment) -> float:
    """Log-probability of a segment's targets, by the model's own forward pass."""
    row = torch.tensor([list(segment.tokens)])
    every = model(input_ids=row, use_cache=False).logits[0, :-1].log_softmax(-1)
    each = every.gather(1, row[0, 1:, None]).squeeze(1)
    return float((each * torch.tensor(segment.mask[1:])).sum())


def test_the_first_of_two_segments_is_the_chosen_one() -> None:
    # C-20: -log s(beta h) with h = (c - c0) - (r - r0), each from a forward pass of its own.
    model = tiny.model()
    mask = [False, True, True]
    chosen = Segment([1, 70, 71], mask, "c", per_segment={"reference": -9.0})
    rejected = Segment([1, 80, 81], mask, "r", per_segment={"reference": -11.0})
    h = (alone(model, chosen) + 9.0) - (alone(model, rejected) + 11.0)
    found = dpo.loss(model, pack([chosen, rejected]), dpo.Config(**CONFIG))
    expected = -torch.nn.functional.logsigmoid(torch.tensor(0.5 * h)).item()
    assert found.total.item() == pytest.approx(expected, rel=1e-4)
    assert found.metrics["margin"][0].item() == pytest.approx(0.5 * h, rel=1e-4)


def units() -> list[list[Segment]]:
    loaded = Loaded(tiny.model(), tiny.tokenizer(), "", None)
    rows = training.pairs(loaded, [pair(1, "an ant", "hello"), pair(2, "the", "a hell")])
    masked = dpo.without_format(loaded.tokenizer, rows)
    return [
        [Segment(s.tokens, s.mask, s.id, s.per_token, {"reference": -5.0}) for s in unit]
        for unit in masked
    ]


def slopes(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient at each target, whether it ends a turn, and its segment."""
    batch = pack([segment for unit in units() for segment in unit])
    index = batch.target_index()
    logprobs = torch.linspace(-3, -1, len(index)).requires_grad_()
    scores = TokenScores(logprobs, None, torch.zeros(len(batch.tokens), 4))
    monkeypatch.setattr(dpo, "token_logprobs", lambda *_: scores)
    dpo.loss(None, batch, dpo.Config(**CONFIG | settings)).total.backward()
    assert logprobs.grad is not None
    return logprobs.grad, batch.tokens[index] == END, batch.target_segments()


@pytest.mark.parametrize("kind", ["dpo", "ipo_token_mean", "dpo_norm", "simpo"])
def test_masked_tokens_get_no_gradient(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # C-22: one end token in each of the four replies, and nothing else, is left alone.
    slope, ends, _ = slopes(monkeypatch, kind=kind)
    assert ends.sum().item() == 4
    assert (slope[ends] == 0).all()
    assert (slope[~ends] != 0).all()


@pytest.mark.parametrize(("kind", "weight"), [("dpo", 0.2), ("orpo", 1.0)])
def test_the_likelihood_of_the_chosen_reply_keeps_its_end(
    kind: str, weight: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # C-22: there the slope is -weight / |c|, end token counted; a rejected reply's end stays at 0.
    slope, ends, segment = slopes(monkeypatch, kind=kind, nll=0.0 if kind == "orpo" else weight)
    lengths = torch.bincount(segment)
    assert slope[ends].tolist() == pytest.approx(
        [-weight / lengths[0].item(), 0, -weight / lengths[2].item(), 0]
    )


def test_headers_and_ends_are_masked_and_words_are_not() -> None:
    tokenizer = tiny.tokenizer()
    words = tokenizer("hello an ant", add_special_tokens=False)["input_ids"]
    row = Segment([1, 3, *words, END, 4, *words, END], [True] * (2 * len(words) + 5))
    (unit,) = dpo.without_format(tokenizer, [[row]])
    one = [1.0] * len(words)
    assert list(unit[0].per_token[dpo.CONTENT]) == [0.0, 0.0, *one, 0.0, 0.0, *one, 0.0]


@pytest.mark.parametrize("mask_format", [False, True])
def test_the_policy_begins_at_its_reference(mask_format: bool, tmp_path: Path) -> None:
    # C-10, C-20: with dropout in the model; ln 2 before the first step.
    save_model(tiny.model(attention_dropout=0.5), tiny.tokenizer(), tmp_path / "model")
    records = [pair(number, "an ant", "hello " * 4) for number in range(12)]
    tables.write(tmp_path / "pairs.jsonl", records)
    config = dpo.Config(
        **CONFIG, heldout=0.5, mask_format=mask_format, train=TrainSettings(max_steps=2)
    )
    inputs = Inputs({"model": [str(tmp_path / "model")], "data": [str(tmp_path / "pairs.jsonl")]})
    details = dpo.run(config, inputs, context(tmp_path)).details
    assert details["heldout"] > 0
    assert details["before"]["eval_margin"] == pytest.approx(0, abs=1e-5)
    assert details["before"]["loss"] == pytest.approx(0.693147, abs=1e-5)
    assert abs(details["after"]["eval_margin"]) > 1e-4


def test_soft_labels_reach_the_loss_and_other_kinds_refuse_them(tmp_path: Path) -> None:
    model = tiny.model()
    loaded = Loaded(model, tiny.tokenizer(), "tiny", Path())
    soft = replace(pair(1, "an ant", "hello"), probability=0.75)
    (unit,) = training.pairs(loaded, [soft])
    unit = [replace(s, per_segment={**s.per_segment, "reference": 0.0}) for s in unit]
    c, r = (alone(model, segment) for segment in unit)
    found = dpo.loss(model, pack(unit), dpo.Config(**CONFIG)).total.item()
    x = 0.5 * (c - r)
    expected = 0.75 * math.log1p(math.exp(-x)) + 0.25 * math.log1p(math.exp(x))
    assert found == pytest.approx(expected, rel=1e-4)
    tables.write(tmp_path / "pairs.jsonl", [soft])
    assert tables.read(tmp_path / "pairs.jsonl", Preference) == [soft]
    inputs = Inputs({"model": ["m"], "data": [str(tmp_path / "pairs.jsonl")]})
    with pytest.raises(InputError, match=r"kind: 'hinge', but 1 of 1 pairs have a probability"):
        dpo.run(dpo.Config(**CONFIG | {"kind": "hinge"}), inputs, context(tmp_path))
