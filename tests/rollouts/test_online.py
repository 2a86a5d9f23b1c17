from __future__ import annotations

import copy
import json
import os
import signal
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tests import tiny

from burnish.config import InputError, Interrupted
from burnish.engine import FitResult, StepInfo, TrainSettings, named_trainable, train
from burnish.models.forward import token_logprobs
from burnish.models.heads import Critic, ScalarHead
from burnish.objectives.policy import clipped_policy, policy_metrics
from burnish.objectives.types import Loss
from burnish.records import Prompt, Rollout
from burnish.rollouts import (
    Constraint,
    ConstraintSettings,
    GrpoCredit,
    OnlineSettings,
    OnlineSource,
    PpoCredit,
    grpo_segments,
    ppo_segments,
    scorer,
)
from burnish.sampling import Sampling
from burnish.stages.fit.ppo import value_losses
from burnish.stages.rewarding import RewardMix, annealing
from burnish.store import checkpoints
from burnish.text.batches import Batch

SAMPLING = Sampling(temperature=0.9, max_new_tokens=8)
PROMPTS = [Prompt(id=f"p{i}", messages=[{"role": "user", "content": "a" * i}]) for i in range(1, 7)]
TRAIN = TrainSettings(
    learning_rate=0.03, epochs=2, segments_per_step=10, tokens_per_batch=100, warmup=0.0
)


def wanted(rollouts: list[Rollout]) -> list[float]:
    """The synthetic task: the share of a reply's tokens with an even id."""
    return [sum(t % 2 == 0 for t in r.tokens) / len(r.tokens) for r in rollouts]


def policy_loss(head: ScalarHead | None, sign: float, model: Any, batch: Batch) -> Loss:
    scores = token_logprobs(model, batch, SAMPLING.temperature)
    old, advantages = batch.at_targets("old_logprobs"), batch.at_targets("advantages")
    total = sign * clipped_policy(scores.logprobs, old, advantages).sum()
    if head is not None:
        for value_loss in value_losses(scores.hidden, Critic(head), batch, 0.2).values():
            total = total + 0.5 * value_loss.sum()
    return Loss(total, batch.targets.sum(), policy_metrics(scores.logprobs, old, advantages))


def whole_fit(
    method: str,
    seed: int = 0,
    sign: float = 1.0,
    phases: int = 3,
    dropout: float = 0.5,
    constraint: Constraint | None = None,
    **rest: Any,
) -> tuple[FitResult, torch.nn.Module]:
    """A whole PPO or GRPO fit, built anew as a resumed process would."""
    model = tiny.model(seed, attention_dropout=dropout, initializer_range=0.05)
    frozen = copy.deepcopy(model)
    critics = ("reward", "cost") if constraint else ("reward",)
    head = ScalarHead(32, critics) if method == "ppo" else None
    credit = (
        partial(ppo_segments, settings=PpoCredit(kl_coef=0.01))
        if head is not None
        else partial(grpo_segments, settings=GrpoCredit())
    )
    source = OnlineSource(
        model,
        tiny.tokenizer(),
        PROMPTS,
        SAMPLING,
        reward=wanted,
        score=scorer(
            model,
            temperature=SAMPLING.temperature,
            reference=lambda: nullcontext(frozen),
            critic=Critic(head) if head else None,
        ),
        credit=credit,
        settings=OnlineSettings(phases=phases, prompts_per_phase=5, per_prompt=6),
        train=TRAIN,
        seed=seed,
        constraint=constraint,
    )
    modules = {"model": model} | ({} if head is None else {"head": head})
    result = train(
        model,
        source,
        partial(policy_loss, head, sign),
        TRAIN,
        seed=seed,
        trainable=named_trainable(**modules),
        **rest,
    )
    return result, model


@pytest.mark.parametrize("method", ["ppo", "grpo"])
def test_ratio_starts_at_exactly_one(method: str) -> None:
    # C-10: on the first minibatch of a phase, with a model that has dropout. Steps 1 and 7 begin
    # phases of the replies to 5 prompts in windows of 2, 2 and 1 with two passes.
    result, _ = whole_fit(method, phases=2)
    assert len(result.history) == 12
    for row in result.history:
        first = row["phase_step"] == 1
        assert first == (row["step"] in (1, 7))
        assert (row["ratio"] == 1.0 and row["approx_kl"] == 0.0) == first
    assert result.history[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert abs(result.history[-1]["kl"]) > 1e-3
    # C-24: the sampler's log-probabilities are the trainer's.
    assert max(row["sampler_gap"] for row in result.history) < 1e-5
    assert {"reward", "length", "finished", "phase"} <= set(result.history[0])


def stripped(path: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in r.items() if k not in ("seconds", "tokens_per_second")} for r in rows]


