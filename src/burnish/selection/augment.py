"""More examples from those there are."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from burnish.records import Example, Message, Prompt, content_id
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


_FORMATS: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"rule": "words", "n": 5}, "Answer in exactly five words.", "用恰好五个字回答。"),
    ({"rule": "max_words", "n": 20}, "Answer in at most 20 words.", "回答不超过二十个字。"),
    (
        {"rule": "starts_with", "text": "So"},
        'Begin your answer with the word "So".',
        "",
    ),
    ({"rule": "starts_with", "text": "总之"}, "", "回答必须以“总之”开头。"),
    (
        {"rule": "ends_with", "text": "done"},
        'End your answer with the word "done" and nothing after it.',
        "",
    ),
    ({"rule": "ends_with", "text": "完毕"}, "", "回答必须以“完毕”结尾，后面不加任何符号。"),
    ({"rule": "uppercase"}, "Write your whole answer in capital letters.", ""),
    ({"rule": "lowercase"}, "Write your whole answer in small letters.", ""),
)


def format_variants(prompts: Sequence[Prompt], count: int, seed: int) -> list[Prompt]:
    """``count`` copies of prompts with a demand on the form of the answer that rules can verify
    (Zhou et al. 2023, IFEval, arXiv 2311.07911, section 2), or all there are where there are fewer.

    Each prompt is used once before any is used twice, never twice with the same demand. Prompts
    whose answer is verified otherwise are left out, for a prompt has one verifier.
    """
    draw = random.Random(seed)
    free = [one for one in prompts if (one.verify or {"kind": "comply"})["kind"] == "comply"]
    draw.shuffle(free)
    demands = {
        one.id: [(rule, en if one.lang == "en" else zh) for rule, en, zh in _FORMATS]
        for one in free
    }
    for id, own in demands.items():
        demands[id] = [item for item in own if item[1]]
        draw.shuffle(demands[id])
    made: list[Prompt] = []
    for turn in range(len(_FORMATS)):
        made += [
            _demanding(one, *demands[one.id][turn]) for one in free if turn < len(demands[one.id])
        ]
    return made[:count]


def _demanding(origin: Prompt, rule: dict[str, Any], demand: str) -> Prompt:
    *before, last = origin.messages
    gap = "" if origin.lang == "zh" else " "
    text = f"{last['content']}{gap}{demand}"
    return replace(
        origin,
        id=content_id("format", origin.id, rule),
        source=f"format:{origin.source}",
        synthetic=True,
        tier="bulk",
        parents=(*origin.parents, origin.id),
        messages=[*before, {"role": "user", "content": text}],
        group=origin.group or origin.id,
        verify={"kind": "format", "rules": [rule]},
    )
