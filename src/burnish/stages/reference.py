"""What the reference model says of the training data: computed once, kept on disk."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from burnish.models.divided import compute
from burnish.models.forward import segment_sums, token_logprobs
from burnish.store import atomic
from burnish.store.errors import CorruptError
from burnish.store.tensors import read_tensors
from burnish.text.batches import Batch, Segment, batches

log = logging.getLogger(__name__)

NAME = "logprobs"


Units = Sequence[list[Segment]]


def with_reference(
    model: PreTrainedModel,
    parts: Sequence[Units],
    tokens_per_batch: int,
    cache: Path,
    sums: Callable[[Tensor, Batch], Tensor] = segment_sums,
) -> list[list[list[Segment]]]:
    """The units with each segment's summed reference log-probability (nats) as ``reference``.

    Args:
        model: the one that is about to be trained, before its first step.
        parts: units to train on, units held out, ...
        cache: folder that keeps the values under a fingerprint of weights and data, so that
            neither an interrupted fit nor one with other settings computes them again.
        sums: makes ``[S]`` of log-probabilities ``[N]``, from these and the streams of the batch.
    """
    weights = weights_mark(model)
    done = []
    for units in parts:

        def make(units: Units = units) -> dict[str, Tensor]:
            return {NAME: _computed(model, units, tokens_per_batch, sums)}

        name = f"reference-{fingerprint(weights, units)}.safetensors"
        done.append(_with(units, kept(cache / name, make)[NAME].tolist()))
    return done


def _with(units: Units, values: list[float]) -> list[list[Segment]]:
    following = iter(values)
    return [
        [replace(s, per_segment={**s.per_segment, "reference": next(following)}) for s in unit]
        for unit in units
    ]


def kept(path: Path, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of a file; where there is none, or it is damaged, what ``make`` computes."""
    if path.exists():
        try:
            return read_tensors(path)
        except CorruptError as error:
            log.warning("%s; it is computed again", error)
    found = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_bytes(path, save(found))
    return found


@torch.no_grad()
def _computed(
    model: PreTrainedModel,
    units: Units,
    tokens_per_batch: int,
    sums: Callable[[Tensor, Batch], Tensor],
) -> Tensor:
    device = next(model.parameters()).device
    found = torch.zeros(sum(len(unit) for unit in units))
    for places, batch in batches(units, tokens_per_batch, device):
        found[places] = sums(compute(model, token_logprobs, batch).logprobs, batch).float().cpu()
    return found


def weights_mark(model: PreTrainedModel) -> str:
    """Of every weight. The state, not the parameters: 4-bit weights are nothing without scales."""
    mark = hashlib.sha256()
    for name, weight in model.state_dict().items():
        mark.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        whole = weight.full_tensor() if isinstance(weight, DTensor) else weight
        mark.update(whole.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return mark.hexdigest()


def fingerprint(weights: str, units: Units) -> str:
    """Of the weights, and of the tokens, targets and per-token streams of the data."""
    mark = hashlib.sha256(weights.encode())
    for segment in chain.from_iterable(units):
        mark.update(np.array([segment.tokens, segment.mask], dtype=np.int64).tobytes())
        for name, values in sorted(segment.per_token.items()):
            mark.update(name.encode() + np.array(values, dtype=np.float32).tobytes())
    return mark.hexdigest()[:24]
