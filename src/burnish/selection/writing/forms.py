"""The texts that a writer model is asked with, in English and Chinese: ``forms/LANG/NAME.txt``.

Whatever is quoted in them stands on a line of its own as JSON, so that no text can end its block.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from burnish.records import Language, Message
from burnish.rewards.critic import quoted

FOLDER = Path(__file__).parent / "forms"


def fill(
    name: str, lang: Language, data: Mapping[str, Sequence[str]], keys: Sequence[str]
) -> list[Message]:
    """The conversation that asks a writer for a JSON object with these keys.

    Args:
        name: of the form, such as ``evolve_deepen``.
        lang: the language the form is in.
        data: texts by the name that the form calls them; each text becomes one line.
    """
    lines = [f"{label} = {quoted(text)}" for label, texts in data.items() for text in texts]
    shape = json.dumps(dict.fromkeys(keys, "..."))
    text = _text("frame", lang).format(task=_text(name, lang), data="\n".join(lines), shape=shape)
    return [{"role": "user", "content": text}]


@cache
def _text(name: str, lang: Language) -> str:
    return (FOLDER / lang / f"{name}.txt").read_text(encoding="utf-8").strip()
