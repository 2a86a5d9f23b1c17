"""Online DPO: the best against the worst of the policy's own replies, as the reward sees them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Self

import torch
from pydantic import Field, PositiveFloat, model_validator
from torch import Tensor

from burnish.config import InputError, Problem
from burnish.engine import TrainSettings
from burnish.models.forward import segment_counts, segment_sums, token_logprobs
from burnish.models.load import Loaded
from burnish.objectives import Loss, preference
from burnish.records import Prompt
from burnish.rollouts.credit import PAIR, pair_segments
from burnish.stages import policy
from burnish.stages.base import Context, Inputs, Outcome
from burnish.text.batches import Batch
from burnish.text.templates import encode_prompts


class Config(policy.OnlineConfig):
    """Train ``model`` by DPO on pairs of its own replies to ``prompts``.

    Of the ``online.per_prompt`` replies to a prompt the one of the highest reward is chosen, the
    one of the lowest rejected; where all are equal there is no pair (Guo et al. 2024,
    arXiv 2402.04792, algorithm 1). ``missing_eos_penalty`` is taken from the reward of a reply
    that was cut off. Log-probabilities are those at the sampling temperature.
    """

    beta: PositiveFloat = 0.1
    missing_eos_penalty: float = Field(0.0, ge=0)
    train: TrainSettings = TrainSettings(
        learning_rate=1e-4, schedule="constant", segments_per_step=64, eps=1e-5
    )

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if self.online.per_prompt < 2:
            raise ValueError("online.per_prompt must be at least 2: a pair needs two replies")
        if self.online.importance_cap is not None:
            raise ValueError("online.importance_cap does not go with a loss on pairs")
        return self


def paired(batch: Batch) -> tuple[Tensor, Tensor]:
    """The chosen and the rejected segments, ``[P]`` indices in the same order of pairs.

    Raises:
        ValueError: half of a pair lies in another batch.
    """
    # The stream has one number for all targets of a reply.
    means = segment_sums(batch.at_targets(PAIR), batch) / segment_counts(batch).clamp(min=1)
    marks = means.round()
    order = marks.abs().argsort()
    chosen, rejected = order[marks[order] > 0], order[marks[order] < 0]
    if not torch.equal(marks[chosen], -marks[rejected]):
        raise ValueError("the replies of a pair lie in different batches")
    return chosen, rejected


def loss(model: Any, batch: Batch, config: Config) -> Loss:
    """The DPO loss over the pairs of a batch, and the share of replies that are ``paired``."""
    scores = token_logprobs(model, batch, config.sampling.temperature)
    sums = segment_sums(scores.logprobs, batch)
    reference = segment_sums(batch.at_targets("ref_logprobs"), batch)
    chosen, rejected = paired(batch)
    found = preference(
        "dpo",
        sums[chosen],
        sums[rejected],
        reference[chosen],
        reference[rejected],
        beta=config.beta,
    )
    used = sums.new_tensor(2.0 * len(chosen)), sums.new_tensor(float(len(sums)))
    return Loss(found.total, found.count, {**found.metrics, "paired": used})


def check_room(loaded: Loaded, prompts: Sequence[Prompt], config: Config) -> None:
    """All replies to a prompt must fit into one micro-batch, so that a pair is never cut apart.

    Raises:
        InputError: they may not, with the ``tokens_per_batch`` that would do.
    """
    rows = encode_prompts(loaded.tokenizer, [prompt.messages for prompt in prompts])
    longest = max((len(row) for row in rows), default=0)
    needed = (longest + config.sampling.max_new_tokens) * config.online.per_prompt
    limit = config.train.tokens_per_batch
    if needed > limit:
        found = f"{limit}, but the replies to one prompt can take {needed} tokens"
        raise InputError(Problem("", None, "train.tokens_per_batch", found, f"at least {needed}"))


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Alternate sampling, pairing and updates; save the policy."""
    loaded, prompts = policy.load(config, inputs, context)
    check_room(loaded, prompts, config)
    return policy.improve(
        config,
        inputs,
        context,
        loaded,
        prompts,
        stage="fit.online_dpo",
        credit=functools.partial(pair_segments, missing_eos_penalty=config.missing_eos_penalty),
        loss=functools.partial(loss, config=config),
        shown=["loss", "reward", "kl", "length", "entropy", "accuracy", "paired"],
        count=lambda batch: len(paired(batch)[0]),
    )
