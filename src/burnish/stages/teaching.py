"""What a student is taught with: its teacher's distributions and replies, and its own replies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from burnish.config import InputError, Problem
from burnish.engine import DatasetSource, TrainSettings, ranks
from burnish.engine.source import micro_batches
from burnish.models.forward import (
    Divergence,
    coarse_divergences,
    common_width,
    likeliest_tokens,
    token_divergences,
)
from burnish.models.load import Loaded
from burnish.objectives import DivergenceKind, distribution_divergence
from burnish.records import Example, Message
from burnish.rollouts.collect import reply_seed
from burnish.sampling import LocalSampler, Request, Sampling, generate
from burnish.sampling.journal import JournalledSampler
from burnish.stages.base import Context
from burnish.stages.reference import fingerprint, kept, weights_mark
from burnish.text.batches import Batch, Segment, batches, pack
from burnish.text.templates import encode_prompts

PLACE = "place"
Taught = Callable[[PreTrainedModel, Batch, Tensor], Tensor]
"""The student, a batch and its hidden states ``[T, D]`` to the divergence from the teacher at each
target, ``[N]`` in nats."""


def divergence(kind: DivergenceKind, temperature: float, beta: float) -> Divergence:
    """``distribution_divergence`` with these settings."""
    return partial(distribution_divergence, kind=kind, temperature=temperature, beta=beta)


def live(teacher: PreTrainedModel, measure: Divergence) -> Taught:
    """The teacher computes along, batch by batch."""

    def taught(model: PreTrainedModel, batch: Batch, states: Tensor) -> Tensor:
        return token_divergences(model, teacher, batch, states, measure)

    return taught


@dataclass(frozen=True)
class Kept:
    """What a teacher thinks likeliest at every target, of all segments one after the other.

    ``ids [M, K]``; ``known [M, K + 1]``, log-probabilities at the temperature; segment number n has
    rows ``starts[n]`` to ``starts[n + 1]``.
    """

    ids: Tensor
    known: Tensor
    starts: list[int]

    def of(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The rows of a batch's targets, in their order."""
        places = batch.per_segment[PLACE].int().tolist()
        rows = torch.cat([torch.arange(self.starts[n], self.starts[n + 1]) for n in places])
        return self.ids[rows].long().to(batch.device), self.known[rows].to(batch.device)


def numbered(segments: Sequence[Segment]) -> list[Segment]:
    """The segments, each with its number among them as the stream PLACE."""
    return [
        replace(one, per_segment={**one.per_segment, PLACE: float(number)})
        for number, one in enumerate(segments)
    ]


def remembered(
    teacher: PreTrainedModel,
    student: PreTrainedModel,
    segments: Sequence[Segment],
    count: int,
    temperature: float,
    measure: Divergence,
    tokens_per_batch: int,
    cache: Path,
) -> Taught:
    """The teacher is asked once, and its ``count`` likeliest tokens at each target are kept on
    disk, under a fingerprint of its weights and the data: 8 bytes a token kept, for each target.

    Args:
        segments: as ``numbered`` gives them.
        measure: of logits that were divided by the temperature.

    Raises:
        InputError: there are not more than ``count`` tokens.
    """
    width = common_width(teacher, student)
    if count >= width:
        expected = f"fewer than its {width} tokens; none to compare all of them"
        raise InputError(Problem("", None, "top_k", f"found {count}", expected))
    # A first token has nothing that predicts it.
    starts = [0, *accumulate(sum(one.mask[1:]) for one in segments)]
    mark = fingerprint(weights_mark(teacher), [[one] for one in segments])

    def make() -> dict[str, Tensor]:
        ids = torch.zeros(starts[-1], count, dtype=torch.int32)
        known = torch.zeros(starts[-1], count + 1)
        device = next(teacher.parameters()).device
        for places, batch in batches(segments, tokens_per_batch, device):
            found = likeliest_tokens(teacher, batch, count, temperature, width)
            sizes = [starts[n + 1] - starts[n] for n in places]
            for n, *rows in zip(places, *(part.cpu().split(sizes) for part in found), strict=True):
                ids[starts[n] : starts[n + 1]], known[starts[n] : starts[n + 1]] = rows
        return {"ids": ids, "known": known}

    name = f"teacher-{mark}-{count}-{temperature:g}-{width}.safetensors"
    found = Kept(**kept(cache / name, make), starts=starts)

    def taught(model: PreTrainedModel, batch: Batch, states: Tensor) -> Tensor:
        rows = found.of(batch)
        # t^2 of the whole: see ``distribution_divergence``.
        return temperature**2 * coarse_divergences(
            model, batch, states, rows, measure, temperature, width
        )

    return taught


