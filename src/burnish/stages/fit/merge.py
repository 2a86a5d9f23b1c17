"""Merge models into one, with weights that are given or found by evaluation."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from functools import partial

from pydantic import model_validator

from burnish.config import DataRef, ModelRef, Settings
from burnish.evals import choices, tasks
from burnish.evals.tasks import TaskSettings
from burnish.merging.merge import merge, opened
from burnish.merging.search import SearchSettings, Trial, Weights, best, search
from burnish.merging.settings import MergeSettings
from burnish.models.load import load_model
from burnish.records import Figure
from burnish.sampling import LocalSampler, Sampling
from burnish.stages import training
from burnish.stages.base import Context, Inputs, Outcome
from burnish.store.metrics import Metrics

TRIALS = "trials.jsonl"


class Config(Settings):
    """Merge ``parents``, and ``adapters`` (LoRA folders of PEFT, each over ``model``) behind them.

    ``model`` is what they were trained from: task vectors are differences from it. With ``search``
    weights are looked for by the mean of ``tasks``, each turned so that higher is better; a score
    that was the best of many is no measurement, so that the result is to be evaluated on other
    items.
    """

    model: ModelRef = "@base"
    parents: list[ModelRef] = []
    adapters: list[DataRef] = []
    merge: MergeSettings = MergeSettings()
    search: SearchSettings | None = None
    tasks: list[TaskSettings] = []
    sampling: Sampling = Sampling(temperature=0.0, max_new_tokens=32)

    @model_validator(mode="after")
    def _whole(self) -> Config:
        if not self.parents and not self.adapters:
            raise ValueError("parents: nothing to merge, expected models or adapters")
        if (self.search is None) != (not self.tasks):
            raise ValueError("search and tasks go together; expected both or neither")
        if self.search is not None and (self.merge.weights or self.merge.layers):
            raise ValueError("search finds merge.weights; expected them and merge.layers empty")
        return self


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Merge, after a search where one is asked for, and write the model."""
    refs = [str(path) for path in (*inputs.paths("parents"), *inputs.paths("adapters"))]
    base, settings = inputs.model("model"), config.merge
    opened(refs, base, settings)  # refused before anything is evaluated
    trials: list[Trial] = []
    if config.search is not None:
        score = _Scorer(config, refs, base, inputs, context)
        trials = search(config.search, len(refs), settings.divides, score, context.seed)
        settings = weighted(settings, best(trials).weights)
    facts = {
        "method": settings.method,
        "weights": settings.weights or [1.0] * len(refs),
        "settings": settings.model_dump(mode="json", exclude_defaults=True),
    }
    figures = {}
    if trials:
        found = {"trials": float(len(trials)), "search_score": best(trials).score}
        figures = {name: Figure.exact(value) for name, value in found.items()}
    card = training.card("fit.merge", inputs, facts)
    with context.progress.task(context.name, None) as bar:
        merge(
            refs, base, settings, context.output, seed=context.seed, card=card, advance=bar.advance
        )
    return Outcome("model", figures, {**facts, "trials": [asdict(trial) for trial in trials]})


def weighted(settings: MergeSettings, weights: Weights) -> MergeSettings:
    """The settings with these weights, checked."""
    return MergeSettings(**{**settings.model_dump(), "weights": list(weights)})


class _Scorer:
    """Merges with given weights and evaluates that; what was scored before an interruption is
    read from the stage's scratch folder."""

    def __init__(
        self, config: Config, refs: list[str], base: str, inputs: Inputs, context: Context
    ) -> None:
        self._config, self._refs, self._base, self._context = config, refs, base, context
        self._sets = [
            tasks.load_task(task, *inputs.paths(f"tasks.{index}.data"))
            for index, task in enumerate(config.tasks)
        ]
        context.scratch.mkdir(parents=True, exist_ok=True)
        self._log = Metrics(context.scratch / TRIALS)
        self._known = {tuple(row["weights"]): float(row["score"]) for row in self._log.read()}

    def __call__(self, weights: Weights) -> float:
        if weights not in self._known:
            self._known[weights] = self._score(weights)
            self._log.append({"weights": list(weights), "score": self._known[weights]})
        return self._known[weights]

    def _score(self, weights: Weights) -> float:
        """The mean of the tasks' figures, higher better."""
        context, folder = self._context, self._context.scratch / "candidate"
        settings = weighted(self._config.merge, weights)
        merge(self._refs, self._base, settings, folder, seed=context.seed)
        loaded = load_model(folder, device=context.device)
        label = f"{context.name} {' '.join(f'{weight:g}' for weight in weights)}"
        with context.progress.task(label, None) as bar:
            replies = tasks.answer(
                LocalSampler(loaded.model, loaded.tokenizer), self._sets, self._config.sampling,
                context.seed, bar.advance, partial(choices.measure, loaded.model, loaded.tokenizer),
            )  # fmt: skip
        found = tasks.figures(replies)
        shutil.rmtree(folder)
        turned = [
            found[task.name].value if task.upward else 1 - found[task.name].value
            for task in self._config.tasks
        ]
        return sum(turned) / len(turned)
