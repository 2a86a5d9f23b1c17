"""Does a GGUF file say the same as its source, and is it one at all?"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from burnish.config import InputError, Problem
from burnish.exporting import gguf_words
from burnish.exporting.process import RuntimeProcess
from burnish.exporting.write import Source
from burnish.records import Message
from burnish.store.errors import CorruptError

SPOKEN: tuple[list[Message], ...] = (
    [{"role": "user", "content": "Hello 你好"}],
    [
        {"role": "user", "content": "one\ntwo"},
        {"role": "assistant", "content": "three."},
        {"role": "user", "content": "  four "},
    ],
)
"""Conversations whose text has to be the same."""


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


def check_words(source: Source, runtime: RuntimeProcess, place: Path) -> None:
    """Hold the file's own tokenizer and chat template against the source's, in llama.cpp.

    Raises:
        InputError: a text has other ids, or a conversation another text.
    """
    wrong = [
        Problem(str(place), None, "tokenizer", f"other ids for {text!r}")
        for text in gguf_words.probes(source.words)
        if runtime.tokenize(text) != source.encode(text)
    ]
    if source.words.template:
        wrong += [
            Problem(str(place), None, "chat template", f"llama.cpp makes {told!r}", f"{wanted!r}")
            for spoken in SPOKEN
            if (told := runtime.render(spoken)) != (wanted := source.render(spoken, True))
        ]
    if wrong:
        raise InputError(wrong)
