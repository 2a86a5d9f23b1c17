"""fit.online_dpo: which replies are compared, the loss by hand, and that it learns."""

from __future__ import annotations

import copy
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from tests import tiny
from tests.stages.fits import context, saved_model

from burnish.config import InputError
from burnish.engine import TrainSettings, train
from burnish.objectives import Loss
from burnish.records import Prompt, Rollout
from burnish.rollouts import OnlineSettings, OnlineSource, pair_segments, scorer
from burnish.sampling import Sampling
from burnish.stages.base import Inputs
from burnish.stages.fit import online_dpo
from burnish.store import tables
from burnish.text.batches import Batch, Segment, pack

SAMPLING = Sampling(temperature=0.9, max_new_tokens=8)
CONFIG: dict[str, Any] = {"model": "m", "prompts": ["p"], "beta": 0.5, "sampling": SAMPLING}
PROMPTS = [Prompt(id=f"p{i}", messages=[{"role": "user", "content": "a" * i}]) for i in range(1, 7)]


def reply(tokens: list[int], mark: float, reference: float) -> Segment:
    """A prompt of two tokens and a reply of the rest, which the reference gives so many nats."""
    count = len(tokens) - 2
    streams = {"pair": [0.0, 0.0] + [mark] * count, "ref_logprobs": [0.0, 0.0, reference]}
    streams["ref_logprobs"] += [0.0] * (count - 1)
    return Segment(tokens, [False, False] + [mark != 0] * count, "", streams)


@torch.no_grad()
def alone(model: Any, segment: Segment) -> float:
    row = torch.tensor([list(segment.tokens)])
    every = (model(input_ids=row, use_cache=False).logits[0, :-1] / 0.9).log_softmax(-1)
    each = every.gather(1, row[0, 1:, None]).squeeze(1)
    return float((each * torch.tensor(segment.mask[1:])).sum())


ROWS = [
    reply([1, 70, 90, 91, 92], -2.0, -9.0),
    reply([1, 71, 80], 1.0, -4.0),
    reply([1, 70, 93, 94], 2.0, -7.0),
    reply([1, 71, 81, 82, 2], 0.0, -3.0),
    reply([1, 71, 83], -1.0, -6.0),
]


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [1, 4, 0, 2, 3]])
def test_chosen_and_rejected_of_a_prompt_meet_wherever_they_lie(order: list[int]) -> None:
    """-log s(beta h) of Rafailov et al. 2023, eq. 7, at the sampling temperature."""
    model = tiny.model()
    gain = {i: alone(model, ROWS[i]) + r for i, r in enumerate([9.0, 4.0, 7.0, 3.0, 6.0])}
    gaps = torch.tensor([gain[1] - gain[4], gain[2] - gain[0]])
    found = online_dpo.loss(model, pack([ROWS[i] for i in order]), online_dpo.Config(**CONFIG))
    expected = -torch.nn.functional.logsigmoid(0.5 * gaps).sum().item()
    assert found.total.item() == pytest.approx(expected, rel=1e-4)
    assert found.count.item() == 2
    assert [part.item() for part in found.metrics["paired"]] == [4, 5]
    assert found.metrics["margin"][0].item() == pytest.approx(0.5 * gaps.sum().item(), rel=1e-4)


def test_a_pair_cut_apart_is_an_error_and_no_pair_is_nothing_to_learn() -> None:
    model, config = tiny.model(), online_dpo.Config(**CONFIG)
    with pytest.raises(ValueError, match="different batches"):
        online_dpo.loss(model, pack(ROWS[:3]), config)
    found = online_dpo.loss(model, pack([ROWS[3]]), config)
    found.total.backward()
    assert (found.total.item(), found.count.item()) == (0, 0)


def wanted(rollouts: list[Rollout]) -> list[float]:
    """The share of a reply's tokens with an even id."""
    return [sum(t % 2 == 0 for t in r.tokens) / len(r.tokens) for r in rollouts]


TRAIN = TrainSettings(learning_rate=0.03, segments_per_step=10, tokens_per_batch=200, warmup=0.0)


def source(model: Any) -> OnlineSource:
    frozen = copy.deepcopy(model)
    return OnlineSource(
        model,
        tiny.tokenizer(),
        PROMPTS,
        SAMPLING,
        reward=wanted,
        score=scorer(model, temperature=0.9, reference=lambda: nullcontext(frozen)),
        credit=pair_segments,
        settings=OnlineSettings(phases=5, prompts_per_phase=5, per_prompt=6),
        train=TRAIN,
        seed=0,
    )


def rewards(sign: float) -> list[float]:
    model = tiny.model(initializer_range=0.05)
    config = online_dpo.Config(**CONFIG)

    def signed(model: Any, batch: Batch) -> Loss:
        found = online_dpo.loss(model, batch, config)
        return Loss(sign * found.total, found.count, found.metrics)

    return [row["reward"] for row in train(model, source(model), signed, TRAIN, seed=0).history]


def test_learning_works_and_the_wrong_sign_does_not() -> None:
    # C-44 and its mutant.
    right, wrong = rewards(1.0), rewards(-1.0)
    assert right[-1] - right[0] > 0.15
    assert wrong[-1] < wrong[0]


def test_a_resumed_phase_has_the_same_pairs() -> None:
    model = tiny.model()
    first, again = source(model), source(model)
    before = [first.window(0), first.window(1)][1] or []
    again.restore(json.loads(json.dumps(first.state())), first.tensors())
    after = again.window(1) or []
    assert len(before) == len(after) > 0
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one.per_token["pair"], other.per_token["pair"])
        assert torch.equal(one.targets, other.targets)
        assert one.per_token["pair"].any()
        online_dpo.paired(other)


def run(folder: Path, **settings: Any) -> Any:
    verify = {"kind": "format", "rules": [{"rule": "max_words", "n": 1}]}
    prompts = [Prompt(id=p.id, messages=p.messages, verify=verify) for p in PROMPTS]
    tables.write(folder / "prompts.jsonl", prompts)
    resolved = {"model": [saved_model(folder)], "prompts": [str(folder / "prompts.jsonl")]}
    online = OnlineSettings(phases=2, prompts_per_phase=4, per_prompt=4)
    config = online_dpo.Config(**{**CONFIG, "online": online} | settings)
    return online_dpo.run(config, Inputs(resolved), context(folder))


def test_a_whole_fit_begins_at_its_reference(tmp_path: Path) -> None:
    outcome = run(tmp_path)
    first = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    assert 0 < first["paired"] <= 0.5  # two of four replies where there is a pair
    assert first["margin"] == pytest.approx(0, abs=1e-4)
    assert first["loss"] == pytest.approx(0.693147, abs=1e-4)
    assert outcome.figures["reward_after"].value >= -1
    assert (tmp_path / "output" / "model.safetensors").exists()


def test_a_micro_batch_too_small_for_a_group_is_refused_before_training(tmp_path: Path) -> None:
    # The longest prompt has 6 letters and 4 control tokens, a reply up to 8: 4 x 18 tokens.
    small = TrainSettings(tokens_per_batch=71)
    with pytest.raises(InputError, match="71, but the replies to one prompt can take 72 tokens"):
        run(tmp_path, train=small)


def test_settings_that_cannot_make_pairs() -> None:
    for settings, said in (
        (OnlineSettings(per_prompt=1), "at least 2"),
        (OnlineSettings(importance_cap=2.0), "importance_cap"),
    ):
        with pytest.raises(ValidationError, match=said):
            online_dpo.Config(**CONFIG, online=settings)
