"""Perplexity of a language model on documents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from burnish.evals.resampling import Array, resampled_sums, widening
from burnish.models.divided import compute
from burnish.models.forward import segment_sums, token_logprobs
from burnish.records import Document, Figure
from burnish.sampling.cache import context_length
from burnish.text.batches import batches
from burnish.text.documents import document_segments

DRAWS = 1000


@dataclass(frozen=True)
class DocumentLosses:
    """Each document's summed negative log-likelihood ``nats [n]`` and its ``tokens [n]``."""

    nats: Array
    tokens: Array

    @property
    def per_token(self) -> list[float]:
        """Nats a token of each document; lower is better."""
        return (self.nats / self.tokens).tolist()  # type: ignore[no-any-return]


def document_losses(
    model: Any,
    tokenizer: Any,
    documents: Sequence[Document],
    tokens_per_batch: int = 4096,
    *,
    length: int = 512,
) -> DocumentLosses:
    """Losses of the documents that have at least two tokens, in order.

    Every token is predicted but each document's first; the mark that ends a document counts.
    Documents are cut into pieces of at most ``length`` tokens (or the model's context), and no
    piece sees another.

    Args:
        tokens_per_batch: tokens of one packed forward pass.

    Raises:
        ValueError: no document has two tokens.
    """
    numbered = [replace(document, id=str(index)) for index, document in enumerate(documents)]
    longest = min(length, context_length(model))
    segments = list(document_segments(tokenizer, numbered, longest))
    if not segments:
        raise ValueError("perplexity needs a document of at least two tokens")
    nats, counts = np.zeros(len(documents)), np.zeros(len(documents))
    owners = [int(segment.id.split("#")[0]) for segment in segments]
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for chosen, batch in batches(segments, tokens_per_batch, device):
                found = compute(model, token_logprobs, batch).logprobs
                sums = segment_sums(-found.double(), batch)
                for index, total in zip(chosen, sums.tolist(), strict=True):
                    nats[owners[index]] += total
                    counts[owners[index]] += sum(segments[index].mask)
    finally:
        model.train(was_training)
    used = counts > 0
    return DocumentLosses(nats[used], counts[used])


def perplexity(losses: DocumentLosses, seed: int = 0) -> Figure:
    """``exp`` of the mean loss a token, with a bootstrap interval over documents.

    ``n`` is the number of documents. The interval is infinite for a single document.
    """
    return _exponentiated(losses.nats, losses.tokens, seed)


def perplexity_ratio(after: DocumentLosses, before: DocumentLosses, seed: int = 0) -> Figure:
    """Perplexity over another model's on the same documents, paired: above 1 is worse.

    Raises:
        ValueError: the losses are not of the same documents and tokens.
    """
    if not np.array_equal(after.tokens, before.tokens):
        raise ValueError("perplexities of different tokens cannot be compared")
    return _exponentiated(after.nats - before.nats, after.tokens, seed)


def _exponentiated(nats: Array, counts: Array, seed: int) -> Figure:
    """The token-weighted mean of documents' numbers, exponentiated, with its interval."""
    mean = float(nats.sum() / counts.sum())
    if len(nats) < 2:
        return Figure(math.exp(mean), 0.0, math.inf, len(nats))
    total, count = resampled_sums([nats, counts], DRAWS, seed)
    drawn = mean + (total / count - mean) * widening(len(nats), 0.95)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Figure(math.exp(mean), math.exp(low), math.exp(high), len(nats))