def prompt_of(example: Example) -> list[Message]:
    """The conversation up to its last reply."""
    last = max(n for n, message in enumerate(example.messages) if message["role"] == "assistant")
    return example.messages[:last]


def written(
    teacher: Loaded, examples: Sequence[Example], sampling: Sampling, context: Context
) -> list[Example]:
    """The examples with the teacher's own last reply in place of theirs, which are kept in the
    run's cache as they come; those that were cut off, or say nothing, are left out.

    Raises:
        InputError: all were.
    """
    sampler = JournalledSampler(
        LocalSampler(teacher.model, teacher.tokenizer),
        teacher.identity,
        context.cache / "teacher-replies.jsonl",
    )
    prompts = [prompt_of(one) for one in examples]
    requests = [
        Request(prompt, reply_seed(context.seed, one.id, 0), one.id)
        for prompt, one in zip(prompts, examples, strict=True)
    ]
    with context.progress.task("the teacher's replies", len(requests)) as bar:
        replies = sampler.complete(requests, sampling, bar.advance)
    done = [
        replace(one, messages=[*prompt, {"role": "assistant", "content": reply.text}],
                synthetic=True)
        for one, prompt, reply in zip(examples, prompts, replies, strict=True)
        if reply.finish == "stop" and reply.text.strip()
    ]  # fmt: skip
    if not done:
        found = f"none of the teacher's {len(examples)} replies came to an end"
        raise InputError(Problem("", None, "sampling.max_new_tokens", found, "room for a reply"))
    return done


class OwnReplies(DatasetSource):
    """Windows of records, of which a share has the student's own reply of the moment instead.

    Generalised knowledge distillation (Agarwal et al. 2024, arXiv 2306.13649, algorithm 1), record
    by record: each is drawn by itself with probability ``share`` every time it comes up. No
    gradient flows through the drawing. Of several processes each writes some of the replies.

    Args:
        student: as it is trained; writes at every step.
        segments: of the data.
        prompts: token ids of each segment's prompt; None where the student has nothing to reply to.
        sampling: how replies are drawn.
    """

    def __init__(
        self,
        student: Loaded,
        segments: Sequence[Segment],
        prompts: Sequence[Sequence[int] | None],
        sampling: Sampling,
        share: float,
        settings: TrainSettings,
        *,
        seed: int,
    ) -> None:
        super().__init__(segments, settings, seed=seed)
        self._student, self._segments, self._prompts = student, segments, prompts
        self._sampling, self._share, self._seed = sampling, share, seed
        self._own: list[int] = []

    def asks_model(self, step: int) -> bool:
        """At every step."""
        return True

    def window(self, step: int) -> list[Batch] | None:
        """As the base class, with the student's replies; they depend on the step, the seed and the
        weights, so that there is nothing to save of them."""
        if step >= self.steps:
            return None
        self._step = step
        chosen = self._windows[step]
        chances = np.random.default_rng([self._seed, step]).random(len(chosen))
        own = [
            (index, prompt)
            for index, chance in zip(chosen, chances, strict=True)
            if chance < self._share and (prompt := self._prompts[index]) is not None
        ]
        answered = ranks.shared_out(own, partial(self._written, step))
        self._own = [sum(one.mask) for one in answered]
        taken = {index: one for (index, _), one in zip(own, answered, strict=True)}
        rows = [taken.get(index, self._segments[index]) for index in chosen]
        groups = micro_batches(range(len(rows)), [len(one.tokens) for one in rows],
                               self._tokens_per_batch)  # fmt: skip
        return [pack([rows[place] for place in group]) for group in groups]

    def metrics(self) -> dict[str, float]:
        """As the base class, with ``own`` (replies of the student in the window) and their mean
        ``length``, 0 where there are none."""
        count = len(self._own)
        return super().metrics() | {"own": count, "length": sum(self._own) / max(count, 1)}

    def _written(self, step: int, own: Sequence[tuple[int, Sequence[int]]]) -> list[Segment]:
        """The segments of these places, with the student's replies to their prompts."""
        segments, prompts = [self._segments[index] for index, _ in own], [ids for _, ids in own]
        replies = generate(
            self._student.model,
            self._student.tokenizer,
            prompts,
            self._sampling,
            seeds=[reply_seed(self._seed, one.id, step) for one in segments],
        )
        return [
            replace(
                one,
                tokens=[*prompt, *reply.tokens],
                mask=[False] * len(prompt) + [True] * len(reply.tokens),
            )
            for one, prompt, reply in zip(segments, prompts, replies, strict=True)
        ]


def prompts_of(student: Loaded, examples: Sequence[Example]) -> dict[str, list[int]]:
    """Token ids of the examples' prompts, by id."""
    encoded = encode_prompts(student.tokenizer, [prompt_of(one) for one in examples])
    return {one.id: ids for one, ids in zip(examples, encoded, strict=True)}
