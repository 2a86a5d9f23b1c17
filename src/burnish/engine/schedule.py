"""Learning rate by step."""

from __future__ import annotations

import math

from burnish.engine.settings import TrainSettings


def learning_rate(step: int, steps: int, settings: TrainSettings) -> float:
    """The learning rate of optimiser step ``step`` of ``steps``, counted from 1.

    It rises linearly over the first ``warmup * steps`` steps, is ``learning_rate`` at the end of
    the warm-up and ``min_lr * learning_rate`` at the last step. ``cosine``: Loshchilov and Hutter
    2017 (SGDR), equation 5, without restarts. ``wsd``: warm-up, stable, then a linear decay over
    the last ``decay * steps`` steps (Hu et al. 2024, MiniCPM, section 4.2).
    """
    peak = settings.learning_rate
    rising = round(settings.warmup * steps)
    if step <= rising:
        return peak * step / rising
    if settings.schedule == "constant":
        return peak
    begin = rising
    if settings.schedule == "wsd":
        begin = max(rising, steps - round(settings.decay * steps))
    # Beyond ``begin == steps`` there is nothing left to decay over.
    gone = min(1.0, max(0.0, (step - begin) / max(1, steps - begin)))
    left = 1.0 - gone if settings.schedule != "cosine" else 0.5 * (1 + math.cos(math.pi * gone))
    return peak * (settings.min_lr + (1.0 - settings.min_lr) * left)
