"""Settings of a fit."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from burnish.config import Settings


class SpikeSettings(Settings):
    """Windows whose loss jumps up are left out; ``engine.spikes`` has the rule.

    A jump is a loss more than ``factor`` standard deviations (robust ones) above the median of
    the last ``window`` losses that were trained on.
    """

    window: int = Field(32, ge=4, description="losses to look back at")
    factor: PositiveFloat = Field(8.0, description="standard deviations above the median")


class Extras(Settings):
    """What a fit does only where it is asked to.

    ``spikes`` leaves out windows whose loss jumps up. With ``ema`` the fit is measured on, and
    ends with, a moving average of its weights. ``neftune`` adds noise to the embeddings.
    ``checkpoint_activations`` computes each layer again in the backward pass, which saves memory
    and costs time. ``trackers`` are told of every step beside the metrics file. ``rates`` makes
    some parameters learn faster or slower, such as ``{head: 10}`` for a reward model's new head.
    """

    spikes: SpikeSettings | None = None
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the average, such as 0.999; 0: off")
    neftune: float = Field(0.0, ge=0, description="alpha of the noise, such as 5; 0: off")
    checkpoint_activations: bool = False
    trackers: list[str] = Field([], description="tensorboard, wandb, mlflow, trackio, ...")
    rates: dict[str, PositiveFloat] = Field(
        {}, description="times learning_rate, by the beginning of parameters' names"
    )


class TrainSettings(Settings):
    """How a fit takes its steps; the same for every objective.

    A *window* is what one optimiser step sees: ``segments_per_step`` records (conversations,
    pairs, rollouts), or about ``tokens_per_step`` tokens where that is set. It is computed in
    micro-batches of at most ``tokens_per_batch`` tokens, which bounds memory and does not change
    the result. Shares (``warmup``, ``decay``, ``min_lr``) are fractions between 0 and 1.
    """

    learning_rate: PositiveFloat = 1e-3
    schedule: Literal["cosine", "linear", "constant", "wsd"] = "cosine"
    warmup: float = Field(0.05, ge=0, le=1, description="share of the steps")
    decay: float = Field(0.2, ge=0, le=1, description="share of the steps, for wsd")
    min_lr: float = Field(0.1, ge=0, le=1, description="share of learning_rate at the end")
    epochs: PositiveInt = 1
    max_steps: PositiveInt | None = None
    segments_per_step: PositiveInt = 16
    tokens_per_step: PositiveInt | None = None
    tokens_per_batch: PositiveInt = 4096
    weight_decay: float = Field(0.01, ge=0)
    clip_norm: PositiveFloat = 1.0
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.95, ge=0, lt=1)
    eps: PositiveFloat = 1e-8
    save_seconds: PositiveFloat = Field(120.0, description="seconds between step checkpoints")
    save_steps: PositiveInt | None = Field(None, description="steps between, instead of seconds")
    eval_every: int = Field(0, ge=0, description="steps; 0: after the last step only")
    patience: int = Field(0, ge=0, description="evaluations without a new best; 0: never stop")
    extras: Extras = Extras()
