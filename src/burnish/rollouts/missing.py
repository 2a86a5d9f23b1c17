"""Replies whose reward is missing (a judge gave no grade): they are left out, not scored 0."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import torch

from burnish.config import InputError, Problem
from burnish.rollouts.credit import Controls, Credit, Reply
from burnish.text.batches import Segment


def rewarded(replies: Sequence[Reply]) -> list[bool]:
    """Which replies can be learnt from: those with a reward (it is not NaN). Where a prompt has
    several replies, two with a reward at least: a group of one compares with nothing.
    """
    there = [not math.isnan(reply.reward) for reply in replies]
    whole = Counter(reply.prompt_id for reply in replies)
    known = Counter(reply.prompt_id for reply, has in zip(replies, there, strict=True) if has)
    return [
        has and (known[reply.prompt_id] > 1 or whole[reply.prompt_id] == 1)
        for reply, has in zip(replies, there, strict=True)
    ]


def learnt_from(
    replies: Sequence[Reply], credit: Credit, controls: Controls
) -> tuple[list[Segment], int]:
    """The segments of all replies, in order, and how many of these were left out.

    A reply that is left out has no target and takes no part in its group's or phase's statistics,
    so that the others' credit is what it would be had it not been sampled.

    Raises:
        InputError: all are left out.
    """
    used = rewarded(replies)
    kept = [reply for reply, use in zip(replies, used, strict=True) if use]
    if not kept:
        found = f"no reply of a phase ({len(replies)}) got a reward that compares with another"
        raise InputError(Problem("", None, "judge", found, "a judge that can grade"))
    found_segments = credit(kept, controls=controls)
    if len(found_segments) != len(kept):
        raise ValueError(f"{len(kept)} replies gave {len(found_segments)} segments")
    following, names = iter(found_segments), found_segments[0].per_token
    segments = [
        next(following) if use else _silent(reply, list(names))
        for reply, use in zip(replies, used, strict=True)
    ]
    return segments, len(replies) - len(kept)


def _silent(reply: Reply, names: Sequence[str]) -> Segment:
    segment = reply.segment({name: torch.zeros(len(reply.tokens)) for name in names})
    return replace(segment, mask=[False] * len(segment.tokens))
