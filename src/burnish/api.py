"""The Python API: ``run`` a recipe, and the four names of the seed as faces of the same stages.

Everything here goes through the loop, as the command line does: inputs are checked before
anything runs, results are artifacts with lineage, an interrupted call continues when repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish import recipes
from burnish.engine import Progress
from burnish.evals.compare import distinct_names
from burnish.loop.recipe import from_value, load
from burnish.loop.run import RunResult
from burnish.loop.run import run as run_recipe
from burnish.records import Figure


def run(
    recipe: str | Path,
    *,
    runs: str | Path = "runs",
    overrides: Sequence[str] = (),
    rerun: Sequence[str] = (),
    keep: bool = False,
    progress: Progress | None = None,
) -> RunResult:
    """Run a recipe by shipped name or path; ``overrides`` are ``key.path=value`` items.

    Example: ``burnish.run("quickstart", overrides=["seed=1"]).summary["figures"]``.

    Raises:
        InputError: the recipe, its data or its models are not in order.
        Interrupted: a signal came; the same call continues.
    """
    loaded = load(recipes.resolve(str(recipe)), overrides)
    return run_recipe(loaded, Path(runs), rerun=rerun, keep=keep, progress=progress)


@dataclass(frozen=True)
class Made:
    """One stage's result: the artifact's folder, its figures and its details."""

    folder: Path
    figures: dict[str, Figure]
    details: dict[str, Any]


@dataclass
class _Face:
    """A model, and a folder in which each call leaves an artifact."""

    model: str
    runs: Path = Path("runs")
    name: str = "api"
    seed: int = 0
    progress: Progress | None = None

    def _stage(self, stage: str, settings: Mapping[str, Any], name: str | None = None) -> Made:
        """Run one stage as a recipe of its own; ``@base`` is this face's model."""
        label = name or stage.rpartition(".")[2]
        return self._stages({label: {"run": stage, **settings}}, f"{self.name}-{label}")

    def _stages(self, stages: Mapping[str, Mapping[str, Any]], name: str) -> Made:
        """Run stages as a recipe ``name``; the last one's result."""
        prepare = {label: dict(settings) for label, settings in stages.items()}
        value = {"name": name, "model": self.model, "seed": self.seed, "prepare": prepare}
        recipe = from_value(value, Path.cwd() / "api", {})
        result = run_recipe(recipe, Path(self.runs), rerun=(), keep=False, progress=self.progress)
        made = result.artifact(list(stages)[-1])
        return Made(made.path, made.figures, made.details)


@dataclass
class PostTrainingDataPipeline(_Face):
    """The data engine: prompts to candidates, scores, filters, pairs (数据流水线)."""

    def generate(self, prompts: Sequence[str], **settings: Any) -> Made:
        """Candidates, selected examples and preference pairs from prompt files.

        ``settings`` are those of ``curate.generate``: candidates, scoring, filters, pairing.
        """
        body = {"model": "@base", "prompts": list(prompts), **settings}
        return self._stage("curate.generate", body)

    def generate_instructions(self, topics: Sequence[str], count: int, **settings: Any) -> Made:
        """The same from topics × templates files (主题 × 模板)."""
        body = {
            "model": "@base",
            "instructions": list(topics),
            "instruction_count": count,
            **settings,
        }
        return self._stage("curate.generate", body, "instructions")

    def write_instructions(self, method: str, count: int, **settings: Any) -> Made:
        """New instructions by a writer model (指令演化): see ``curate.write`` for methods, and for
        what they start from: ``topics``, ``prompts``, ``examples`` or ``documents``."""
        body = {"model": "@base", "method": method, "write": {"count": count}, **settings}
        return self._stage("curate.write", body)

    def apply_constitution(
        self, prompts: Sequence[str], constitution: str, **settings: Any
    ) -> Made:
        """Replies held against a constitution, revised, and paired (规则对齐)."""
        body = {"prompts": list(prompts), "constitution": constitution, **settings}
        return self._stage("curate.constitution", {"model": "@base", **body})


