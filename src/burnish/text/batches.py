"""Packed batches: segments (documents, conversations) laid end to end without padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np
import torch
from torch import Tensor

MEGA_BATCHES = 16
"""Segments of this many batches are sorted by length together; see ``plan``."""


@dataclass(frozen=True)
class Segment:
    """One sequence before packing.

    ``tokens: [L]``; ``mask: [L]``, True where a token is a training target (a first token has
    nothing that predicts it and is never a target). ``per_token`` holds streams with one
    number a *token* (``[L]``, so that a stream lines up with ``tokens``; read the ones of the
    targets with ``Batch.at_targets``), ``per_segment`` one number for the whole sequence.

    Example: ``Segment([5, 6, 7], [False, False, True], "a", per_segment={"weight": 0.5})``.
    """

    tokens: Sequence[int]
    mask: Sequence[bool]
    id: str = ""
    per_token: Mapping[str, Sequence[float]] = field(default_factory=dict)
    per_segment: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.tokens:
            raise ValueError(f"segment {self.id!r} has no tokens")
        for name, values in (("mask", self.mask), *self.per_token.items()):
            if len(values) != len(self.tokens):
                raise ValueError(
                    f"segment {self.id!r}: {name} has {len(values)} values "
                    f"for {len(self.tokens)} tokens"
                )


@dataclass(frozen=True)
class Batch:
    """Segments packed into one row of ``T`` tokens; ``S`` segments, ``N`` targets.

    ``tokens [T]``, ``positions [T]`` (restart at 0 in every segment), ``targets [T]`` bool
    (this token is predicted, from the one before it, and carries loss), ``segment [T]`` (index
    of the segment), ``lengths`` (S python ints), ``per_token {name: [T]}``,
    ``per_segment {name: [S]}``, ``ids`` (S strings). Segments keep the order they were given in.
    """

    tokens: Tensor
    lengths: list[int]
    positions: Tensor
    targets: Tensor
    segment: Tensor
    per_token: dict[str, Tensor]
    per_segment: dict[str, Tensor]
    ids: list[str]

    @property
    def device(self) -> torch.device:
        """Where the tensors live."""
        return self.tokens.device

    def target_index(self) -> Tensor:
        """``[N]``: the places in ``[T]`` of the targets, in order."""
        return self.targets.nonzero().squeeze(1)

    def at_targets(self, name: str) -> Tensor:
        """``[N]``: the values of the per-token stream ``name`` at the targets."""
        return self.per_token[name][self.targets]

    def target_segments(self) -> Tensor:
        """``[N]``: the segment of each target."""
        return self.segment[self.targets]

    def only(self, chosen: Tensor) -> Batch:
        """The segments where ``chosen [S]`` (bool) is True, packed anew; there may be none."""
        tokens, flags = chosen[self.segment], chosen.tolist()
        kept = [index for index, flag in enumerate(flags) if flag]
        return Batch(
            tokens=self.tokens[tokens],
            lengths=[self.lengths[index] for index in kept],
            positions=self.positions[tokens],
            targets=self.targets[tokens],
            segment=(chosen.cumsum(0) - 1)[self.segment[tokens]],
            per_token={name: values[tokens] for name, values in self.per_token.items()},
            per_segment={name: values[chosen] for name, values in self.per_segment.items()},
            ids=[self.ids[index] for index in kept],
        )

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on ``device``."""
        return replace(
            self,
            tokens=self.tokens.to(device),
            positions=self.positions.to(device),
            targets=self.targets.to(device),
            segment=self.segment.to(device),
            per_token={name: values.to(device) for name, values in self.per_token.items()},
            per_segment={name: values.to(device) for name, values in self.per_segment.items()},
        )


def pack(segments: Sequence[Segment], device: torch.device | str | None = None) -> Batch:
    """Lay segments end to end.

    Args:
        segments: at least one; all with the same stream names.
        device: where the batch goes; None for the CPU.

    Raises:
        ValueError: no segments, or segments whose stream names differ.
    """
    if not segments:
        raise ValueError("a batch needs at least one segment")
    lengths = [len(segment.tokens) for segment in segments]
    sizes = np.asarray(lengths)
    ends = np.cumsum(sizes)
    total = int(ends[-1])
    starts = ends - sizes
    targets = np.fromiter(chain.from_iterable(s.mask for s in segments), bool, total)
    targets[starts] = False
    batch = Batch(
        tokens=_tensor(chain.from_iterable(s.tokens for s in segments), np.int64, total),
        lengths=lengths,
        positions=torch.from_numpy(np.arange(total) - np.repeat(starts, sizes)),
        targets=torch.from_numpy(targets),
        segment=torch.from_numpy(np.repeat(np.arange(len(segments)), sizes)),
        per_token={
            name: _tensor(
                chain.from_iterable(s.per_token[name] for s in segments), np.float32, total
            )
            for name in _stream_names([s.per_token for s in segments])
        },
        per_segment={
            name: _tensor((s.per_segment[name] for s in segments), np.float32, len(segments))
            for name in _stream_names([s.per_segment for s in segments])
        },
        ids=[segment.id for segment in segments],
    )
    return batch if device is None else batch.to(device)


def _tensor(values: object, dtype: type[np.generic], count: int) -> Tensor:
    return torch.from_numpy(np.fromiter(values, dtype, count))  # type: ignore[call-overload]


def _stream_names(streams: Sequence[Mapping[str, object]]) -> list[str]:
    names = set(streams[0])
    for stream in streams:
        if set(stream) != names:
            odd = ", ".join(sorted(names ^ set(stream)))
            raise ValueError(f"every segment of a batch needs the same streams; odd ones: {odd}")
    return sorted(names)


def plan(lengths: Sequence[int], tokens_per_batch: int, seed: int, epoch: int) -> list[list[int]]:
    """Divide one epoch into batches of about ``tokens_per_batch`` tokens.

    Everything is shuffled, then sorted by length inside chunks of ``MEGA_BATCHES`` batches, so
    that a batch holds segments of similar length and attention pads little; the order of the
    batches is shuffled again. The same arguments always give the same plan.

    Args:
        lengths: ``[n]`` tokens of each segment.
        tokens_per_batch: upper bound, except that a longer segment is a batch of its own.

    Returns:
        Lists of indices into ``lengths``; each index occurs exactly once.
    """
    if tokens_per_batch < 1:
        raise ValueError(f"tokens_per_batch must be positive, found {tokens_per_batch}")
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths)).tolist()
    batches: list[list[int]] = []
    for chunk in _chunks(order, lengths, MEGA_BATCHES * tokens_per_batch):
        by_length = sorted(chunk, key=lambda index: lengths[index])
        batches += _chunks(by_length, lengths, tokens_per_batch)
    return [batches[index] for index in random.permutation(len(batches))]


def _chunks(order: Sequence[int], lengths: Sequence[int], tokens: int) -> list[list[int]]:
    chunks: list[list[int]] = []
    filled = tokens + 1
    for index in order:
        if filled + lengths[index] > tokens:
            chunks.append([])
            filled = 0
        chunks[-1].append(index)
        filled += lengths[index]
    return chunks
