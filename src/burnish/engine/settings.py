"""Settings of a fit."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from burnish.config import Settings


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
