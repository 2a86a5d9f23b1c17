"""More examples from those there are."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace

from burnish.records import Example, Message, content_id
from burnish.rewards.matching import CJK

_PIECE = re.compile(rf"\s*(?:[{CJK}]|[^\s{CJK}]+)")


def word_dropout(examples: Sequence[Example], share: float, seed: int) -> list[Example]:
    """A copy of each example whose user turns have lost about ``share`` of their words.

    A small model that has seen a few hundred prompts learns them by single words; without some of
    them it has to use the others (Iyyer et al. 2015, "Deep Unordered Composition Rivals Syntactic
    Methods", section 3.1). Only for tasks whose answer does not hang on one word. A turn never
    loses all of its words; Chinese counts by the character. Depends on ids and seed only.
    """
    copies = []
    for example in examples:
        draw = random.Random(f"{seed}:{example.id}")
        copies.append(
            replace(
                example,
                id=content_id("word-dropout", example.id, seed),
                messages=[_thinned(turn, share, draw) for turn in example.messages],
                parents=(*example.parents, example.id),
                synthetic=True,
            )
        )
    return copies


def _thinned(turn: Message, share: float, draw: random.Random) -> Message:
    if turn["role"] != "user":
        return turn
    words = _PIECE.findall(turn["content"])
    kept = [word for word in words if draw.random() >= share]
    return {"role": "user", "content": "".join(kept or words).strip()}
