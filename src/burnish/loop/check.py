"""Everything that can be known to be wrong before any training starts."""

from __future__ import annotations

import shutil
from pathlib import Path

from burnish.config import InputError, Problem, is_served, references
from burnish.engine import TrainSettings, trackers
from burnish.loop import crew
from burnish.loop.recipe import Recipe, StageCall
from burnish.loop.references import RESERVED, locate, missing, problem_of, split
from burnish.models import load, quantised
from burnish.models.adapters import LoraSettings
from burnish.records import KINDS
from burnish.rewards import constitution
from burnish.store import tables

FREE_BYTES_NEEDED = 200 * 2**20


def check(recipe: Recipe, runs: Path | None = None) -> list[Problem]:
    """Check references, data files row by row, models, figures and disk space.

    Returns every problem found; an empty list means that the recipe can run.
    """
    problems = [recipe.problem(*found) for found in crew.problems(recipe)]
    problems += _model_problems(recipe)
    known = {"base"}
    files: dict[Path, str] = {}
    for call in recipe.stages():
        if recipe.round and call is recipe.round[0]:
            known.add("champion")
        if call.name in RESERVED:
            problems.append(recipe.problem(call.at, f"{call.name!r} is a reserved name"))
        problems += problem_of(call, recipe, known)
        known.add(call.name)
        for _, ref, mark in references(call.config):
            path = Path(locate(ref, recipe.file.parent))
            if mark.kind == "data" and not ref.startswith("@") and path.exists():
                files[path] = mark.records
        problems += _tracker_problems(recipe, call) + _adapter_problems(recipe, call)
    problems += _file_problems(files)
    problems += _name_problems(recipe, known) + _price_problems(recipe)
    problems += _space_problems(runs)
    return problems


def _model_problems(recipe: Recipe) -> list[Problem]:
    ref, beside = recipe.header.model, recipe.file.parent
    reasons = missing(ref, beside, model=True)
    if not reasons and not is_served(ref):
        try:
            load.load_tokenizer(locate(ref, beside))
        except InputError as error:
            reasons = [str(problem) for problem in error.problems]
    return [recipe.problem(("model",), reason) for reason in reasons]


def _tracker_problems(recipe: Recipe, call: StageCall) -> list[Problem]:
    settings = getattr(call.config, "train", None)
    if not isinstance(settings, TrainSettings):
        return []
    at = (*call.at, "train", "extras", "trackers")
    found = trackers.problems(settings.extras.trackers)
    return [recipe.problem(at, problem.found, problem.expected) for problem in found]


def _adapter_problems(recipe: Recipe, call: StageCall) -> list[Problem]:
    settings = getattr(call.config, "lora", None)
    if not isinstance(settings, LoraSettings) or settings.bits is None:
        return []
    found = quantised.problems(recipe.header.device)
    at = (*call.at, "lora", "bits")
    return [recipe.problem(at, problem.found, problem.expected) for problem in found]


def _file_problems(files: dict[Path, str]) -> list[Problem]:
    problems: list[Problem] = []
    for path, kind in files.items():
        try:
            if kind == "constitution":
                constitution.load(path)
            elif kind in KINDS:
                tables.read(path, KINDS[kind])
        except InputError as error:
            problems += error.problems
    return problems


def _name_problems(recipe: Recipe, known: set[str]) -> list[Problem]:
    problems = []
    champion = split(recipe.header.rounds.champion)[0]
    if recipe.round and champion not in {"base", *(call.name for call in recipe.prepare)}:
        at = ("rounds", "champion")
        problems.append(recipe.problem(at, f"@{champion} names no stage of prepare"))
    if recipe.round and champion == "base" and is_served(recipe.header.model):
        expected = "expected a stage of prepare that makes a model"
        problems.append(recipe.problem(("rounds", "champion"), "found a served model", expected))
    for name, source in recipe.header.figures.items():
        stage, dot, figure = source.partition(".")
        if not dot or not figure or stage.removeprefix("@") not in known | {"start", "final"}:
            expected = "expected @stage.figure, start.figure or final.figure"
            problems.append(recipe.problem(("figures", name), f"found {source!r}", expected))
    return problems


def _price_problems(recipe: Recipe) -> list[Problem]:
    """Served models without a price, where there is only so much money."""
    budget = recipe.header.budget
    if budget.money is None:
        return []
    refs = [recipe.header.model if ref == "@base" else ref
            for call in recipe.stages() for _, ref, _ in references(call.config)]  # fmt: skip
    models = dict.fromkeys(ref.partition("#")[2] for ref in refs if is_served(ref))
    return [
        recipe.problem(("budget", "prices"), f"no price for {model!r}", "it is needed for money")
        for model in models
        if model not in budget.prices
    ]


def _space_problems(runs: Path | None) -> list[Problem]:
    if runs is None:
        return []
    place = runs
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free >= FREE_BYTES_NEEDED:
        return []
    found = f"{free / 2**20:.0f} MiB free"
    return [Problem(str(runs), None, "", found, f"need {FREE_BYTES_NEEDED / 2**20:.0f} MiB")]
