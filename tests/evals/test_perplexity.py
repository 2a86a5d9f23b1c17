from __future__ import annotations

import math

import pytest
import torch
from tests import tiny

from burnish.evals.perplexity import perplexity
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
    figure = perplexity(model, TOKENIZER, DOCUMENTS)
    assert figure.value == pytest.approx(expected, rel=1e-5)
    assert figure.low <= figure.value <= figure.high
    assert figure.n == 3
    assert perplexity(model, TOKENIZER, DOCUMENTS, 10).value == pytest.approx(expected, rel=1e-5)
    assert perplexity(model, TOKENIZER, DOCUMENTS) == figure


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary() -> None:
    model = tiny.model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    figure = perplexity(model, TOKENIZER, DOCUMENTS)
    assert figure.value == pytest.approx(len(TOKENIZER), rel=1e-5)
    assert figure.high - figure.low < 1e-3


def test_long_documents_are_cut_and_every_token_counted_once() -> None:
    model = tiny.model()
    text = " ".join(["the owl"] * 30)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    figure = perplexity(model, TOKENIZER, [Document(id="a", text=text)], length=16)
    assert figure.value == pytest.approx(len(TOKENIZER), rel=1e-5)
    assert (figure.low, figure.high, figure.n) == (0.0, math.inf, 1)


def test_training_mode_is_left_as_it_was_and_nothing_is_an_error() -> None:
    model = tiny.model().train()
    perplexity(model, TOKENIZER, DOCUMENTS)
    assert model.training
    with pytest.raises(ValueError, match="two tokens"):
        perplexity(model, TOKENIZER, [])
