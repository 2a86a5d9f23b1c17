"""burnish's side: ``engine.train`` with each stage's own loss, as the stages call it."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from burnish.config.process import tune

tune()  # as the command line does, before torch loads

import torch  # noqa: E402

from benchmarks import data, worker  # noqa: E402
from benchmarks.workloads import ALPHA, MAX_LENGTH, PER_PROMPT, Workload, from_json  # noqa: E402
from burnish.engine import (  # noqa: E402
    DatasetSource,
    RichProgress,
    Source,
    TrainSettings,
    named_trainable,
    train,
)
from burnish.engine.flops import Cost, cost  # noqa: E402
from burnish.engine.source import epoch_order  # noqa: E402
from burnish.models import adapters  # noqa: E402
from burnish.models.adapters import LoraSettings  # noqa: E402
from burnish.models.heads import ScalarHead  # noqa: E402
from burnish.models.load import Loaded, load_model  # noqa: E402
from burnish.objectives import Loss  # noqa: E402
from burnish.records import Prompt, Rollout  # noqa: E402
from burnish.rollouts.credit import GrpoCredit, Reply, grpo_segments, ppo_segments  # noqa: E402
from burnish.rollouts.online import OnlineSettings, OnlineSource  # noqa: E402
from burnish.rollouts.scoring import Score, scorer  # noqa: E402
from burnish.sampling import Sampling, generate  # noqa: E402
from burnish.stages.fit import dpo, grpo, ppo, reward  # noqa: E402
from burnish.stages.language import language_loss  # noqa: E402
from burnish.stages.reference import with_reference  # noqa: E402
from burnish.text.batches import Batch, Segment, pack  # noqa: E402

Units = list[list[Segment]]
grpo_credit = functools.partial(grpo_segments, settings=GrpoCredit())
Pair = tuple[int, int]
"""Tokens and targets of a sequence."""


@dataclass
class Fit:
    """What ``train`` needs for one workload.

    ``passes``: forward passes that a step is worth, for its operations; 0: they are not counted,
    as where most of a step is sampling. ``before``: CPU and wall
    seconds a token of work done once for all rows ahead of the first step.
    """

    loss: Callable[[Any, Batch], Loss]
    source: Source
    trainable: dict[str, torch.nn.Parameter]
    passes: int = 3
    before: tuple[float, float] = (0.0, 0.0)


class Timed:
    """A source that marks the clock where one step ends and the next begins."""

    def __init__(self, source: Source, clock: worker.Clock, cost: Cost, passes: int) -> None:
        self.source, self.clock, self.cost, self.passes = source, clock, cost, passes
        self.work: tuple[int, float] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)

    def window(self, step: int) -> list[Batch] | None:
        """The window of the step; None once enough was measured."""
        if self.work is None:
            self.clock.start()
        else:
            self.clock.mark(*self.work)
        if self.clock.done:
            return None
        window = self.source.window(step)
        if window is not None:
            tokens = sum(sum(batch.lengths) for batch in window)
            targets = sum(int(batch.targets.sum()) for batch in window)
            # A step of training is worth three forward passes.
            self.work = tokens, self.cost.of(window, targets) * self.passes / 3
        return window


def settings(workload: Workload, steps: int, whole: bool) -> TrainSettings:
    """TRL's optimiser: AdamW with its betas, no weight decay, norm clipped to 1, constant rate.

    ``whole``: each step takes all rows there are.
    """
    packed = bool(workload.peer.get("packing")) and not whole
    return TrainSettings(
        learning_rate=worker.rate(workload),
        schedule="constant",
        warmup=0,
        epochs=steps,
        max_steps=steps,
        segments_per_step=workload.batch,
        tokens_per_step=workload.batch * MAX_LENGTH if packed else None,
        weight_decay=0.0,
        clip_norm=1.0,
        beta2=0.999,
    )


def fit_of(
    workload: Workload, loaded: Loaded, rows: Sequence[data.Row], options: TrainSettings
) -> Fit:
    """The stage's loss over the rows."""
    if workload.kind == "sft":
        if workload.rank:
            adapters.attach(loaded.model, LoraSettings(r=workload.rank, alpha=ALPHA))
            worker.set_adapter(loaded.model)
        units = [[segment] for row in rows for segment in _segments(loaded.tokenizer, row)]
        return Fit(
            language_loss(None), _dataset(units, options), named_trainable(model=loaded.model)
        )
    if workload.kind == "dpo":
        return _dpo(workload, loaded, rows, options)
    if workload.kind == "reward":
        return _reward(loaded, rows, options)
    if workload.kind == "ppo":
        return _ppo(loaded, rows, options)
    return _grpo(workload, loaded, rows, options)


