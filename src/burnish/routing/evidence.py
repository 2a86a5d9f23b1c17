"""What several models made of the same prompts: the ground a router is trained and measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from burnish.config import InputError, Problem
from burnish.evals import tasks
from burnish.evals.compare import RESPONSES
from burnish.evals.tasks import Response
from burnish.records import Message

Array = NDArray[np.float64]
_FEW = 3


@dataclass(frozen=True)
class Evidence:
    """Prompts, and what each model scored and cost on them.

    ``scores [n, M]`` lie between 0 and 1, higher better; ``costs [n, M]`` are the reply's tokens
    times the model's price. ``groups [n]`` are clusters of items; where an item is of none, its
    text stands for one.
    """

    models: tuple[str, ...]
    texts: tuple[str, ...]
    groups: tuple[str, ...]
    scores: Array
    costs: Array

    def only(self, places: Sequence[int]) -> Evidence:
        """Some of the prompts."""
        return Evidence(
            self.models, tuple(self.texts[at] for at in places),
            tuple(self.groups[at] for at in places),
            self.scores[list(places)], self.costs[list(places)],
        )  # fmt: skip


def text_of(messages: Sequence[Message]) -> str:
    """What a router reads of a conversation: the words of all its turns."""
    return "\n".join(message["content"] for message in messages)


def gather(models: Sequence[str], results: Sequence[Path], prices: Sequence[float]) -> Evidence:
    """Read evaluations of the same items, one of each model.

    Args:
        models: what they are called.
        results: of each model the folder of an evaluation, or the file of its responses.
        prices: of each model, of one token.

    Raises:
        InputError: not one of each for every model, fewer than two models, a price that is not
            above 0, a file that is none, or evaluations of other items.
    """
    _check(models, results, prices)
    found = [_items(path) for path in results]
    keys = list(found[0])
    for name, path, items in zip(models[1:], results[1:], found[1:], strict=True):
        odd = sorted(items.keys() ^ found[0].keys())
        if odd:
            few = ", ".join("/".join(key) for key in odd[:_FEW])
            said = f"{len(odd)} items that one of {models[0]} and {name} has not: {few}"
            raise InputError(Problem(str(path), None, "results", said, "the same items"))
    texts = [text_of(found[0][key][0].messages) for key in keys]
    groups = [found[0][key][0].group or text for key, text in zip(keys, texts, strict=True)]
    scores, costs = np.zeros((len(keys), len(models))), np.zeros((len(keys), len(models)))
    for at, (items, price) in enumerate(zip(found, prices, strict=True)):
        responses = [one for key in keys for one in items[key]]
        values = tasks.gate_values(responses)[0]
        scores[:, at] = [values[task][item] for task, item in keys]
        costs[:, at] = [price * np.mean([one.tokens for one in items[key]]) for key in keys]
    return Evidence(tuple(models), tuple(texts), tuple(groups), scores, costs)


def divided(evidence: Evidence, share: float, seed: int) -> tuple[Evidence, Evidence]:
    """Prompts to train on and a ``share`` held out. Groups are drawn whole; a text that is in two
    of them goes with the first, so that none is on both sides.

    Raises:
        InputError: nothing is left on one side.
    """
    aside: list[int] = []
    kept: list[int] = []
    sides: dict[str, bool] = {}
    for place, (text, group) in enumerate(zip(evidence.texts, evidence.groups, strict=True)):
        drawn = sides.setdefault(text, _chance(seed, group) < share)
        (aside if drawn else kept).append(place)
    if not aside or not kept:
        found = f"{share:g} of {len(evidence.texts)} prompts leaves one side empty"
        raise InputError(Problem("", None, "heldout", found, "more prompts, or another share"))
    return evidence.only(kept), evidence.only(aside)


def _chance(seed: int, group: str) -> float:
    digest = hashlib.sha256(f"{seed}\x1f{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _check(models: Sequence[str], results: Sequence[Path], prices: Sequence[float]) -> None:
    if len(models) < 2 or len(set(models)) < len(models):
        found = f"{', '.join(models) or 'none'}"
        raise InputError(Problem("", None, "MODEL", found, "two different models or more"))
    for name, given in (("results", results), ("price", prices)):
        if len(given) != len(models):
            found, expected = f"{len(given)} for {len(models)} models", "one for each"
            raise InputError(Problem("", None, name, found, expected))
    if not all(0 < price < float("inf") for price in prices):
        raise InputError(Problem("", None, "price", f"found {list(prices)}", "numbers above 0"))


def _items(path: Path) -> dict[tuple[str, str], list[Response]]:
    """The responses by task and item."""
    file = path / RESPONSES if path.is_dir() else path
    found: dict[tuple[str, str], list[Response]] = {}
    for one in tasks.read(file):
        found.setdefault((one.task, one.item_id), []).append(one)
    if not found:
        raise InputError(Problem(str(file), None, "", "no responses", "an evaluation of tasks"))
    return found
