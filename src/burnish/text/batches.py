"""Packed batches: segments (documents, conversations) laid end to end without padding.

Segments that answer one prompt (a chosen and a rejected reply, the replies of a group) may be
packed as a unit: the tokens that they begin with alike then stand in the batch once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, chain, groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

MEGA_BATCHES = 16
"""Segments of this many batches are sorted by length together; see ``plan``."""
LEAST_SHARED = 8
"""A shorter common beginning is not worth attending to from elsewhere."""


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


Unit = Segment | Sequence[Segment]
"""What belongs into one batch: a segment, or several whose common beginning is computed once."""


class Span(NamedTuple):
    """``length`` tokens at ``start`` that go on from ``past`` earlier ones at ``past_start``."""

    start: int
    length: int
    past_start: int = 0
    past: int = 0


@dataclass(frozen=True)
class Batch:
    """Segments packed into one row of ``T`` tokens; ``S`` segments, ``N`` targets.

    ``tokens [T]``, ``positions [T]`` (restart at 0 in every segment), ``before [T]`` (the place of
    the token before this one), ``targets [T]`` bool (this token is predicted, from the one before
    it, and carries loss), ``segment [T]`` (index of the segment; of shared tokens, of the first
    that shares them), ``per_token {name: [T]}``, ``per_segment {name: [S]}``, ``ids`` (S strings).
    Segments keep the order they were given in. ``own``: where each segment's tokens stand, S spans;
    ``shared``: where the beginnings stand that several of them go on from.
    """

    tokens: Tensor
    positions: Tensor
    before: Tensor
    targets: Tensor
    segment: Tensor
    per_token: dict[str, Tensor]
    per_segment: dict[str, Tensor]
    ids: list[str]
    own: list[Span]
    shared: list[Span] = field(default_factory=list)

    @property
    def lengths(self) -> list[int]:
        """S python ints: tokens of each segment, those it shares among them."""
        return [span.past + span.length for span in self.own]

    @property
    def device(self) -> torch.device:
        """Where the tensors live."""
        return self.tokens.device

    def target_index(self) -> Tensor:
        """``[N]``: the places in ``[T]`` of the targets, in order."""
        return self.targets.nonzero().squeeze(1)

    def predictors(self) -> Tensor:
        """``[N]``: the places in ``[T]`` of the tokens that the targets are predicted from."""
        return self.before[self.targets]

    def last_index(self) -> Tensor:
        """``[S]``: the places in ``[T]`` of the segments' last tokens."""
        last = [span.start + span.length - 1 for span in self.own]
        return torch.tensor(last, device=self.device)

    def whole_index(self) -> Tensor:
        """The places in ``[T]`` of every segment's tokens, shared ones as often as they are used:
        as many as ``lengths`` sum up to."""
        parts = [
            torch.arange(begin, begin + count)
            for span in self.own
            for begin, count in ((span.past_start, span.past), (span.start, span.length))
        ]
        return torch.cat(parts).to(self.device)

    def at_targets(self, name: str) -> Tensor:
        """``[N]``: the values of the per-token stream ``name`` at the targets."""
        return self.per_token[name][self.targets]

    def target_segments(self) -> Tensor:
        """``[N]``: the segment of each target."""
        return self.segment[self.targets]

    def only(self, chosen: Tensor) -> Batch:
        """The segments where ``chosen [S]`` (bool) is True, packed anew; there may be none.

        Raises:
            ValueError: segments share tokens.
        """
        if self.shared:
            raise ValueError("segments that share their beginning cannot be taken apart")
        tokens, flags = chosen[self.segment], chosen.tolist()
        kept = [index for index, flag in enumerate(flags) if flag]
        own, start = [], 0
        for index in kept:
            own.append(Span(start, self.own[index].length))
            start += self.own[index].length
        # Places move up by the tokens left out before them.
        moved = tokens.cumsum(0) - 1
        return Batch(
            tokens=self.tokens[tokens],
            positions=self.positions[tokens],
            before=moved[self.before[tokens]],
            targets=self.targets[tokens],
            segment=(chosen.cumsum(0) - 1)[self.segment[tokens]],
            per_token={name: values[tokens] for name, values in self.per_token.items()},
            per_segment={name: values[chosen] for name, values in self.per_segment.items()},
            ids=[self.ids[index] for index in kept],
            own=own,
        )

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on ``device``."""
        return replace(
            self,
            tokens=self.tokens.to(device),
            positions=self.positions.to(device),
            before=self.before.to(device),
            targets=self.targets.to(device),
            segment=self.segment.to(device),
            per_token={name: values.to(device) for name, values in self.per_token.items()},
            per_segment={name: values.to(device) for name, values in self.per_segment.items()},
        )


def pack(units: Sequence[Unit], device: torch.device | str | None = None) -> Batch:
    """Lay segments end to end.

    What several segments of a unit have in common before any of them has a target is laid down
    once, before their own tokens; each of them still is computed as if it stood alone.

    Args:
        units: at least one segment; all with the same stream names.
        device: where the batch goes; None for the CPU.

    Raises:
        ValueError: no segments, or segments whose stream names differ.
    """
    segments, pieces, own, shared = _lay(units)
    if not segments:
        raise ValueError("a batch needs at least one segment")
    sizes = np.array([end - begin for _, begin, end in pieces])
    begins = np.array([begin for _, begin, _ in pieces])
    total = int(sizes.sum())
    starts = np.cumsum(sizes) - sizes
    before = np.arange(total) - 1
    before[starts] = starts
    going_on = [span for span in own if span.past]
    before[[span.start for span in going_on]] = [s.past_start + s.past - 1 for s in going_on]
    targets = _joined(((segments[i].mask, a, b) for i, a, b in pieces), np.bool_, total)
    targets[starts[begins == 0]] = False
    batch = Batch(
        tokens=_tensor(((segments[i].tokens, a, b) for i, a, b in pieces), np.int64, total),
        positions=torch.from_numpy(np.arange(total) - np.repeat(starts - begins, sizes)),
        before=torch.from_numpy(before),
        targets=torch.from_numpy(targets),
        segment=torch.from_numpy(np.repeat([index for index, _, _ in pieces], sizes)),
        per_token={
            name: _tensor(
                ((segments[i].per_token[name], a, b) for i, a, b in pieces), np.float32, total
            )
            for name in _stream_names([s.per_token for s in segments])
        },
        per_segment={
            name: torch.tensor([s.per_segment[name] for s in segments], dtype=torch.float32)
            for name in _stream_names([s.per_segment for s in segments])
        },
        ids=[segment.id for segment in segments],
        own=own,
        shared=shared,
    )
    return batch if device is None else batch.to(device)


Piece = tuple[int, int, int]
"""Tokens of one segment: its index, the first of them and the one after the last."""


def _lay(units: Sequence[Unit]) -> tuple[list[Segment], list[Piece], list[Span], list[Span]]:
    """All segments, the pieces of them in the order they are laid, and the spans of ``Batch``."""
    segments: list[Segment] = []
    pieces: list[Piece] = []
    own: list[Span] = []
    shared: list[Span] = []
    place = 0
    for unit in units:
        group = [unit] if isinstance(unit, Segment) else list(unit)
        past, past_start = common(group), place
        if past:
            pieces.append((len(segments), 0, past))
            shared.append(Span(place, past))
            place += past
        for segment in group:
            pieces.append((len(segments), past, len(segment.tokens)))
            segments.append(segment)
            own.append(Span(place, len(segment.tokens) - past, past_start if past else 0, past))
            place += own[-1].length
    return segments, pieces, own, shared


def common(group: Sequence[Segment]) -> int:
    """How many tokens all segments begin with alike and without a target; 0 if they are few.

    Each keeps a token of its own at the least.
    """
    if len(group) < 2:
        return 0
    count = min(_before_targets(segment) for segment in group)
    first = group[0].tokens[:count]
    if any(segment.tokens[:count] != first for segment in group[1:]):
        rows = zip(*(segment.tokens[:count] for segment in group), strict=True)
        count = next((i for i, row in enumerate(rows) if len(set(row)) > 1), count)
    return count if count >= LEAST_SHARED else 0


def _before_targets(segment: Segment) -> int:
    # A first token is never a target, whatever its mask says.
    mask = segment.mask
    return mask.index(True, 1) if any(mask[1:]) else len(mask) - 1


def size(unit: Unit) -> int:
    """How many tokens a unit takes in a batch, shared ones counted once."""
    if isinstance(unit, Segment):
        return len(unit.tokens)
    return sum(len(segment.tokens) for segment in unit) - (len(unit) - 1) * common(unit)


Slices = Iterable[tuple[Sequence[float], int, int]]


def _joined(slices: Slices, dtype: type[np.generic], count: int) -> np.ndarray[Any, Any]:
    return np.fromiter(chain.from_iterable(v[a:b] for v, a, b in slices), dtype, count)


def _tensor(slices: Slices, dtype: type[np.generic], count: int) -> Tensor:
    return torch.from_numpy(_joined(slices, dtype, count))


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


def batches(
    units: Sequence[Unit], tokens_per_batch: int, device: torch.device | str | None = None
) -> Iterator[tuple[list[int], Batch]]:
    """All units once, for what only looks at them: batches of segments alike in length, and with
    each its segments' places among all segments."""
    groups = [[unit] if isinstance(unit, Segment) else list(unit) for unit in units]
    firsts = [0, *accumulate(len(group) for group in groups)]
    for chosen in plan([size(group) for group in groups], tokens_per_batch, seed=0, epoch=0):
        places = [place for unit in chosen for place in range(firsts[unit], firsts[unit + 1])]
        yield places, pack([groups[unit] for unit in chosen], device)


def together(segments: Sequence[Segment], keys: Iterable[object]) -> list[Unit]:
    """Units of the segments that follow each other with the same key (a prompt)."""
    pairs = groupby(zip(segments, keys, strict=True), key=lambda pair: pair[1])
    return [[segment for segment, _ in run] for _, run in pairs]


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
