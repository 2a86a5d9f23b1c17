"""A byte-level BPE tokenizer as GGUF metadata.

llama.cpp cuts text by one of a few built-in patterns, named in ``tokenizer.ggml.pre``. A
tokenizer that was trained with another pattern still gives equal ids under one of them where its
merges never cross a place that the two cut differently. Which one that is cannot be read off the
file: ``probes`` are texts to find out with, in llama.cpp itself.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from gguf import GGUFWriter, TokenType

from burnish.config import InputError, Problem

PATTERNS = (
    "gpt-2", "llama-bpe", "qwen2", "smollm", "deepseek-llm", "gpt-4o", "tekken", "starcoder",
    "falcon", "default",
)  # fmt: skip
"""llama.cpp's patterns for byte-level BPE, in the order in which they are tried."""

NAMED = ("eos", "bos", "unk", "pad")
_GENERATION = re.compile(r"\{%(-?)\s*(end)?generation\s*(-?)%\}")


@dataclass(frozen=True)
class Words:
    """A vocabulary: what each id is, of which type (``gguf.TokenType``), and the merges."""

    tokens: list[str]
    types: list[int]
    merges: list[str]
    named: dict[str, int]
    template: str | None


def words_of(tokenizer: Any, size: int, place: str) -> Words:
    """The vocabulary of a tokenizer, padded to the ``size`` rows of the model's embedding.

    Raises:
        InputError: it is not a byte-level BPE, or has more tokens than the model rows.
    """
    core = json.loads(tokenizer.backend_tokenizer.to_str())
    model = core["model"]
    if (
        model["type"] != "BPE"
        or model.get("byte_fallback")
        or "ByteLevel" not in json.dumps([core["pre_tokenizer"], core["decoder"]])
    ):
        found = f"its tokenizer is a {model['type']} that burnish cannot write as GGUF"
        raise InputError(Problem(place, None, "", found, "a byte-level BPE"))
    if len(tokenizer) > size:
        found = f"its tokenizer has {len(tokenizer)} tokens, its embedding {size} rows"
        raise InputError(Problem(place, None, "", found))
    tokens = [f"[PAD{index}]" for index in range(size)]
    types = [int(TokenType.UNUSED)] * size
    for token, index in model["vocab"].items():
        tokens[index], types[index] = token, int(TokenType.NORMAL)
    for added in core["added_tokens"]:
        kind = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
        tokens[added["id"]], types[added["id"]] = added["content"], int(kind)
    merges = [one if isinstance(one, str) else " ".join(one) for one in model["merges"]]
    named = {name: getattr(tokenizer, f"{name}_token_id", None) for name in NAMED}
    known = {name: index for name, index in named.items() if index is not None}
    return Words(tokens, types, merges, known, plain_template(tokenizer.chat_template))


def plain_template(template: Any) -> str | None:
    """A chat template without transformers' ``generation`` marks, which say what to train on.

    They become an ``if true``, so that the white space around them is trimmed as before.
    """
    if isinstance(template, dict):
        template = template.get("default")
    if not template:
        return None
    return _GENERATION.sub(
        lambda mark: f"{{%{mark[1]} {'endif' if mark[2] else 'if true'} {mark[3]}%}}", template
    )


def add_words(writer: GGUFWriter, words: Words, pattern: str) -> None:
    """Write the vocabulary into a GGUF file's metadata."""
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pattern)
    writer.add_token_list(words.tokens)
    writer.add_token_types(words.types)
    writer.add_token_merges(words.merges)
    adders = {
        "eos": writer.add_eos_token_id, "bos": writer.add_bos_token_id,
        "unk": writer.add_unk_token_id, "pad": writer.add_pad_token_id,
    }  # fmt: skip
    for name, index in words.named.items():
        adders[name](index)
    writer.add_add_bos_token(False)  # the chat template writes it
    writer.add_add_space_prefix(False)
    if words.template:
        writer.add_chat_template(words.template)


def probes(words: Words) -> list[str]:
    """Texts that tokenizers cut differently: cases, digits, spaces, scripts, control tokens."""
    fixed = [
        "Hello world, it's Paris's 2nd DON'T-go test; iPhone camelCase XMLHttpRequest.",
        "a  b   c\n\n  d\t\te \r\n f\u00a0g  1234567 3.14159 1,000,000 $5.00 50% x2y3",
        "  Paris  Berlin   2024    7\n\n\nNew line\n  indented  ",
        "中文分词测试，全角标点。３４ 日本語のテキスト 한국어 문장 русский",
        "текст Ελληνικά العربية हिन्दी ไทย",
        "naïve café ÀÉ Straße ﬁ ǅ 👩‍👩‍👧 🙂!!! ??? -- ... #hash @at /path/to/file_name.py",
        "def f(x):\n    return {'a': [1, 2], \"b\": x**2}  # comment\n",
        "I'll you're we've he'd I'm THEY'LL 'twas ''quoted'' `code`",
    ]
    controls = [
        word for word, kind in zip(words.tokens, words.types, strict=True)
        if kind == TokenType.CONTROL
    ][:20]  # fmt: skip
    return [*fixed, *(f"before {word} after{word}" for word in controls)]
