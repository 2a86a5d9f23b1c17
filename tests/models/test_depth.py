"""A model with fewer layers is those layers, wherever it is loaded."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from tests import tiny

from burnish.config import InputError
from burnish.models.depth import chosen, keep_layers
from burnish.models.load import load_model, save_model
from burnish.sampling import Sampling, generate

TOKENS = torch.tensor([[1, 70, 80, 90, 12, 13, 14, 15]])


def llama() -> Any:
    return tiny.model(num_hidden_layers=5)


def gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    size = len(tiny.tokenizer())
    config = GPT2Config(vocab_size=size, n_embd=32, n_layer=5, n_head=2, n_positions=64)
    return GPT2LMHeadModel(config).eval()


def gemma() -> Any:
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=len(tiny.tokenizer()), hidden_size=32, intermediate_size=48, head_dim=8,
        num_hidden_layers=5, num_attention_heads=4, num_key_value_heads=2, sliding_window=6,
        layer_types=["full_attention", *["sliding_attention"] * 3, "full_attention"],
        max_position_embeddings=256, query_pre_attn_scalar=8, eos_token_id=2, pad_token_id=0,
        bos_token_id=1,
    )  # fmt: skip
    return Gemma3ForCausalLM(config).eval()


def layers_of(model: Any) -> Any:
    return model.transformer.h if hasattr(model, "transformer") else model.model.layers


def test_which_layers_are_kept() -> None:
    assert chosen(4, 2) == [0, 3]
    assert chosen(5, 3) == [0, 2, 4]
    assert chosen(30, 4) == [0, 10, 19, 29]
    assert chosen(3, 3) == [0, 1, 2]
    assert chosen(3, 1) == [0]


@pytest.mark.parametrize("make", [llama, gpt2, gemma])
@torch.no_grad()
def test_a_shallower_model_is_the_layers_kept_and_loads_as_such(make: Any, tmp_path: Path) -> None:
    model = make()
    whole = deepcopy(model)
    keep_layers(model, 3)
    # The others, made to do nothing: what is added to the residual stream is zero.
    for place in (1, 3):
        layer = layers_of(whole)[place]
        layer.forward = lambda hidden_states, *rest, **named: hidden_states
    expected = whole(input_ids=TOKENS, use_cache=False).logits
    found = model(input_ids=TOKENS, use_cache=False).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    save_model(model, tiny.tokenizer(), tmp_path / "model")
    again = load_model(tmp_path / "model").model
    assert len(layers_of(again)) == 3
    other = again(input_ids=TOKENS, use_cache=False).logits
    torch.testing.assert_close(other, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("make", [llama, gpt2, gemma])
def test_it_decodes_with_a_cache_of_its_own_layers(make: Any) -> None:
    model = keep_layers(make(), 2)
    ask, sampling = TOKENS[0].tolist(), Sampling(temperature=0, max_new_tokens=9)
    (reply,) = generate(model, tiny.tokenizer(), [ask], sampling, seeds=[0])
    tokens = list(ask)
    for token in reply.tokens:
        with torch.no_grad():
            scores = model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1]
        assert token == scores.argmax().item()
        tokens.append(token)


def test_more_layers_than_there_are() -> None:
    with pytest.raises(InputError, match="depth: 6, but the model has 5 layers"):
        keep_layers(llama(), 6)