def _segments(tokenizer: Any, row: data.Row) -> list[Segment]:
    segments = []
    for reply in row.replies:
        ids, before = data.encode(tokenizer, row.prompt, reply)
        mask = [False] * before + [True] * (len(ids) - before)
        segments.append(Segment(ids, mask, per_segment={"weight": 1.0, "general": 0.0}))
    return segments


def _dataset(units: Units, options: TrainSettings) -> DatasetSource:
    """The rows in their own order in the first epoch, so that TRL's batches hold the same ones."""
    placed: Units = [[] for _ in units]
    for place, unit in zip(epoch_order(len(units), data.SEED, 0), units, strict=True):
        placed[place] = unit
    return DatasetSource(placed, options, seed=data.SEED)


def _dpo(
    workload: Workload, loaded: Loaded, rows: Sequence[data.Row], options: TrainSettings
) -> Fit:
    units = [_segments(loaded.tokenizer, row) for row in rows]
    wall, cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        size = options.tokens_per_batch
        (units,) = with_reference(loaded.model, [units], size, Path(folder))
    spent = (time.process_time() - cpu, time.perf_counter() - wall)
    tokens = sum(len(segment.tokens) for unit in units for segment in unit)
    config = dpo.Config(model="benchmark", data=["benchmark"])
    apart = bool(workload.peer.get("precompute_ref_log_probs"))
    return Fit(
        functools.partial(dpo.loss, config=config),
        _dataset(units, options),
        named_trainable(model=loaded.model),
        passes=3 if apart else 4,
        before=(0.0, 0.0) if apart else (spent[0] / tokens, spent[1] / tokens),
    )


def _reward(loaded: Loaded, rows: Sequence[data.Row], options: TrainSettings) -> Fit:
    width = loaded.model.config.hidden_size
    head = ScalarHead(width)
    head.linear.weight.data.copy_(worker.head_weights(width))
    config = reward.Config(model="benchmark", data=["benchmark"], centring=0.0)
    units = [_segments(loaded.tokenizer, row) for row in rows]
    return Fit(
        functools.partial(reward.loss, head=head, config=config),
        _dataset(units, options),
        named_trainable(model=loaded.model, head=head),
    )


def _grpo(
    workload: Workload, loaded: Loaded, rows: Sequence[data.Row], options: TrainSettings
) -> Fit:
    config = grpo.Config(
        model="benchmark",
        prompts=["benchmark"],
        aggregate="token_mean",
        kl_coef=workload.peer["beta"],
        sampling=_sampling(workload),
    )
    reference = deepcopy(loaded.model).eval().requires_grad_(False)
    score = scorer(loaded.model, temperature=1.0, reference=lambda: nullcontext(reference))
    given = workload.kind == "grpo"
    source: Source = (
        _replies(loaded.tokenizer, rows, score, options, grpo_credit)
        if given
        else _online(workload, loaded, rows, score, options)
    )
    return Fit(
        functools.partial(grpo.loss, config=config),
        source,
        named_trainable(model=loaded.model),
        passes=3 if given else 0,
    )


def _ppo(loaded: Loaded, rows: Sequence[data.Row], options: TrainSettings) -> Fit:
    sampling = Sampling(temperature=1.0)
    config = ppo.Config(model="benchmark", prompts=["benchmark"], sampling=sampling)
    critic = ppo.new_critic(loaded, config)
    reference = deepcopy(loaded.model).eval().requires_grad_(False)
    score = scorer(
        loaded.model, temperature=1.0, reference=lambda: nullcontext(reference), critic=critic
    )
    credit = functools.partial(ppo_segments, settings=config.credit)
    return Fit(
        functools.partial(ppo.loss, critic=critic, config=config),
        _replies(loaded.tokenizer, rows, score, options, credit),
        named_trainable(model=loaded.model, critic=critic),
    )


def _replies(
    tokenizer: Any,
    rows: Sequence[data.Row],
    score: Score,
    options: TrainSettings,
    credit: Callable[[list[Reply]], list[Segment]],
) -> DatasetSource:
    """Given replies, scored and credited as a phase of sampled ones is."""
    replies: list[Reply] = []
    for number, row in enumerate(rows):
        for text in row.replies:
            prompt, tokens = tokenizer(row.prompt)["input_ids"], data.reply_ids(tokenizer, text)
            given = data.reward(tokens)
            replies.append(
                Reply(str(len(replies)), str(number), prompt, tokens, given, finished=True)
            )
    found = score(pack([reply.segment() for reply in replies]))
    lengths = [len(reply.tokens) for reply in replies]
    split = {name: values.split(lengths) for name, values in found.items()}
    scored = [
        replace(reply, scores={name: parts[index] for name, parts in split.items()})
        for index, reply in enumerate(replies)
    ]
    segments = credit(scored)
    groups = [segments[i : i + PER_PROMPT] for i in range(0, len(segments), PER_PROMPT)]
    per_step = options.segments_per_step // PER_PROMPT
    source = _dataset(groups, options.model_copy(update={"segments_per_step": per_step}))
    source.dropout = False
    return source


