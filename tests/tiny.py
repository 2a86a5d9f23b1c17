"""A tiny Llama and a tiny byte-level tokenizer made in code, for everybody's tests."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from burnish.models.fused import fuse

SPECIALS = ["<|pad|>", "<|bos|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' }}{{ message['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def tokenizer(
    template: str | None = TEMPLATE, extra: Sequence[str] = ()
) -> PreTrainedTokenizerFast:
    """Byte-level, 6 control tokens and 256 bytes, a few merges; ``<|end|>`` ends a turn.

    ``extra`` are further control tokens; they get the ids after all others.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("h", "e"), ("l", "l"), ("he", "ll"), ("Ġ", "t"), ("Ġt", "he"), ("a", "n")]
    words = [*SPECIALS, *alphabet, *(left + right for left, right in merges), *extra]
    core = Tokenizer(
        models.BPE(vocab={word: index for index, word in enumerate(words)}, merges=merges)
    )
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    core.decoder = decoders.ByteLevel()
    controls = [*SPECIALS, *extra]
    core.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in controls])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<|bos|>",
        eos_token="<|end|>",
        pad_token="<|pad|>",
        chat_template=template,
        clean_up_tokenization_spaces=False,
    )


def model(seed: int = 0, **changes: object) -> LlamaForCausalLM:
    """A random Llama: D=32, 2 layers, 4 heads on 2 key-value heads, 512 positions, eval mode;
    with fused layers, as a loaded one."""
    made = plain(seed, **changes)
    fuse(made)
    return made


def plain(seed: int = 0, **changes: object) -> LlamaForCausalLM:
    """``model`` as transformers makes it."""
    torch.manual_seed(seed)
    settings: dict[str, object] = {
        "vocab_size": len(tokenizer()),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "initializer_range": 0.2,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    return LlamaForCausalLM(LlamaConfig(**(settings | changes))).eval()
