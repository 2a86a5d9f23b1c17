"""fit.kto: which reply is compared with which, the reference point, and what is refused."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from tests import tiny
from tests.stages.fits import context, saved_model

from burnish.config import InputError
from burnish.engine import TrainSettings
from burnish.engine.window import accumulate
from burnish.models.load import Loaded
from burnish.records import Feedback, Message, Preference, Record
from burnish.stages.base import Inputs, Outcome
from burnish.stages.fit import kto
from burnish.stages.reference import with_reference
from burnish.store import tables
from burnish.text.batches import Batch, Segment, pack

CONFIG: dict[str, Any] = {"model": "m", "data": ["d"], "beta": 0.5}


def asked(number: int) -> list[Message]:
    return [{"role": "user", "content": f"the {number}"}]


def feedback(number: int, reply: str, label: bool) -> Feedback:
    said: list[Message] = [{"role": "assistant", "content": reply}]
    return Feedback(
        id=f"{number}{reply}", prompt=asked(number), completion=said, label=label, group=str(number)
    )


@torch.no_grad()
def alone(model: Any, segment: Segment) -> float:
    """Log-probability of a segment's targets, by the model's own forward pass."""
    row = torch.tensor([list(segment.tokens)])
    every = model(input_ids=row, use_cache=False).logits[0, :-1].log_softmax(-1)
    each = every.gather(1, row[0, 1:, None]).squeeze(1)
    return float((each * torch.tensor(segment.mask[1:])).sum())


RECORDS = [
    feedback(1, "hello", True),
    feedback(2, "an ant", False),
    feedback(3, "the", True),
    feedback(4, "a hell", False),
]


def units(reference: float) -> list[list[Segment]]:
    """RECORDS and the next one's reply; the model was ``reference`` nats less sure of each."""
    model = tiny.model()
    rows = kto.units_of(Loaded(model, tiny.tokenizer(), "", None), RECORDS, kto.others_of(RECORDS))
    return [
        [
            Segment(s.tokens, s.mask, s.id, {}, {**s.per_segment, "reference": value})
            for s in unit
            for value in [alone(model, s) - reference]
        ]
        for unit in rows
    ]


def prepared(model: Any, rows: list[list[Segment]], *sizes: int) -> list[Batch]:
    """The rows in micro-batches of these sizes, with their reference point."""
    own, others = kto.apart(rows)
    cut = iter(own)
    return kto.with_baseline(model, others, [pack([next(cut) for _ in range(n)]) for n in sizes])


def test_every_reply_has_another_prompts_reply_beside_it() -> None:
    text = [tiny.tokenizer().decode(s.tokens) for unit in units(0.0) for s in unit]
    assert ["the 1" in line for line in text[:2]] == [True, True]
    assert ("hello" in text[0], "an ant" in text[1]) == (True, True)
    assert ("a hell" in text[6], "hello" in text[7]) == (True, True)


@pytest.mark.parametrize("sizes", [(4,), (2, 2), (1, 3), (1, 1, 1, 1)])
def test_the_loss_by_hand_however_the_window_is_cut(sizes: tuple[int, ...]) -> None:
    # C-21: gains of the replies and of the mismatched ones, z = mean of the latter = 0.6;
    # desirable w_d s(-b (g - z)), undesirable s(b (g - z)). A cut-off part has another mean.
    rows = units(0.0)
    for unit, *gains in zip(rows, [0.2, 1.0, 1.0, 0.2], [0.0, 1.2, 0.4, 0.8], strict=True):
        for segment, gain in zip(unit, gains, strict=True):
            segment.per_segment["reference"] -= gain  # type: ignore[index]
    config = kto.Config(**CONFIG, desirable_weight=2.0)
    model = tiny.model()
    window = prepared(model, rows, *sizes)
    sums = accumulate(model, lambda m, batch: kto.loss(m, batch, config), window)

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    up, down = sigmoid(0.5 * 0.4), sigmoid(-0.5 * 0.4)
    # Replies 1 and 3 are desirable: gains 0.2 and 1.0; 2 and 4 are not: gains 1.0 and 0.2.
    assert sums.loss == pytest.approx((2 * up + 2 * down + up + down) / 4, abs=1e-4)
    assert sums.count == 4
    assert sums.metrics["baseline"] == pytest.approx(0.6, abs=1e-4)
    assert sums.metrics["desirable_reward"] == pytest.approx(0.5 * 0.6, abs=1e-4)