def costly(rollouts: list[Rollout]) -> list[float]:
    """The share of a reply's tokens with an id divisible by 4, half of what ``wanted`` wants."""
    return [sum(t % 4 == 0 for t in r.tokens) / len(r.tokens) for r in rollouts]


def bounded(**settings: Any) -> Constraint:
    return Constraint(ConstraintSettings(cost="refusal", **settings), costly)


@pytest.mark.parametrize(
    ("method", "cut", "constraint"),
    [
        ("ppo", 6, None),
        ("ppo", 8, None),
        ("grpo", 9, None),
        ("ppo", 8, bounded(budget=-1.0, learning_rate=0.5)),
        ("grpo", 6, bounded(budget=-1.0, learning_rate=0.5)),
    ],
    ids=["phase end", "mid-pass", "pass end", "constraint mid-pass", "constraint phase end"],
)
def test_resume_is_bit_for_bit(
    method: str, cut: int, constraint: Constraint | None, tmp_path: Path
) -> None:
    # R-07, C-27
    fit = partial(whole_fit, method, phases=3 if constraint else 2, constraint=constraint)
    _, model = fit(metrics=tmp_path / "a.jsonl", scratch=tmp_path / "a")

    def interrupt(info: StepInfo) -> None:
        if info.step == cut:
            os.kill(os.getpid(), signal.SIGTERM)

    rest = {"metrics": tmp_path / "b.jsonl", "scratch": tmp_path / "b"}
    with pytest.raises(Interrupted):
        fit(on_step=interrupt, **rest)
    _, resumed = fit(**rest)
    state = resumed.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert stripped(tmp_path / "a.jsonl") == stripped(tmp_path / "b.jsonl")
    first, second = (checkpoints.newest(tmp_path / name) for name in "ab")
    assert first is not None
    assert second is not None
    for group in ("weights", "optimizer", "random", "source"):
        mine, other = first.tensors(group), second.tensors(group)
        assert mine.keys() == other.keys()
        assert all(torch.equal(mine[name], other[name]) for name in mine)


