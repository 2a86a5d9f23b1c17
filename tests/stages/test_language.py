"""The language loss with an anchor: text is learnt, general text is held to the anchor."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests import tiny

from burnish.config import InputError
from burnish.models.forward import token_divergences, token_logprobs
from burnish.models.load import Loaded, save_model
from burnish.stages import language
from burnish.stages.base import Inputs
from burnish.text.batches import Batch, Segment, pack

TOLD = Segment([1, 70, 71, 72], [False, True, True, True], "told", {}, {"weight": 2.0})
KEPT = Segment([1, 80, 81], [False, True, True], "kept", {}, {"weight": 0.5})


def batch(*kinds: float) -> Batch:
    """TOLD and KEPT in turn, marked general where the kind is 1."""
    rows = [TOLD, KEPT]
    marked = [
        Segment(r.tokens, r.mask, r.id, {}, {**r.per_segment, "general": kind})
        for r, kind in zip(rows, kinds, strict=True)
    ]
    return pack(marked)


def test_divergences_are_those_of_the_two_models() -> None:
    model, anchor = tiny.model(seed=0), tiny.model(seed=1)
    packed = batch(0.0, 1.0)
    found = token_divergences(model, anchor, packed)
    expected = []
    for row in (TOLD, KEPT):
        tokens = torch.tensor([list(row.tokens)])
        p = model(input_ids=tokens).logits[0, :-1].log_softmax(-1)
        q = anchor(input_ids=tokens).logits[0, :-1].log_softmax(-1)
        expected.append((q.exp() * (q - p)).sum(-1))
    torch.testing.assert_close(found, torch.cat(expected), atol=1e-5, rtol=1e-5)


def test_only_general_text_is_held_to_the_anchor() -> None:
    model, anchor = tiny.model(seed=0), tiny.model(seed=1)
    loss = language.language_loss(anchor)
    packed = batch(0.0, 1.0)
    logprobs = token_logprobs(model, packed).logprobs
    divergences = token_divergences(model, anchor, packed)
    expected = -2.0 * logprobs[:3].sum() + 0.5 * divergences[3:].sum()
    found = loss(model, packed)
    torch.testing.assert_close(found.total, expected, atol=1e-4, rtol=1e-5)
    assert found.count.item() == 3 * 2.0 + 2 * 0.5
    assert found.metrics.keys() == {"nll", "anchor_kl"}
    weights = list(model.parameters())
    slopes = (torch.autograd.grad(total, weights) for total in (found.total, expected))
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kinds", [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_with_an_anchor_every_batch_passes_through_the_model_once(kinds: tuple[float, ...]) -> None:
    # C-07: processes that share the model and pass it unequally often wait for ever.
    model, passes = tiny.model(seed=0), []
    model.base_model.register_forward_hook(lambda *_: passes.append(1))
    found = language.language_loss(tiny.model(seed=1))(model, batch(*kinds))
    assert passes == [1]
    counts = {name: over.item() for name, (_, over) in found.metrics.items()}
    tokens = [3, 2]
    kept = sum(n for n, kind in zip(tokens, kinds, strict=True) if kind)
    assert counts == {"nll": 5 - kept, "anchor_kl": kept}


def test_without_an_anchor_or_on_one_kind_of_text() -> None:
    model = tiny.model(seed=0)
    plain = language.language_loss(None)(model, batch(0.0, 1.0))
    assert plain.metrics.keys() == {"nll"}
    loss = language.language_loss(tiny.model(seed=1))
    assert loss(model, batch(0.0, 0.0)).total == plain.total
    assert [part.item() for part in loss(model, batch(1.0, 1.0)).metrics["nll"]] == [0, 0]


def test_smoothed_text_has_torchs_loss_and_gradient_and_an_anchor_stays_as_it_is() -> None:
    model, anchor = tiny.model(seed=0), tiny.model(seed=1)
    row = torch.tensor([list(TOLD.tokens)])
    rows = model(input_ids=row, use_cache=False).logits[0, :-1]
    expected = 2.0 * torch.nn.functional.cross_entropy(
        rows, row[0, 1:], label_smoothing=0.2, reduction="sum"
    )
    weights = list(model.parameters())
    wanted = torch.autograd.grad(expected, weights)
    told = batch(0.0, 1.0).only(torch.tensor([True, False]))
    found = language.language_loss(None, 0.2)(model, told)
    torch.testing.assert_close(found.total, expected, atol=1e-4, rtol=1e-5)
    for one, other in zip(torch.autograd.grad(found.total, weights), wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    plain = language.language_loss(None)(model, told)
    assert abs(plain.total.item() - found.total.item()) > 0.1
    kept = batch(1.0, 1.0)
    smooth, sharp = (language.language_loss(anchor, share)(model, kept) for share in (0.2, 0.0))
    assert smooth.total.item() == sharp.total.item()


def test_a_model_held_to_itself_has_nothing_to_learn() -> None:
    model = tiny.model(seed=0)
    found = language.language_loss(tiny.model(seed=0))(model, batch(1.0, 1.0))
    found.total.backward()
    assert found.total.item() == pytest.approx(0.0, abs=1e-5)
    slopes = [p.grad.abs().max().item() for p in model.parameters() if p.grad is not None]
    assert max(slopes) < 1e-5


def test_an_anchor_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    save_model(tiny.model(), tiny.tokenizer(), tmp_path / "anchor")
    inputs = Inputs({"anchor": [str(tmp_path / "anchor")]})
    more = tiny.tokenizer(extra=["<|more|>"])
    with pytest.raises(InputError, match="anchor"):
        language.load_anchor(inputs, "cpu", Loaded(tiny.model(), more, "", None))
    same = language.load_anchor(inputs, "cpu", Loaded(tiny.model(), tiny.tokenizer(), "", None))
    assert same is not None
    assert not any(weight.requires_grad for weight in same.parameters())
