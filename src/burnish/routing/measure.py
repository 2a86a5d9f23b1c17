"""A router on prompts it has not seen, beside every other way to choose a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from burnish.evals.statistics import clustered_bootstrap, mean_figure, paired_comparison
from burnish.records import Figure
from burnish.reporting.charts import Line, line_chart
from burnish.reporting.html import document
from burnish.reporting.markup import el
from burnish.routing.evidence import Array, Evidence
from burnish.routing.router import Router

POINTS = 41
WAYS = ("smallest", "largest", "random", "shuffled", "oracle")
"""Always the cheapest model, always the dearest, any, any in the router's own shares, and the
cheapest of those that score best, which nobody can know beforehand."""


@dataclass(frozen=True)
class Way:
    """A way to choose: its quality and cost a prompt, the share of the dearest model's cost that it
    saves, and the difference of its quality from that model's."""

    quality: Figure
    cost: Figure
    saved: Figure
    difference: Figure


@dataclass(frozen=True)
class Report:
    """``ways`` by name, the ``router`` first. ``accuracy`` is how often the router asks the model
    that the oracle asks. ``shares`` of the prompts by model. ``curve`` has ``(margin, cost,
    quality)``."""

    ways: Mapping[str, Way]
    accuracy: Figure
    shares: Mapping[str, float]
    curve: Sequence[tuple[float, float, float]]
    prompts: int

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def measure(router: Router, evidence: Evidence, margin: float | None = None) -> Report:
    """Choose for every prompt, and look up what that model scored and cost.

    Intervals draw groups of prompts. What is ``random`` is its expected value, not one draw.
    """
    foretold = router.foretell(evidence.texts)
    picked = _picks(router.choose(foretold, margin), len(router.models))
    dearest, cheapest = router.costs.argmax(), router.costs.argmin()
    best = _oracle(evidence)
    every = np.ones_like(picked)
    ways = {
        "router": picked,
        "smallest": _picks([int(cheapest)] * len(picked), len(router.models)),
        "largest": _picks([int(dearest)] * len(picked), len(router.models)),
        "random": every / every.shape[1],
        "shuffled": every * picked.mean(axis=0),
        "oracle": best,
    }
    return Report(
        ways={name: _way(evidence, weights, int(dearest)) for name, weights in ways.items()},
        accuracy=mean_figure((picked * best).sum(axis=1).tolist(), evidence.groups),
        shares=dict(zip(router.models, picked.mean(axis=0).tolist(), strict=True)),
        curve=_curve(router, foretold, evidence),
        prompts=len(evidence.texts),
    )


def _picks(places: Sequence[int], models: int) -> Array:
    """``[n, M]``: 1 at each row's model."""
    found: Array = np.eye(models)[list(places)]
    return found


def _oracle(evidence: Evidence) -> Array:
    top = evidence.scores == evidence.scores.max(axis=1, keepdims=True)
    dear = np.where(top, evidence.costs, np.inf)
    return _picks(dear.argmin(axis=1).tolist(), len(evidence.models))


def _way(evidence: Evidence, weights: Array, dearest: int) -> Way:
    """Of a way that asks model m for prompt i with the chance ``weights[i, m]``."""
    quality = (weights * evidence.scores).sum(axis=1)
    cost = (weights * evidence.costs).sum(axis=1)
    top, whole = evidence.scores[:, dearest], evidence.costs[:, dearest]
    saved = (whole - cost) / max(whole.mean(), np.finfo(float).tiny)
    found = paired_comparison(top.tolist(), quality.tolist(), evidence.groups)
    return Way(
        mean_figure(quality.tolist(), evidence.groups),
        clustered_bootstrap(cost.tolist(), evidence.groups),
        clustered_bootstrap(saved.tolist(), evidence.groups),
        Figure(found.difference, found.low, found.high, found.n),
    )


def _curve(router: Router, foretold: Array, evidence: Evidence) -> list[tuple[float, float, float]]:
    """What each margin costs and gains: margins are where choices change, thinned."""
    gaps = foretold.max(axis=1, keepdims=True) - foretold
    margins = np.unique(np.quantile(gaps, np.linspace(0, 1, POINTS)))
    found = []
    for margin in [*margins.tolist(), 1.0]:
        picked = _picks(router.choose(foretold, margin), len(router.models))
        cost, quality = ((picked * value).sum(axis=1).mean()
                         for value in (evidence.costs, evidence.scores))  # fmt: skip
        found.append((float(margin), float(cost), float(quality)))
    return found


def page(report: Report, title: str) -> str:
    """The trade-off drawn: quality over cost as the margin grows, and the other ways as points."""
    dots = {name: report.ways[name] for name in ("router", *WAYS)}
    lines = [Line("margin 0 to 1", sorted((cost, quality) for _, cost, quality in report.curve))]
    lines += [
        Line(name, [(way.cost.value, way.quality.value)], css=f"c{place % 8 + 1}", joined=False)
        for place, (name, way) in enumerate(dots.items(), 1)
    ]
    label = "quality (share of the highest score) over cost of a prompt"
    body = el("main", el("h1", title), el("p", label), line_chart(lines, label=label, percent=True),
              class_="wrap")  # fmt: skip
    return document(f"{title} · burnish", body, "en")