@pytest.mark.parametrize("method", ["ppo", "grpo"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_learning_works(method: str, seed: int) -> None:
    # C-44
    rows = whole_fit(method, seed, phases=5, dropout=0.0)[0].history
    assert rows[-1]["reward"] - rows[0]["reward"] > 0.15


@pytest.mark.parametrize("method", ["ppo", "grpo"])
def test_the_wrong_sign_does_not_learn(method: str) -> None:
    # C-44, the mutant.
    rows = whole_fit(method, sign=-1.0, phases=4, dropout=0.0)[0].history
    assert rows[-1]["reward"] < rows[0]["reward"]


def test_prompts_come_in_turn() -> None:
    source = online(OnlineSettings(phases=3, prompts_per_phase=4, per_prompt=2))
    chosen = [prompt.id for phase in range(3) for prompt in source._chosen(phase)]
    assert sorted(chosen[:6]) == sorted(chosen[6:]) == [f"p{i}" for i in range(1, 7)]
    assert chosen[:6] != chosen[6:]


@pytest.mark.parametrize("limit", [2000, 60])
def test_replies_to_one_prompt_stay_together(limit: int) -> None:
    train = TRAIN.model_copy(update={"tokens_per_batch": limit})
    prompts = [replace(p, messages=[{"role": "user", "content": "b" * 30}]) for p in PROMPTS]
    settings = OnlineSettings(phases=1, prompts_per_phase=3, per_prompt=6)
    source = online(settings, train=train, prompts=prompts)
    seen: list[list[str]] = []
    for step in range(4):
        window = source.window(step) or []
        seen.append(sorted(id for batch in window for id in batch.ids))
        groups = len(seen[-1]) // 6
        computed = [len(batch.tokens) for batch in window]
        if limit == 60:
            # 34 tokens of a prompt leave room for three replies of up to 8 tokens.
            assert len(window) == 2 * groups
            assert max(computed) <= limit
        else:
            assert [len(batch.shared) for batch in window] == [groups]
            assert sum(computed) < sum(sum(batch.lengths) for batch in window) / 2
    assert [len(ids) for ids in seen] == [12, 6, 12, 6]
    assert sorted(seen[0] + seen[1]) == sorted(seen[2] + seen[3])


def online(settings: OnlineSettings, **changes: Any) -> OnlineSource:
    model = tiny.model()
    plain: dict[str, Any] = {
        "sampling": SAMPLING,
        "prompts": PROMPTS,
        "reward": wanted,
        "score": scorer(model, temperature=1.0),
        "credit": partial(grpo_segments, settings=GrpoCredit()),
        "train": TRAIN,
    }
    return OnlineSource(model, tiny.tokenizer(), settings=settings, seed=0, **(plain | changes))


def nucleus_mass(probabilities: torch.Tensor, top_p: float) -> float:
    """Of the likeliest tokens, as many as it takes to hold ``top_p``."""
    mass = 0.0
    for probability in sorted(probabilities.tolist(), reverse=True):
        mass += probability
        if mass >= top_p:
            break
    return mass


def test_top_p_makes_the_raw_ratio_the_kept_mass() -> None:
    # C-24: the sampler drew from p / mass, so that trainer over sampler is the mass itself.
    settings = OnlineSettings(phases=1, prompts_per_phase=4, per_prompt=6, importance_cap=0.9)
    model = tiny.model()
    sampling = Sampling(temperature=0.3, top_p=0.8, max_new_tokens=8)
    score = scorer(model, temperature=0.3, top_p=0.8)
    source = online(settings, sampling=sampling, score=score)
    expected, found = [], []
    for batch in source.window(0) or []:
        streams = (batch.tokens, batch.per_token["importance"], batch.targets)
        places = batch.whole_index()
        parts = [values[places].split(batch.lengths) for values in streams]
        for tokens, weights, targets in zip(*parts, strict=True):
            logits = model(input_ids=tokens[None], use_cache=False).logits[0, :-1]
            rows = (logits / 0.3).softmax(-1)[targets[1:]]
            expected += [nucleus_mass(row, 0.8) for row in rows]
            found += weights[targets].tolist()
    assert len(found) > 20
    assert min(expected) >= 0.8
    assert found == pytest.approx([min(mass, 0.9) for mass in expected], abs=1e-4)
    metrics = source.metrics()
    assert 0.8 < metrics["sampler_ratio"] < 1
    assert 0 < metrics["sampler_capped"] < 1
    assert metrics["sampler_gap"] < 1e-4


def test_without_a_cap_the_ratio_is_told_and_nothing_is_weighed() -> None:
    # C-24
    settings = OnlineSettings(phases=1, prompts_per_phase=4, per_prompt=2)
    source = online(settings, score=scorer(tiny.model(), temperature=SAMPLING.temperature))
    window = source.window(0) or []
    assert all("importance" not in batch.per_token for batch in window)
    assert source.metrics()["sampler_ratio"] == pytest.approx(1, abs=1e-5)
    assert "sampler_capped" not in source.metrics()


def test_weights_of_rewards_move_and_a_resumed_fit_has_the_same() -> None:
    mix = RewardMix(verifier=1.0, until={"verifier": 0.2})

    def rewards(rollouts: list[Rollout], now: RewardMix | None = None) -> list[float | None]:
        return [(now or mix).verifier * (1 + len(one.tokens)) for one in rollouts]

    def begun() -> OnlineSource:
        settings = OnlineSettings(phases=3, prompts_per_phase=2, per_prompt=3)
        return online(settings, reward=rewards, anneal=annealing(mix, rewards))

    def walked(source: OnlineSource, start: int) -> list[dict[str, float]]:
        found = []
        for step in range(start, source.steps):
            source.window(step)
            found.append(source.metrics())
        return found

    whole = walked(begun(), 0)
    weights = [row["weight_verifier"] for row in whole if row["phase_step"] == 1]
    assert weights == pytest.approx([1.0, 0.6, 0.2])
    for row in whole:
        assert row["reward"] == pytest.approx(row["weight_verifier"] * (1 + row["length"]))
    middle = len(whole) // 3 + 1  # inside the second phase
    source, resumed = begun(), begun()
    for step in range(middle):
        source.window(step)
    resumed.restore(source.state(), source.tensors())
    assert walked(resumed, middle) == whole[middle:]


def test_bad_input() -> None:
    settings = OnlineSettings(phases=1, prompts_per_phase=50, per_prompt=2)
    # All 6 prompts with 2 replies each, 5 prompts a window, two passes.
    assert online(settings).steps == 2 * 2
    with pytest.raises(InputError, match="no prompts"):
        online(settings, prompts=[])
    with pytest.raises(InputError, match="temperature 0"):
        online(settings, sampling=Sampling(temperature=0))
    with pytest.raises(InputError, match="tokens_per_step"):
        online(settings, train=TrainSettings(tokens_per_step=100))
    with pytest.raises(InputError, match=r"reward of a reply to prompt p\d is nan"):
        online(settings, reward=lambda rollouts: [float("nan")] * len(rollouts)).window(0)
