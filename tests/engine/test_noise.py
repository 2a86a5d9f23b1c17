from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.engine import fits
from torch import Tensor, nn

from burnish.config import InputError, Interrupted
from burnish.engine import DatasetSource, train
from burnish.engine.noise import noisy
from burnish.models.forward import hidden
from burnish.text.batches import Segment, pack

SHORT, LONG, WIDTH, ALPHA = 4, 64, 16, 5.0
BATCH = pack([Segment([7] * n, [True] * n, str(n)) for n in (SHORT, LONG)])


def added(model: Any, alpha: float = ALPHA) -> Tensor:
    """The noise in front of the first layer, ``[T, D]``, of one packed or padded forward."""
    seen: list[Tensor] = []

    def look(module: nn.Module, args: Any) -> None:
        seen.append(args[0].detach())

    hook = model.model.layers[0].register_forward_pre_hook(look)
    hidden(model, BATCH)
    with noisy(model, alpha):
        hidden(model, BATCH)
    hidden(model, BATCH)
    hook.remove()
    clean, noise, after = seen
    assert torch.equal(clean, after)
    difference = noise - clean
    if difference.shape[0] == 2:
        return torch.cat([difference[0, :SHORT], difference[1]])
    return difference[0]


@pytest.mark.parametrize("padded", [False, True])
def test_noise_is_uniform_and_as_large_as_its_segment_is_short(padded: bool) -> None:
    # alpha / sqrt(L D): 5 / sqrt(4 * 16) and 5 / sqrt(64 * 16).
    model = fits.model().train()
    if padded:
        model.config.attn_logit_softcapping = 1.0
    noise = added(model)
    for part, bound in ((noise[:SHORT], 0.625), (noise[SHORT:], 0.15625)):
        assert 0.9 * bound < part.abs().max().item() <= bound + 1e-6
        # The standard deviation of a uniform value is its bound over the root of 3.
        assert part.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.2)
        assert abs(part.mean().item()) < 0.2 * bound


def test_no_noise_in_evaluation_nor_without_gradients() -> None:
    assert added(fits.model().eval()).abs().max() == 0
    model = fits.model().train()
    with torch.no_grad():
        assert added(model).abs().max() == 0
    assert added(model, alpha=0.0).abs().max() == 0
    assert added(model).abs().max() > 0


def test_fit_with_noise_resumes_bit_for_bit(tmp_path: Path) -> None:
    #
    changes = {"extras": {"neftune": ALPHA}}
    whole, plain = fits.model(), fits.model()
    fits.fit(whole, changes)
    fits.fit(plain)
    assert not fits.same(fits.weights(whole), fits.weights(plain))
    with pytest.raises(Interrupted):
        fits.fit(fits.model(), changes, on_step=fits.interrupt_at(7), scratch=tmp_path)
    again = fits.model(seed=9)
    fits.fit(again, changes, scratch=tmp_path)
    assert fits.same(fits.weights(whole), fits.weights(again))


def test_where_noise_cannot_be() -> None:
    settings = fits.settings(extras={"neftune": ALPHA})
    source = DatasetSource(fits.segments(3), settings, seed=0)
    with pytest.raises(InputError, match="neftune needs a transformers model"):
        train(nn.Linear(2, 2), source, fits.nll, settings, seed=0)
    source.dropout = False
    with pytest.raises(InputError, match="neftune does not go with this stage"):
        train(fits.model(), source, fits.nll, settings, seed=0)
