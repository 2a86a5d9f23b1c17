"""What a fit will hold in memory, from rehearsing one of its steps on a model without weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from burnish.config import InputError
from burnish.engine.activations import recomputed
from burnish.models.forward import token_divergences, token_logprobs
from burnish.models.outline import Memory, Outline, size_of
from burnish.text.batches import Batch, Segment, pack

MOMENTS = 2
"""Adam's two averages, of a weight's own type (``torch.optim.AdamW``)."""


@dataclass(frozen=True)
class StepMemory:
    """Bytes at the fullest moment of a fit's steps; they add up to ``total``.

    ``gradients`` held at that moment, ``activations`` that autograd keeps of the layers, ``head``
    the rest: logits, gradients on their way, what a layer computes again.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    head: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.head


class _Whole(Batch):
    """A batch in which every token but the first is a target, known without looking."""

    def target_index(self) -> Tensor:
        """``[T - 1]``: 1 to T - 1."""
        return torch.arange(1, len(self.tokens))

    def predictors(self) -> Tensor:
        """``[T - 1]``: 0 to T - 2."""
        return torch.arange(len(self.tokens) - 1)


def rehearse(
    outline: Outline,
    lengths: Sequence[int],
    *,
    several: bool,
    recompute: bool = False,
    anchor: Outline | None = None,
) -> StepMemory:
    """Forward and backward of burnish's own packed computation on a model without weights.

    The fullest moment is in backward: at its start the activations of all layers are alive, at
    its end all gradients. Weights and both moments are always there.

    Args:
        lengths: tokens of each segment of a micro-batch; all of them are taken as targets.
        several: a window has more than one micro-batch, so that the gradients of the first are
            there while the activations of the second are.
        recompute: ``extras.checkpoint_activations``.
        anchor: a frozen model of the same ``fake`` mode that the loss compares with; its weights
            are not counted.

    Raises:
        InputError: the model cannot be computed without its numbers, as a mixture of experts,
            which sends tokens where they say.
    """
    model, trained = outline.model, outline.trained
    others = [*anchor.model.parameters(), *anchor.model.buffers()] if anchor else []
    known = [*model.parameters(), *model.buffers(), *others]
    memory = Memory(known, aside=lambda: size_of(_gradients(trained)))
    layers: list[int] = []
    hook = model.base_model.register_forward_hook(lambda *_: layers.append(memory.now))
    was_training = model.training
    model.train(recompute)
    try:
        with outline.fake, recomputed(model, recompute), memory:
            for parameter in trained if several else ():
                parameter.grad = torch.empty_like(parameter)
            before = memory.now
            _scores(outline, anchor, _batch(lengths)).sum().backward()
    except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
        kind, reason = model.config.model_type, str(error).strip().splitlines()
        found = f"the memory of a model of type {kind!r} cannot be worked out without its weights"
        raise InputError(f"{found}: {reason[0] if reason else type(error).__name__}") from error
    finally:
        model.train(was_training)
        hook.remove()
        for parameter in trained:
            parameter.grad = None
    rest = memory.peak - memory.at_peak
    kept = min(layers[0] - before, rest)
    moments = MOMENTS * size_of(trained)
    return StepMemory(outline.weights, memory.at_peak, moments, kept, rest - kept)


def _gradients(trained: Sequence[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in trained if parameter.grad is not None]


def _batch(lengths: Sequence[int]) -> Batch:
    segments = [Segment([0] * n, [True] * n, str(i)) for i, n in enumerate(lengths)]
    return _Whole(**vars(pack(segments)))


def _scores(outline: Outline, anchor: Outline | None, batch: Batch) -> Tensor:
    if anchor is not None:
        return token_divergences(outline.model, anchor.model, batch)
    return token_logprobs(outline.model, batch).logprobs
