"""Several evaluations of the same items in one table: what improved, regressed, or is noise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from burnish.config import DataRef, ModelRef, Settings
from burnish.evals import tasks
from burnish.evals.compare import RESPONSES, compare
from burnish.evals.duels import Decide, Duels, Pair, by_score, duel
from burnish.records import Figure
from burnish.reporting.comparison import write_pages
from burnish.rewards.reward_model import RewardModel
from burnish.rewards.scoring import ScoreCache, compare_pairs
from burnish.stages.base import Context, Inputs, Outcome
from burnish.stages.judging import JudgeSettings, load_judge
from burnish.stages.scoring import SCORES
from burnish.store import atomic
from burnish.store.metrics import finite
from burnish.store.names import ARTIFACT


class Config(Settings):
    """Compare ``evaluations`` (artifacts of ``measure.evaluate``) with the first of them.

    ``names`` are shown in their place. Differences are paired by item; p-values are corrected over
    all metrics and models (Holm), and ``alpha`` is the level of improved and regressed. With a
    ``judge``, or a ``reward`` model, replies to the same conversation meet in pairs: win rates,
    with the length of replies controlled, and Bradley-Terry ratings.
    """

    evaluations: list[DataRef] = Field(min_length=2)
    names: list[str] = []
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    judge: JudgeSettings | None = None
    reward: ModelRef | None = None

    @model_validator(mode="after")
    def _fits(self) -> Config:
        if self.names and len(self.names) != len(self.evaluations):
            counts = f"{len(self.names)} names for {len(self.evaluations)} evaluations"
            raise ValueError(f"names: {counts}; expected one for each")
        if len(set(self.names)) < len(self.names):
            raise ValueError("names: one is there twice; expected different ones")
        if self.judge is not None and self.reward is not None:
            raise ValueError("judge and reward are both given; expected one of them")
        return self


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Write ``comparison.json`` and the pages ``comparison.html`` and ``comparison.zh.html``."""
    folders = [inputs.path(f"evaluations.{place}") for place in range(len(config.evaluations))]
    names = config.names or _named(folders)
    models = dict(zip(names, folders, strict=True))
    others = dict(list(models.items())[1:])
    rows = compare(folders[0], others, config.alpha, seed=context.seed)
    decide, details = _decider(config, inputs, context)
    met: Duels | None = None
    if decide is not None:
        responses = {name: tasks.read(folder / RESPONSES) for name, folder in models.items()}
        met = duel(responses, decide)
    found = {
        "models": names,
        "alpha": config.alpha,
        "figures": {name: _record(folder)["figures"] for name, folder in models.items()},
        "dimensions": _merged(folders, "dimensions"),
        "upward": _merged(folders, "upward"),
        "rows": [asdict(row) for row in rows],
        "win_rates": {name: asdict(one) for name, one in met.win_rates.items()} if met else {},
        "ratings": asdict(met.ratings) if met and met.ratings else None,
        **details,
    }
    found = finite(found)
    atomic.write_json(context.output / "comparison.json", found)
    write_pages(context.output, found)
    return Outcome("report", _figures(met), found)


def _named(folders: Sequence[Path]) -> list[str]:
    """The folders' names, numbered where some are alike."""
    names = [folder.name for folder in folders]
    if len(set(names)) == len(names):
        return names
    return [f"{place}: {name}" for place, name in enumerate(names, 1)]


def _decider(
    config: Config, inputs: Inputs, context: Context
) -> tuple[Decide | None, dict[str, Any]]:
    """What decides pairs, and what is written down of it."""
    if config.judge is not None:
        cache = ScoreCache(context.cache / SCORES)
        judging = load_judge(config.judge, inputs, context, cache)
        details = {"decider": "judge", "judge": judging.details()}

        def judged(pairs: Sequence[Pair]) -> list[float | None]:
            duels = compare_pairs(pairs, judging.judge, cache)
            return [None if one.winner is None else (1 - one.winner) / 2 for one in duels]

        return judged if judging.usable else None, details
    folder = inputs.optional_model("reward")
    if folder is None:
        return None, {"decider": None}
    model = RewardModel.load(folder, context.device)
    return by_score(lambda some: model.score([(one.messages, one.reply) for one in some])), {
        "decider": "reward model"
    }


def _record(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / ARTIFACT).read_text(encoding="utf-8"))
    return record


def _merged(folders: Sequence[Path], key: str) -> dict[str, Any]:
    """Details that evaluations give by metric, the first one's first."""
    merged: dict[str, Any] = {}
    for folder in reversed(folders):
        merged |= _record(folder)["details"].get(key, {})
    return merged


def _figures(met: Duels | None) -> dict[str, Figure]:
    if met is None:
        return {}
    figures = {}
    for name, rate in met.win_rates.items():
        figures[f"win_rate.{name}"] = rate.raw
        figures[f"win_rate_controlled.{name}"] = rate.controlled
    ratings = met.ratings.ratings if met.ratings else {}
    rated = {f"rating.{name}": figure for name, figure in ratings.items() if figure.n}
    return figures | rated
