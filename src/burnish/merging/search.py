"""Weights of a merge found by evaluation, under a budget of evaluations."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, PositiveInt

from burnish.config import InputError, Problem, Settings
from burnish.config.optional import needed

Weights = tuple[float, ...]
Score = Callable[[Weights], float]
_DIGITS = 4


class SearchSettings(Settings):
    """Find weights by evaluating at most ``budget`` merges; the best one's are taken, of equal
    scores the first.

    ``greedy`` starts from the best single parent and adds the others, best first, as long as the
    score does not fall (Wortsman et al. 2022, recipe 1). ``grid`` tries all weights in multiples of
    1 / ``steps``: those that add up to 1 where the method divides by weights, else all in 0..1.
    ``cma`` is CMA-ES (Hansen 2016, arXiv 1604.00772) from equal weights within 0..1, its first
    standard deviation ``sigma``.
    """

    kind: Literal["greedy", "grid", "cma"] = "greedy"
    budget: PositiveInt = 32
    steps: PositiveInt = 4
    sigma: float = Field(0.25, gt=0, le=1)


@dataclass(frozen=True)
class Trial:
    """Weights, one for each parent, and what a merge with them scored; higher is better."""

    weights: Weights
    score: float


def search(
    settings: SearchSettings, parents: int, shares: bool, score: Score, seed: int
) -> list[Trial]:
    """Try weights and return every trial in order, the same weights once.

    Args:
        shares: only the proportions of weights count.

    Raises:
        InputError: fewer than two parents, a budget below what the kind needs, or no ``cma``.
    """
    _possible(settings, parents, shares)
    known: dict[Weights, float] = {}

    def once(weights: Weights) -> float:
        if weights not in known:
            known[weights] = score(weights)
        return known[weights]

    if settings.kind == "greedy":
        _greedy(parents, once)
    elif settings.kind == "grid":
        for weights in _grid(parents, settings.steps, shares):
            once(weights)
    else:
        _cma(settings, parents, once, known, seed)
    return [Trial(*item) for item in known.items()]


def best(trials: Sequence[Trial]) -> Trial:
    """The trial with the highest score, of equals the first."""
    return max(trials, key=lambda trial: trial.score)


def _possible(settings: SearchSettings, parents: int, shares: bool) -> None:
    if parents < 2:
        raise InputError(Problem("", None, "search", f"{parents} parent", "two or more"))
    if settings.kind == "cma":
        needed("merge", "cma", at="search.kind")
    steps = settings.steps
    least = {
        "greedy": 2 * parents - 1,
        "grid": math.comb(steps + parents - 1, parents - 1) if shares
        else (steps + 1) ** parents - 1,
        "cma": 2,
    }[settings.kind]  # fmt: skip
    if settings.budget < least:
        found = f"{settings.budget} for {settings.kind} over {parents} parents"
        raise InputError(Problem("", None, "search.budget", found, f"at least {least}"))


def _greedy(parents: int, score: Score) -> None:
    alone = [tuple(float(at == place) for at in range(parents)) for place in range(parents)]
    order = sorted(range(parents), key=lambda place: -score(alone[place]))
    taken, reached = alone[order[0]], score(alone[order[0]])
    for place in order[1:]:
        more = tuple(max(a, b) for a, b in zip(taken, alone[place], strict=True))
        if score(more) >= reached:
            taken, reached = more, score(more)


def _grid(parents: int, steps: int, shares: bool) -> Iterator[Weights]:
    for counts in itertools.product(range(steps + 1), repeat=parents):
        if sum(counts) == steps if shares else any(counts):
            yield tuple(count / steps for count in counts)


def _cma(
    settings: SearchSettings, parents: int, score: Score, known: dict[Weights, float], seed: int
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has no matplotlib to plot with
        import cma

    start = (1 / parents,) * parents
    score(tuple(round(w, _DIGITS) for w in start))
    options = {"bounds": [0, 1], "seed": seed % 2**31 + 1, "verbose": -9, "verb_log": 0}
    strategy = cma.CMAEvolutionStrategy(list(start), settings.sigma, options)
    for _ in range(settings.budget):
        if strategy.stop() or len(known) >= settings.budget:
            return
        asked = strategy.ask()
        costs = []
        for point in asked:
            weights = tuple(round(float(w), _DIGITS) for w in point)
            if len(known) >= settings.budget and weights not in known:
                return
            costs.append(-score(weights) if sum(weights) > 0 else math.inf)
        strategy.tell(asked, costs)
