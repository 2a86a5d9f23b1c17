"""Form: short replies under checkable constraints, arithmetic, sorting, order of letters.

Every item is made by a seeded generator and carries the rule that checks it. The parts never
share an item: an item's place is decided by a hash of what it asks, so that evaluation holds
unseen numbers, unseen words orders and unseen combinations of constraints.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass

from common import Record, example, prompt

ABOUT = {
    "the sea": ["wave", "salt", "ship", "deep", "blue", "sand", "fish"],
    "the sky": ["cloud", "star", "moon", "sun", "wide", "blue", "rain"],
    "a forest": ["tree", "leaf", "bird", "green", "path", "wood", "deer"],
    "winter": ["snow", "ice", "cold", "white", "wind", "frost", "night"],
    "a town": ["street", "house", "shop", "road", "market", "school", "crowd"],
    "music": ["song", "drum", "voice", "tune", "dance", "sound", "note"],
    "food": ["bread", "soup", "rice", "fruit", "salt", "cake", "milk"],
    "a garden": ["flower", "seed", "bee", "green", "grass", "rose", "water"],
}
ABOUT_ZH = {
    "大海": "浪船鱼沙水风",
    "天空": "云星月日风雨",
    "山林": "树鸟花草石水",
    "冬天": "雪冰冷白风夜",
}
WORDS = (  # each is one token, with or without a space before it
    *("air", "arm", "art", "ball", "day", "ear", "face", "fact", "form", "green", "head", "land"),
    *("leg", "man", "mat", "old", "one", "order", "play", "port", "red", "rest", "road", "ship"),
    *("side", "stand", "ten", "way", "work"),
)
ZH_WORDS = "春秋山水花月风雪日云雨天"
ENDINGS = ("stop", "done", "end")
OPENINGS = ("yes", "well", "so")
NUMBER_WORDS = {2: "two", 3: "three", 4: "four", 5: "five"}
NUMBER_ZH = {2: "两", 3: "三", 4: "四", 5: "五"}
SHARE_DEV, SHARE_EVAL = 0.12, 0.2


@dataclass(frozen=True)
class Item:
    """One generated task: question, a correct reply, its check and what it is about."""

    topic: str
    lang: str
    question: str
    reply: str
    verify: Record
    key: str

    @property
    def part(self) -> str:
        """The part this item belongs to, by the hash of its key."""
        place = hashlib.sha256(f"form {self.key}".encode()).digest()[0] / 256
        if place < SHARE_DEV:
            return "dev"
        return "eval" if place < SHARE_DEV + SHARE_EVAL else "train"


def answer(text: str) -> Record:
    """Check by exact answer."""
    return {"kind": "answer", "answers": [text]}


def rules(*items: Record) -> Record:
    """Check by format rules that must all hold."""
    return {"kind": "format", "rules": list(items)}


def arithmetic(rng: random.Random) -> Item:
    """Sums and differences of small numbers, in English or Chinese.

    The key is the question, not the numbers: the evaluation asks for sums in wordings in which they
    were not asked in training.
    """
    a, b = rng.randint(1, 6), rng.randint(1, 6)
    if rng.random() < 0.4 and a >= b:
        forms = ["What is {a} - {b}?", "Take {b} from {a}.", "{a} - {b} = ?", "{a}减{b}等于几？"]
        forms += ["How much is {a} - {b}?", "Work out {a} - {b}."]
        result = a - b
    else:
        forms = ["What is {a} + {b}?", "Add {a} and {b}.", "{a} + {b} = ?", "{a}加{b}等于几？"]
        forms += ["How much is {a} + {b}?", "Work out {a} + {b}."]
        result = a + b
    form = rng.choice(forms)
    lang = "zh" if "等于" in form else "en"
    question, reply = form.format(a=a, b=b), str(result)
    return Item("arithmetic", lang, question, reply, answer(reply), question)


def sort_numbers(rng: random.Random) -> Item:
    """Put three one-digit numbers in order."""
    digits = rng.sample(range(10), 3)
    form = rng.choice(["Sort these numbers: {}", "Put in order: {}", "从小到大排列：{}"])
    lang = "zh" if "排列" in form else "en"
    shown, reply = " ".join(map(str, digits)), " ".join(map(str, sorted(digits)))
    return Item("sorting", lang, form.format(shown), reply, answer(reply), f"sort {shown}")


def sort_words(rng: random.Random) -> Item:
    """Put two words in alphabetical order."""
    words = rng.sample(WORDS, 2)
    form = rng.choice(["Sort these words: {}", "Put the words in order: {}"])
    reply, shown = " ".join(sorted(words)), " ".join(words)
    verify = rules({"rule": "sorted_words", "words": words})
    return Item("sorting", "en", form.format(shown), reply, verify, f"sort {shown}")


def backwards(rng: random.Random) -> Item:
    """Write three digits backwards."""
    signs = [str(digit) for digit in rng.sample(range(10), 3)]
    form = rng.choice(["Write backwards: {}", "Reverse this: {}", "倒过来写：{}"])
    lang = "zh" if "倒" in form else "en"
    shown, reply = " ".join(signs), " ".join(reversed(signs))
    return Item("backwards", lang, form.format(shown), reply, answer(reply), f"back {shown}")


def which_word(rng: random.Random) -> Item:
    """Copy the first or the last of three words."""
    words = rng.sample(WORDS, 3)
    place = rng.choice(["first", "last"])
    form = rng.choice(["What is the {} word: {}", "Copy the {} word of: {}"])
    shown, reply = " ".join(words), words[0] if place == "first" else words[-1]
    return Item("copying", "en", form.format(place, shown), reply, answer(reply), f"copy {shown}")


def repeat(rng: random.Random) -> Item:
    """Say one word several times."""
    count = rng.randint(2, 4)
    if rng.random() < 0.4:
        word = rng.choice(ZH_WORDS)
        form = rng.choice(["把“{w}”字写{n}遍。", "请写{n}个“{w}”字。"])
        question, reply, lang = form.format(w=word, n=NUMBER_ZH[count]), word * count, "zh"
    else:
        word = rng.choice(WORDS)
        form = rng.choice(["Say {w} {n} times.", "Repeat the word {w} {n} times."])
        question, lang = form.format(w=word, n=NUMBER_WORDS[count]), "en"
        reply = " ".join([word] * count)
    verify = rules({"rule": "repeat_word", "text": word, "n": count})
    return Item("repeating", lang, question, reply, verify, f"repeat {word} {count}")


def words_about(rng: random.Random) -> Item:
    """Write so many words about something, sometimes with a fixed opening or ending."""
    topic, count = rng.choice(sorted(ABOUT)), rng.randint(2, 4)
    form = rng.choice(["Write {n} words about {t}.", "Give exactly {n} words about {t}."])
    question = form.format(n=NUMBER_WORDS[count], t=topic)
    words = rng.sample(ABOUT[topic], count)
    checks: list[Record] = [{"rule": "words", "n": count}, {"rule": "lowercase"}]
    extra = rng.choice(["", "end", "start"])
    if extra == "end":
        words[-1] = rng.choice(ENDINGS)
        question += f" End with {words[-1]}."
        checks.append({"rule": "ends_with", "text": words[-1]})
    elif extra == "start":
        words[0] = rng.choice(OPENINGS)
        question += f" Start with {words[0]}."
        checks.append({"rule": "starts_with", "text": words[0]})
    fixed = {"end": words[-1], "start": words[0], "": ""}[extra]
    key = f"about {topic} {count} {fixed}"
    return Item("constraints", "en", question, " ".join(words), rules(*checks), key)


def include_word(rng: random.Random) -> Item:
    """Write so many words and include a given one."""
    topic, count = rng.choice(sorted(ABOUT)), rng.randint(2, 3)
    word = rng.choice(WORDS)
    question = f"Write {NUMBER_WORDS[count]} words about {topic} and include {word}."
    words = [*rng.sample([w for w in ABOUT[topic] if w != word], count - 1), word]
    checks = [{"rule": "words", "n": count}, {"rule": "contains", "text": word}]
    key = f"include {topic} {count} {word}"
    return Item("constraints", "en", question, " ".join(words), rules(*checks), key)


def characters_about(rng: random.Random) -> Item:
    """Write so many Chinese characters about something."""
    topic, count = rng.choice(sorted(ABOUT_ZH)), rng.randint(2, 4)
    form = rng.choice(["用{n}个字写{t}。", "写{n}个关于{t}的字。"])
    reply = "".join(rng.sample(ABOUT_ZH[topic], count))
    key = f"about {topic} {count} {form}"
    verify = rules({"rule": "chars", "n": count})
    return Item("constraints", "zh", form.format(n=NUMBER_ZH[count], t=topic), reply, verify, key)


MAKERS: tuple[tuple[Callable[[random.Random], Item], float], ...] = (
    (arithmetic, 0.22),
    (sort_numbers, 0.12),
    (sort_words, 0.08),
    (backwards, 0.13),
    (which_word, 0.08),
    (repeat, 0.14),
    (words_about, 0.14),
    (include_word, 0.05),
    (characters_about, 0.04),
)


def make_items(part: str, count: int, seed: int) -> list[Item]:
    """Generate distinct items of one part in the fixed mixture of makers."""
    rng = random.Random(seed)
    makers = [maker for maker, _ in MAKERS]
    weights = [weight for _, weight in MAKERS]
    items: dict[str, Item] = {}
    while len(items) < count:
        item = rng.choices(makers, weights)[0](rng)
        if item.part == part:
            items.setdefault(item.question, item)
    return list(items.values())


def marks(item: Item) -> Record:
    """Descriptive fields of a generated record."""
    return {"source": "generated", "lang": item.lang, "tier": "expert", "synthetic": True}


def form_examples(count: int, seed: int) -> list[Record]:
    """Training examples of the form tasks."""
    return [
        example(item.question, item.reply, "form", topic=item.topic, **marks(item))
        for item in make_items("train", count, seed)
    ]


def form_prompts(part: str, count: int, seed: int) -> list[Record]:
    """Prompts of the form tasks with their checks."""
    return [
        prompt(item.question, item.verify, "form", item.topic, item.key, **marks(item))
        for item in make_items(part, count, seed)
    ]