def test_a_gain_of_each_row_is_weighed_from_its_own_side() -> None:
    """Liked replies gained 3 nats and others lost 3, z is 0: every row is s(-1.5)."""
    rows = units(0.0)
    config, model = kto.Config(**CONFIG), tiny.model()
    for unit in rows:
        sign = 1 if unit[0].per_segment["desirable"] else -1
        unit[0].per_segment["reference"] -= 3.0 * sign  # type: ignore[index]
    right = accumulate(model, lambda m, b: kto.loss(m, b, config), prepared(model, rows, 4))
    assert right.loss == pytest.approx(1 / (1 + math.exp(1.5)), abs=1e-4)


def test_the_reference_point_takes_no_gradient_and_leaves_the_mode_alone() -> None:
    model = tiny.model(attention_dropout=0.5).train()
    state = torch.get_rng_state()
    first, second = (prepared(model, units(0.0), 4)[0] for _ in range(2))
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    point = first.per_segment["baseline"]
    assert torch.equal(point, second.per_segment["baseline"])  # no dropout in it
    assert not point.requires_grad


def test_a_preference_becomes_two_replies_of_one_group() -> None:
    one = Preference(
        id="p", prompt=asked(1), chosen=[{"role": "assistant", "content": "a"}],
        rejected=[{"role": "assistant", "content": "b"}],
    )  # fmt: skip
    good, bad = kto.split(one)
    assert (good.completion, good.label) == (one.chosen, True)
    assert (bad.completion, bad.label) == (one.rejected, False)
    assert good.group == bad.group == "p"
    assert good.id != bad.id


def test_imbalance_is_told_and_one_kind_alone_refused(caplog: pytest.LogCaptureFixture) -> None:
    rows = [feedback(n, "x", n < 3) for n in range(9)]
    with caplog.at_level(logging.WARNING):
        assert kto.balance(rows, kto.Config(**CONFIG, desirable_weight=2.5)) == 1.25
        assert not caplog.records
        assert kto.balance(rows, kto.Config(**CONFIG)) == 0.5
    assert "desirable_weight: 2" in caplog.text
    with pytest.raises(InputError, match="3 desirable and 0 undesirable"):
        kto.balance(rows[:3], kto.Config(**CONFIG))


def fitted(folder: Path, data: list[Feedback], pairs: list[Preference], **settings: Any) -> Outcome:
    given: dict[str, list[Record]] = {"data": [*data], "pairs": [*pairs]}
    resolved = {"model": [saved_model(folder)]}
    for name, records in given.items():
        if records:
            tables.write(folder / f"{name}.jsonl", records)
            resolved[name] = [str(folder / f"{name}.jsonl")]
    train = TrainSettings(max_steps=12, learning_rate=3e-3, segments_per_step=8, epochs=9)
    config = kto.Config(**CONFIG, heldout=0.4, train=train, **settings)
    return kto.run(config, Inputs(resolved), context(folder))


def test_a_fit_tells_liked_replies_from_others(tmp_path: Path) -> None:
    """From feedback and pairs alike; the policy begins at its reference: loss 1/2, rewards 0."""
    data = [feedback(n, "hello" if n % 2 else "an ant", n % 2 == 1) for n in range(16)]
    pairs = [
        Preference(id=f"p{n}", prompt=asked(n), chosen=[{"role": "assistant", "content": "hello"}],
                   rejected=[{"role": "assistant", "content": "an ant"}])
        for n in range(20, 30)
    ]  # fmt: skip
    details = fitted(tmp_path, data, pairs).details
    assert details["replies"] + details["heldout"] == 36
    assert details["balance"] == 1.0
    before, after = details["before"], details["after"]
    assert before["loss"] == pytest.approx(0.5, abs=1e-5)
    assert before["eval_desirable_reward"] == pytest.approx(0, abs=1e-4)
    assert after["loss"] < 0.4
    assert after["eval_desirable_reward"] > after["eval_undesirable_reward"] + 0.5


def test_data_without_a_second_prompt_is_refused_before_training(tmp_path: Path) -> None:
    rows = [feedback(1, reply, reply == "a") for reply in ("a", "b")]
    with pytest.raises(InputError, match="2 replies to a single prompt"):
        fitted(tmp_path, rows, [])


def test_settings_that_cannot_work() -> None:
    with pytest.raises(ValidationError, match="data or pairs"):
        kto.Config(model="m")
    with pytest.raises(ValidationError, match="at least 2"):
        kto.Config(**CONFIG, train=TrainSettings(segments_per_step=1))


def test_the_last_window_of_one_reply_still_has_a_reference_point(tmp_path: Path) -> None:
    model = tiny.model()
    (rows,) = with_reference(model, [units(0.0)[:3]], 2, tmp_path)
    settings = TrainSettings(segments_per_step=2)
    source = kto.KtoSource(model, rows, settings, seed=0)
    assert source.steps == 2
    (last,) = source.window(1) or []
    assert last.per_segment["baseline"].tolist() == pytest.approx([0.0], abs=1e-5)
    assert source.window(2) is None
