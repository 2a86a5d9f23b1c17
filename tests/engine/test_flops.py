from __future__ import annotations

import pytest
from tests.engine import fits
from torch import nn

from burnish.engine.flops import cost
from burnish.text.batches import Segment, pack

# Llama, D 16, 4 heads of 4 on 2 key-value heads, MLP 32, 2 layers, vocabulary 64.
LAYER = 2 * 16 * 16 + 2 * 16 * 8 + 3 * 16 * 32 + 2 * 16
BODY = 2 * LAYER + 16
HEAD = 16 * 64
# Segments of 3 and 5 tokens, of which all but the first are targets.
WINDOW = [pack([Segment([7] * n, [True] * n, str(n))]) for n in (3, 5)]
ATTENTION = 6 * 2 * 16 * (9 + 25)


def test_a_shared_prompt_is_computed_once() -> None:
    # A prompt of 10 tokens and replies of 3 and 5, which see it and themselves.
    units = [[Segment([7] * (10 + n), [False] * 10 + [True] * n, str(n)) for n in (3, 5)]]
    found = cost(fits.model())
    assert found is not None
    squares = 10 * 10 + 3 * (3 + 2 * 10) + 5 * (5 + 2 * 10)
    attention = 6 * 2 * 16 * squares
    assert found.of([pack(units)], 8) == 6 * BODY * 18 + 6 * HEAD * 8 + attention


@pytest.mark.parametrize("tied", [True, False])
def test_by_hand(tied: bool) -> None:
    found = cost(fits.model(tie_word_embeddings=tied))
    assert found is not None
    assert found.of(WINDOW, 6) == 6 * BODY * 8 + 6 * HEAD * 6 + ATTENTION


def test_frozen_weights_have_no_gradient_to_compute() -> None:
    model = fits.model()
    model.requires_grad_(False)
    model.model.norm.requires_grad_(True)
    found = cost(model)
    assert found is not None
    assert found.of(WINDOW, 6) == 4 * BODY * 8 + 2 * 16 * 8 + 4 * HEAD * 6 + ATTENTION


def test_only_language_models() -> None:
    assert cost(nn.Linear(2, 2)) is None


def test_each_row_has_its_windows_flops() -> None:
    row = fits.fit(fits.model(), {"max_steps": 1}).history[0]
    body = 6 * BODY * row["window_tokens"] + 6 * HEAD * row["targets"]
    assert 0 < row["flops"] - body < 6 * 2 * 16 * row["window_tokens"] ** 2


def test_a_forward_pass_is_a_third() -> None:
    whole, forward = cost(fits.model()), cost(fits.model(), forward=True)
    assert whole is not None
    assert forward is not None
    assert 3 * forward.of(WINDOW, 6) == whole.of(WINDOW, 6)
    assert forward.of_lengths([3.0, 5.0], 6) == forward.of(WINDOW, 6)
