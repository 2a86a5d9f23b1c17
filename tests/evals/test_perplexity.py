from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tests import tiny

from burnish.evals.perplexity import (
    DocumentLosses,
    document_losses,
    perplexity,
    perplexity_ratio,
)
from burnish.records import Document
from burnish.text.documents import document_segments

torch.set_num_threads(1)
TOKENIZER = tiny.tokenizer()
DOCUMENTS = [
    Document(id="same", text="hello the end"),
    Document(id="same", text="an owl, a fox and the sea"),
    Document(id="zh", text="春眠不觉晓"),
]


def by_hand(model: torch.nn.Module, documents: list[Document]) -> list[tuple[float, int]]:
    found = []
    for segment in document_segments(TOKENIZER, documents, 512):
        tokens = torch.tensor([segment.tokens])
        with torch.no_grad():
            logp = model(tokens).logits.log_softmax(-1)[0, :-1]
        each = logp.gather(1, tokens[0, 1:, None])
        found.append((-each.sum().item(), len(segment.tokens) - 1))
    return found


def test_perplexity_is_the_exponential_of_the_mean_token_loss() -> None:
    model = tiny.model()
    parts = by_hand(model, DOCUMENTS)
    expected = math.exp(sum(nats for nats, _ in parts) / sum(count for _, count in parts))
    figure = perplexity(document_losses(model, TOKENIZER, DOCUMENTS))
    assert figure.value == pytest.approx(expected, rel=1e-5)
    assert figure.low <= figure.value <= figure.high
    assert figure.n == 3
    small = document_losses(model, TOKENIZER, DOCUMENTS, tokens_per_batch=10)
    assert perplexity(small).value == pytest.approx(expected, rel=1e-5)
    assert perplexity(document_losses(model, TOKENIZER, DOCUMENTS)) == figure


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary() -> None:
    model = tiny.model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    figure = perplexity(document_losses(model, TOKENIZER, DOCUMENTS))
    assert figure.value == pytest.approx(len(TOKENIZER), rel=1e-5)
    assert figure.high - figure.low < 1e-3


def test_long_documents_are_cut_and_every_token_counted_once() -> None:
    model = tiny.model()
    text = " ".join(["the owl"] * 30)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    figure = perplexity(document_losses(model, TOKENIZER, [Document(id="a", text=text)], length=16))
    assert figure.value == pytest.approx(len(TOKENIZER), rel=1e-5)
    assert (figure.low, figure.high, figure.n) == (0.0, math.inf, 1)


def test_training_mode_is_left_as_it_was_and_nothing_is_an_error() -> None:
    model = tiny.model().train()
    document_losses(model, TOKENIZER, DOCUMENTS)
    assert model.training
    with pytest.raises(ValueError, match="two tokens"):
        document_losses(model, TOKENIZER, [])


def test_a_ratio_is_paired_by_document() -> None:
    before = DocumentLosses(np.array([10.0, 40.0, 90.0]), np.array([10.0, 20.0, 30.0]))
    after = DocumentLosses(before.nats + 0.5 * before.tokens, before.tokens)
    figure = perplexity_ratio(after, before)
    # every token costs half a nat more, whatever the document: no spread in the ratio
    assert figure.value == pytest.approx(math.exp(0.5))
    assert figure.high - figure.low < 1e-9
    # alone, the documents differ: 140 nats on 60 tokens
    assert perplexity(before).value == pytest.approx(math.exp(140 / 60))
    assert perplexity(before).high > perplexity(before).low + 0.1
    assert before.per_token == [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="different tokens"):
        perplexity_ratio(DocumentLosses(before.nats, before.tokens + 1), before)
