"""Is a file a GGUF file, and what does it say of itself? Read without its weights."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.store.errors import CorruptError

CONTROLS = (2, 3)
"""Types of tokens that are no text: the unknown one and control tokens."""
CELL = 2
"""Bytes of a key's or value's element: llama.cpp keeps them in float16."""


@dataclass(frozen=True)
class Facts:
    """``context``: tokens it was made for. ``cell``: bytes of a token's keys and values.

    ``size``: tokens of its vocabulary; ``controls``: those that are no text. ``begin``: ids that
    its tokenizer puts before any text, ``bos``: before a document. ``template``: of chats, empty
    where there is none; ``named``: the tokens that it may write by name.
    """

    context: int
    cell: int
    size: int
    controls: dict[str, int]
    begin: list[int]
    bos: list[int]
    template: str
    named: dict[str, str]


def check_file(path: Path) -> None:
    """Refuse a file that is no whole GGUF, before any runtime maps it.

    Raises:
        CorruptError: saying what is wrong with it.
    """
    inspect: Any = importlib.import_module("libgguf.inspect")
    try:
        found = inspect.validate_gguf(path)
    except (OSError, ValueError, OverflowError, MemoryError) as error:
        raise CorruptError(path, f"not a GGUF file: {error}") from error
    if found.errors:
        raise CorruptError(path, [issue.message for issue in found.errors[:3]])


def read_facts(path: Path) -> Facts:
    """Look at a file that need not be one of ours.

    Raises:
        CorruptError: it is no whole GGUF file, or says too little of itself.
    """
    check_file(path)
    inspect: Any = importlib.import_module("libgguf.inspect")
    said = {key: one.value for key, one in inspect.inspect_gguf(path).metadata.items()}
    try:
        return _facts(said)
    except (LookupError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CorruptError(path, f"no model that can reply: {error!r}") from error


def _facts(said: dict[str, Any]) -> Facts:
    of = f"{said['general.architecture']}."
    heads = said[of + "attention.head_count"]
    shared = said.get(of + "attention.head_count_kv", heads)
    layers = int(said[of + "block_count"])
    # Some architectures tell the heads layer by layer.
    count = sum(shared) if isinstance(shared, list) else layers * int(shared)
    most = max(heads) if isinstance(heads, list) else int(heads)
    usual = int(said[of + "embedding_length"]) // most
    width = sum(int(said.get(f"{of}attention.{name}_length", usual)) for name in ("key", "value"))
    tokens: list[str] = said["tokenizer.ggml.tokens"]
    types = said.get("tokenizer.ggml.token_type", [])
    template = said.get("tokenizer.chat_template", "")
    ids = {name: said.get(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos")}
    bos = [] if ids["bos"] is None else [int(ids["bos"])]
    begin = bos if said.get("tokenizer.ggml.add_bos_token", False) else []
    return Facts(
        context=int(said[of + "context_length"]),
        cell=max(1, CELL * count * width),
        size=len(tokens),
        controls={tokens[at]: at for at, kind in enumerate(types) if kind in CONTROLS},
        begin=begin,
        bos=begin or (bos if "bos_token" in template else []),
        template=template,
        named={f"{name}_token": tokens[at] for name, at in ids.items() if at is not None},
    )