def _online(
    workload: Workload,
    loaded: Loaded,
    rows: Sequence[data.Row],
    score: Score,
    options: TrainSettings,
) -> OnlineSource:
    prompts = [
        Prompt(id=str(i), messages=[{"role": "user", "content": row.prompt}])
        for i, row in enumerate(rows)
    ]

    def rewards(rollouts: list[Rollout]) -> list[float]:
        return [data.reward(rollout.tokens) for rollout in rollouts]

    assert options.max_steps is not None
    return OnlineSource(
        loaded.model,
        loaded.tokenizer,
        prompts,
        _sampling(workload),
        reward=rewards,
        score=score,
        credit=grpo_credit,
        settings=OnlineSettings(
            phases=options.max_steps, prompts_per_phase=workload.prompts, per_prompt=PER_PROMPT
        ),
        train=options.model_copy(update={"epochs": 1}),
        seed=data.SEED,
    )


def _sampling(workload: Workload) -> Sampling:
    return Sampling(temperature=1.0, max_new_tokens=workload.reply[1])


def check(job: dict[str, Any]) -> dict[str, Any]:
    """The losses of two steps on one batch; of a rollout what greedy replies are worth."""
    workload, loaded, rows = _begin(job)
    if workload.kind == "rollout":
        prompts = [loaded.tokenizer(r.prompt)["input_ids"] for r in rows[: workload.prompts]]
        sampling = Sampling(temperature=0.0, max_new_tokens=workload.reply[1])
        replies = generate(
            loaded.model, loaded.tokenizer, prompts, sampling, seeds=[0] * len(prompts)
        )
        values = [value for reply in replies for value in reply.logprobs]
        return {"losses": [sum(values) / len(values)]}
    if workload.kind == "grpo_step":
        workload = replace(workload, kind="grpo")
    options = settings(workload, worker.CHECK_STEPS, whole=True)
    fit = fit_of(workload, loaded, rows[: workload.prompts or workload.batch], options)
    result = train(
        loaded.model, fit.source, fit.loss, options, seed=data.SEED, trainable=fit.trainable
    )
    return {"losses": [row["loss"] for row in result.history]}


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Steps until enough was measured."""
    workload, loaded, rows = _begin(job)
    clock = worker.Clock(job["seconds"])
    if workload.kind == "rollout":
        _rollout(workload, loaded, rows, clock)
        return worker.timed(clock)
    options = settings(workload, worker.MOST_STEPS, whole=False)
    fit = fit_of(workload, loaded, rows, options)
    found_cost = cost(loaded.model)
    assert found_cost is not None
    timed = Timed(fit.source, clock, found_cost, fit.passes)
    with tempfile.TemporaryDirectory() as folder:
        train(
            loaded.model,
            timed,
            fit.loss,
            options,
            seed=data.SEED,
            scratch=Path(folder) / "scratch",
            metrics=Path(folder) / "metrics.jsonl",
            progress=RichProgress(),
            trainable=fit.trainable,
        )
    found = worker.timed(clock)
    found["cpu"] += fit.before[0] * found["tokens"]
    found["wall"] += fit.before[1] * found["tokens"]
    return found


def _rollout(
    workload: Workload, loaded: Loaded, rows: Sequence[data.Row], clock: worker.Clock
) -> None:
    ids = [loaded.tokenizer(row.prompt)["input_ids"] for row in rows]
    size = data.shape(loaded.model.config)
    clock.start()
    while not clock.done:
        first = len(clock.tokens) * workload.prompts
        taken = [ids[(first + i) % len(ids)] for i in range(workload.prompts)]
        prompts = [prompt for prompt in taken for _ in range(PER_PROMPT)]
        seeds = [first * PER_PROMPT + i for i in range(len(prompts))]
        replies = generate(
            loaded.model, loaded.tokenizer, prompts, _sampling(workload), seeds=seeds
        )
        tokens = [len(reply.tokens) for reply in replies]
        pairs = list(zip(map(len, prompts), tokens, strict=True))
        flops = data.sampling_flops(size, pairs, [len(prompt) for prompt in taken])
        clock.mark(sum(tokens), flops)


def locate(job: dict[str, Any]) -> dict[str, Any]:
    """The folder of a model by its name."""
    return {"folder": str(load_model(job["model"], device="cpu").path)}


def _begin(job: dict[str, Any]) -> tuple[Workload, Loaded, list[data.Row]]:
    workload = from_json(job["workload"])
    loaded = load_model(job["model"], device="cpu", dtype=torch.float32)
    return workload, loaded, data.rows(workload, loaded.tokenizer, Path(job["corpus"]))


if __name__ == "__main__":
    worker.main({"check": check, "measure": measure, "locate": locate}, "torch transformers peft")
