"""An exported model asked by its real runtime: replies, log-probabilities, speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from burnish.evals.choices import Option, weighed
from burnish.evals.fidelity import divergence
from burnish.evals.perplexity import DocumentLosses
from burnish.evals.statistics import clustered_bootstrap
from burnish.exporting.process import RuntimeProcess
from burnish.models.load import Loaded
from burnish.records import Document, Figure, Prompt
from burnish.sampling import Completion, Request, Sampling
from burnish.sampling.sampler import Progress
from burnish.text.batches import Segment, Unit
from burnish.text.documents import document_segments
from burnish.text.templates import encode_prompts, end_tokens

PIECE = 128
"""Tokens of a document that are scored: of many documents some say more than all of a few."""


@dataclass(frozen=True)
class RuntimeSampler:
    """A ``Sampler`` whose replies a runtime makes, greedily; ids go in, so that no other
    tokenizer has a say."""

    runtime: RuntimeProcess
    tokenizer: Any
    context: int

    def complete(
        self, requests: Sequence[Request], sampling: Sampling, progress: Progress | None = None
    ) -> list[Completion]:
        """One reply after the other; log-probabilities are not told."""
        ends = end_tokens(self.tokenizer)
        prompts = encode_prompts(self.tokenizer, [request.messages for request in requests])
        replies = []
        for prompt in prompts:
            limit = min(sampling.max_new_tokens, self.context - len(prompt))
            tokens = self.runtime.generate(prompt, limit, sorted(ends))
            text = self.tokenizer.decode(tokens, skip_special_tokens=True)
            finish = "stop" if tokens and tokens[-1] in ends else "length"
            replies.append(Completion(tokens, [], text, finish))  # type: ignore[arg-type]
            if progress is not None:
                progress(1)
        return replies

    def weigh(self, items: Sequence[Prompt]) -> list[list[Option]]:
        """The options of multiple-choice items, by the runtime's log-probabilities."""
        return weighed(self.tokenizer, items, self.context, self._sums)

    def _sums(self, units: Sequence[Unit]) -> list[tuple[float, int]]:
        found = []
        for unit in units:
            for one in [unit] if isinstance(unit, Segment) else unit:
                first = one.mask.index(True)
                told = self.runtime.score(one.tokens, first).logprobs
                targets = [value for value, target in zip(told, one.mask[first:], strict=True)
                           if target]  # fmt: skip
                found.append((sum(targets), len(targets)))
        return found


@dataclass(frozen=True)
class Text:
    """Held-out text, a segment of each document, and the source model that is asked of it too."""

    segments: list[Segment]
    loaded: Loaded

    @torch.no_grad()
    def scores(self, segment: Segment) -> np.ndarray[Any, Any]:
        """The source's log-probabilities ``[T - 1, V]``; made anew each time, since those of a
        large vocabulary take more room than the model."""
        ids = torch.tensor([segment.tokens[:-1]], device=self.loaded.model.device)
        logits = self.loaded.model(ids).logits[0].float()
        found: np.ndarray[Any, Any] = logits.log_softmax(1).cpu().numpy()
        return found

    @cached_property
    def losses(self) -> DocumentLosses:
        """The source's losses."""
        return summed(
            [
                self.scores(one)[np.arange(len(one.tokens) - 1), one.tokens[1:]].tolist()
                for one in self.segments
            ]
        )


def read(loaded: Loaded, documents: Sequence[Document], context: int, tokens: int) -> Text:
    """The beginnings of the first documents, ``tokens`` tokens in all or a few more."""
    numbered = [Document(id=str(at), text=one.text) for at, one in enumerate(documents)]
    segments: list[Segment] = []
    used = 0
    for one in document_segments(loaded.tokenizer, numbered, min(PIECE, context)):
        if "#" in one.id:  # not a beginning
            continue
        if used >= tokens:
            break
        used += len(one.tokens)
        segments.append(one)
    return Text(segments, loaded)


def summed(logprobs: Sequence[Sequence[float]]) -> DocumentLosses:
    """Losses of documents, from the log-probabilities of each one's tokens."""
    nats = np.array([-sum(values) for values in logprobs])
    return DocumentLosses(nats, np.array([float(len(values)) for values in logprobs]))


def listen(runtime: RuntimeProcess, text: Text, advance: Progress) -> tuple[DocumentLosses, Figure]:
    """What a runtime says of the text: its losses, and its mean divergence from the source (nats),
    with an interval over documents."""
    logprobs, apart, owners = [], [], []
    for segment in text.segments:
        told = runtime.score(segment.tokens)
        logprobs.append(told.logprobs)
        apart += [
            divergence(scores.astype(np.float64), ids, tops)
            for scores, ids, tops in zip(text.scores(segment), told.ids, told.tops, strict=True)
        ]
        owners += [segment.id] * len(told.logprobs)
        advance(1)
    return summed(logprobs), clustered_bootstrap(apart, owners, draws=1000)


def speeds(
    runtime: RuntimeProcess, tokens: int, prompt: int, new: int, repeats: int
) -> dict[str, list[float]]:
    """Tokens a second of reading a prompt and of decoding one stream, repeat by repeat, after one
    round that does not count."""
    ids = (np.random.default_rng(0).integers(tokens, size=prompt)).tolist()
    rounds = [runtime.speed(ids, new) for _ in range(repeats + 1)][1:]
    names = ("prefill_tokens_per_second", "decode_tokens_per_second")
    return {
        name: list(values) for name, values in zip(names, zip(*rounds, strict=True), strict=True)
    }