@dataclass
class FrontierModelPostTraining(_Face):
    """The five stages one after another; each works on the model the one before made."""

    made: dict[str, Made] = field(default_factory=dict)

    def post_pretraining(self, domain: Sequence[str], **settings: Any) -> Made:
        """Continued pre-training on a domain (后预训练)."""
        return self._next("fit.pretrain", {"domain": list(domain), **settings})

    def instruction_tuning(self, data: Sequence[str], **settings: Any) -> Made:
        """Supervised fine-tuning (指令微调)."""
        return self._next("fit.sft", {"data": list(data), **settings})

    def preference_optimization(self, data: Sequence[str], **settings: Any) -> Made:
        """DPO and its family on preference pairs (偏好优化)."""
        return self._next("fit.dpo", {"data": list(data), **settings})

    def safety_alignment(self, prompts: Sequence[str], constitution: str, **settings: Any) -> Made:
        """Constitutional examples from the model's own replies, then fine-tuning on them."""
        pipeline = PostTrainingDataPipeline(
            self.model, self.runs, self.name, self.seed, self.progress
        )
        curated = pipeline.apply_constitution(prompts, constitution)
        data = [str(curated.folder / "examples.jsonl")]
        return self._next("fit.sft", {"data": data, **settings}, "safety")

    def capability_enhancement(self, prompts: Sequence[str], **settings: Any) -> Made:
        """PPO against verifiers (and a reward model, where ``reward`` names one)."""
        return self._next("fit.ppo", {"prompts": list(prompts), **settings})

    def _next(self, stage: str, settings: Mapping[str, Any], name: str | None = None) -> Made:
        made = self._stage(stage, {"model": "@base", **settings}, name)
        self.made[name or stage] = made
        self.model = str(made.folder)
        return made


@dataclass
class PostTrainingEvaluator:
    """Evaluation on task files, with intervals (评估)."""

    tasks: Sequence[Mapping[str, Any]]
    runs: Path = Path("runs")
    progress: Progress | None = None

    def evaluate(self, model: str, name: str = "evaluate") -> dict[str, Figure]:
        """Figures of one model on every task."""
        face = _Face(model, self.runs, name, progress=self.progress)
        return face._stage("measure.evaluate", self._measured("@base")).figures

    def compare(self, *models: str, name: str = "compare") -> Made:
        """Two models or more on the same items, each against the first of them (模型对比).

        ``details`` are those of ``burnish compare --json``: ``figures`` by model, ``rows`` with
        paired differences, corrected p-values and what they come to (improved, regressed, noise).
        The pages ``comparison.html`` and ``comparison.zh.html`` lie in ``folder``.

        Raises:
            InputError: fewer than two models.
        """
        names = distinct_names(models)
        stages: dict[str, dict[str, Any]] = {
            f"m{place}": {"run": "measure.evaluate", **self._measured(model)}
            for place, model in enumerate(models, 1)
        }
        compared = {"names": names, "evaluations": [f"@{stage}" for stage in stages]}
        stages["comparison"] = {"run": "measure.compare", **compared}
        face = _Face(models[0], self.runs, name, progress=self.progress)
        return face._stages(stages, name)

    def _measured(self, model: str) -> dict[str, Any]:
        return {"model": model, "tasks": [dict(task) for task in self.tasks]}


@dataclass
class IterativePostTraining:
    """Rounds of a recipe from champion to champion (多轮迭代)."""

    recipe: str = "quickstart"
    runs: Path = Path("runs")
    progress: Progress | None = None

    def run(self, rounds: int, **overrides: Any) -> RunResult:
        """Run ``rounds`` rounds; keywords set top-level keys of the recipe, such as ``seed=1``."""
        items = [f"{key}={value}" for key, value in overrides.items()]
        return run(
            self.recipe,
            runs=self.runs,
            overrides=[f"rounds.count={rounds}", *items],
            progress=self.progress,
        )
