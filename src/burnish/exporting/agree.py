"""Does a GGUF file say the same as its source?"""

from __future__ import annotations

from pathlib import Path

from burnish.config import InputError, Problem
from burnish.exporting import gguf_words
from burnish.exporting.process import RuntimeProcess
from burnish.exporting.write import Source
from burnish.records import Message

SPOKEN: tuple[list[Message], ...] = (
    [{"role": "user", "content": "Hello 你好"}],
    [
        {"role": "user", "content": "one\ntwo"},
        {"role": "assistant", "content": "three."},
        {"role": "user", "content": "  four "},
    ],
)
"""Conversations whose text has to be the same."""


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
