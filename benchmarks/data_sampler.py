"""A template sampler: instructions with replies that follow from a seed and a number.

It stands in for a model that generates. Topics are those of the quickstart, slots are filled with
words of its general text, so that no two records are alike by chance. One record in ten is a copy
of another one with words replaced, of a Jaccard similarity known beforehand: a word inside a
text is in five of its word 5-grams, so with k of them replaced, five or more apart, of N n-grams
N - 5k are shared, and N + 5k are there in all.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from burnish.records import Document, Language, Rollout
from burnish.selection import instructions
from burnish.store import tables

ASSETS = Path(__file__).parents[1] / "src/burnish/assets/quickstart"
WORDS = 94
GRAMS = WORDS - 4
COPY_EVERY = 10
REPLACED = (0, 1, 2, 3, 4)
"""How many words of a copy are replaced, in turn; 0: only its case and punctuation differ."""
_TEMPLATES: dict[Language, str] = {
    "en": "Write a {tone} note about {topic} for {reader}. Use {list} and stay under {n} words.",
    "zh": "写一篇关于{topic}的短文,给{reader}看,语气{tone},用上{list},不超过{n}字。",
}
_TONES = {"en": ("warm", "plain", "playful", "formal"), "zh": ("亲切", "平实", "活泼", "正式")}
_READERS = {"en": ("a child", "a friend", "a class", "a guest"),
            "zh": ("孩子", "朋友", "学生", "客人")}  # fmt: skip


def similarity(replaced: int) -> float:
    """The Jaccard similarity of a copy with this many words replaced."""
    return (GRAMS - 5 * replaced) / (GRAMS + 5 * replaced)


@dataclass(frozen=True)
class Sampler:
    """A flow source of ``count`` rollouts, a multiple of ten, in parts of ``size``."""

    count: int
    seed: int = 0
    size: int = 10_000

    @property
    def fingerprint(self) -> str:
        """Its settings: everything follows from them."""
        return f"template sampler 1, {self.count} records, seed {self.seed}, {self.size} a part"

    def __len__(self) -> int:
        return -(-self.count // self.size)

    def read(self, index: int) -> Sequence[Rollout]:
        """Make the records of a part."""
        first = index * self.size
        return [self.record(n) for n in range(first, min(first + self.size, self.count))]

    def record(self, number: int) -> Rollout:
        """One record; its id is its number, and a copy's parent is what it is a copy of."""
        of = self.original(number)
        lang, topic, prompt, reply, limit = _written(self.seed, number if of is None else of)
        if of is not None:
            reply = _changed(reply, self.replaced(number), random.Random(f"{self.seed} {number}"))
        joined = "" if lang == "zh" else " "
        completion = joined.join(reply).capitalize() + ("!" if of is not None else ".")
        return Rollout(
            id=str(number),
            source="sampler",
            lang=lang,
            synthetic=True,
            parents=() if of is None else (str(of),),
            prompt_id=f"p{number}",
            prompt=[{"role": "user", "content": prompt}],
            completion=completion,
            tokens=[],
            logprobs=[],
            finish="stop" if limit % 7 else "length",
            temperature=1.0,
            top_p=1.0,
            seed=number,
            scores={},
            topic=topic,
            task=str(limit),
        )

    def original(self, number: int) -> int | None:
        """What a record is a copy of, one that has no other copy; None of most records."""
        if number % COPY_EVERY != COPY_EVERY - 1:
            return None
        copy = number // COPY_EVERY
        return (self.count // COPY_EVERY - 1 - copy) * COPY_EVERY + copy % (COPY_EVERY - 1)

    def replaced(self, number: int) -> int:
        """How many words of a copy are replaced."""
        return REPLACED[(number // COPY_EVERY) % len(REPLACED)]


def _written(seed: int, number: int) -> tuple[Language, str, str, list[str], int]:
    draw = random.Random(f"{seed} text {number}")
    topic, lang, phrase = draw.choice(_topics())
    limit = draw.randrange(40, 120)
    some = draw.choices(_vocabulary(lang), k=6)
    prompt = _TEMPLATES[lang].format(
        tone=draw.choice(_TONES[lang]), topic=phrase, reader=draw.choice(_READERS[lang]),
        list=("、" if lang == "zh" else ", ").join(some), n=limit,
    )  # fmt: skip
    said = len(re.findall(r"[一-鿿]|[a-zA-Z]+|\d+", prompt))
    return lang, topic, prompt, draw.choices(_vocabulary(lang), k=WORDS - said), limit


def _changed(reply: list[str], count: int, draw: random.Random) -> list[str]:
    """``count`` words replaced, at least five apart and from both ends."""
    changed = list(reply)
    for place in range(count):
        changed[5 + 9 * place + draw.randrange(4)] = f"x{draw.randrange(10**9)}"
    return changed


@cache
def _topics() -> list[tuple[str, Language, str]]:
    source = instructions.load(ASSETS / "topics.yaml")
    langs: tuple[Language, ...] = ("en", "zh")
    return [(t.id, lang, phrase) for t in source.topics for lang in langs
            for phrase in t.phrases(lang)]  # fmt: skip


@cache
def _vocabulary(lang: Language) -> list[str]:
    if lang == "zh":
        return [chr(code) for code in range(0x4E00, 0x5200)]
    documents = tables.iterate(ASSETS / "general.jsonl.gz", Document)
    words = {word.lower() for document in documents for word in document.text.split()}
    return sorted(word for word in words if re.fullmatch(r"[a-z]{3,12}", word))
