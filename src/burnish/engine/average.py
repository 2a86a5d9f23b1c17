"""A moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from burnish.engine.optim import Trainable
from burnish.engine.state import Weights, copy_weights, put_weights


def begin(trainable: Trainable) -> Weights:
    """The average before the first step: the weights, in float32 where they are coarser.

    In bfloat16 a decay of 0.999 would round every update away.
    """
    return {
        name: parameter.detach().to(torch.promote_types(parameter.dtype, torch.float32), copy=True)
        for name, parameter in trainable.items()
    }


def update(average: Weights, trainable: Trainable, decay: float, step: int) -> None:
    """Take the weights after a step into the average: ``a <- d a + (1 - d) w``, in place.

    ``d = min(decay, (1 + step) / (10 + step))``, steps counted from 0, so that a short fit does
    not end with the weights it began with (the rule of ``num_updates`` in TensorFlow's
    ``tf.train.ExponentialMovingAverage``).
    """
    share = 1 - min(decay, (1 + step) / (10 + step))
    for name, parameter in trainable.items():
        mean = average[name]
        mean.lerp_(parameter.detach().to(mean.dtype), share)


@contextmanager
def in_place(trainable: Trainable, average: Mapping[str, Tensor] | None) -> Iterator[None]:
    """Inside the block the weights are the average, where there is one."""
    if average is None:
        yield
        return
    own = copy_weights(trainable)
    put_weights(trainable, average)
    try:
        yield
    finally:
        put_weights(trainable, own)
