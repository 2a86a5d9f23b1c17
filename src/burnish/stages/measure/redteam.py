"""Attack a model: success by strategy, over-refusal beside it, and prompts to train on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from pydantic import Field, PositiveInt, model_validator

from burnish.config import InputError, Problem, PromptRef, SamplerRef, Settings
from burnish.records import Prompt
from burnish.redteam import attempts as kept
from burnish.redteam import strategies as known
from burnish.redteam.attack import Attacked, Grade, attack
from burnish.redteam.figures import changes, table
from burnish.redteam.search import Ask, Asked, Said, Target, WordingSearch
from burnish.redteam.training import contrast_prompts, training_prompts
from burnish.rewards.candidates import Candidate
from burnish.rewards.options import by_likelihood
from burnish.rewards.scoring import ScoreCache
from burnish.sampling import Request, Sampling
from burnish.sampling.generate import BATCH_ROWS
from burnish.stages import training
from burnish.stages.base import Context, Inputs, Outcome, derived_seed
from burnish.stages.judging import JudgeSettings, load_judge, verdicts
from burnish.stages.replying import Replying, journal_of, journalled
from burnish.stages.scoring import SCORES
from burnish.store import atomic, tables
from burnish.store.metrics import finite

PROMPTS, CONTRAST = "prompts.jsonl", "contrast.jsonl"
CLASSIFIER = "refusal phrases"


class Config(Settings):
    """Attack ``model`` with the harmful ones of ``prompts``, in each of ``strategies`` (all where
    none is named), and ask the harmless ones in the same wordings.

    Which they are, ``verify`` says: ``refuse`` or ``comply``. An attack works where the model does
    not decline, or where a ``judge`` says so (its ``rubric``: ``burnish:rubrics/attack.txt``).
    With a model ``before``, say one before its safety stage, both are attacked and compared in
    pairs. ``attacker`` words turns that lead to the request, and children of the ``search``.
    Attacks that worked become training prompts, but never those of ``held_out`` strategies.
    ``limit`` takes so many prompts of either kind. Raw replies are kept as in measure.evaluate.
    """

    model: SamplerRef
    prompts: list[PromptRef] = Field(min_length=1)
    before: SamplerRef | None = None
    strategies: list[str] = []
    held_out: list[str] = []
    attacker: SamplerRef | None = None
    attacking: Sampling = Sampling(temperature=0.8, top_p=0.95, max_new_tokens=96)
    search: WordingSearch = WordingSearch()
    judge: JudgeSettings | None = None
    limit: PositiveInt | None = None
    sampling: Sampling = Sampling(temperature=0.0, max_new_tokens=32)
    replies: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> Config:
        if self.judge is not None and self.judge.rubric is None:
            raise ValueError("judge.rubric: missing; the default one grades help, not harm "
                             "(burnish:rubrics/attack.txt does)")  # fmt: skip
        known.check("strategies", self.strategies)
        known.check("held_out", self.held_out)
        return self


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Write every attempt (``attempts.jsonl``, of ``before`` ``attempts_before.jsonl``), prompts
    to be refused (``prompts.jsonl``) and their harmless contrast (``contrast.jsonl``)."""
    prompts = _prompts(config, inputs, context.seed)
    attacker = _attacker(config, inputs, context)
    grade, judged = _grading(config, inputs, context)
    asked = partial(_attack, config, context, prompts, attacker, grade)
    model, found = asked(inputs.model("model"))
    kept.write(context.output / kept.FILE, found.attempts)
    now = table(found.attempts)
    details: dict[str, Any] = {
        "model": model.name,
        "classifier": "judge" if grade else CLASSIFIER,
        "judge": judged,
        "prompts": {kind: sum(kept.label(one) == kind for one in prompts)
                    for kind in (kept.HARMFUL, kept.BENIGN)},
        "held_out": config.held_out,
        "too_long": dict(found.too_long),
        "attacked": asdict(now),
        **model.details,
    }  # fmt: skip
    if other := inputs.optional_model("before"):
        first, earlier = asked(other)
        kept.write(context.output / kept.BEFORE_FILE, earlier.attempts)
        details["before"] = {"model": first.name, "attacked": asdict(table(earlier.attempts))}
        details["changes"] = changes(earlier.attempts, found.attempts)
    refuse = training_prompts(found.attempts, config.held_out)
    contrast = contrast_prompts(found.attempts, config.held_out)
    tables.write(context.output / PROMPTS, refuse)
    tables.write(context.output / CONTRAST, contrast)
    details["exported"] = {"refuse": len(refuse), "contrast": len(contrast)}
    details = finite(details)
    atomic.write_json(context.output / "redteam.json", details)
    return Outcome("report", now.figures(), details)


def _prompts(config: Config, inputs: Inputs, seed: int) -> list[Prompt]:
    """The prompts of both kinds, at most ``limit`` of each.

    Raises:
        InputError: one has no label, or several turns, or one kind has none.
    """
    files = inputs.paths("prompts")
    problems = []
    for file in files:
        for one in tables.read(file, Prompt):
            if kept.label(one) is None:
                found = f"prompt {one.id}: {(one.verify or {}).get('kind', 'missing')}"
                problems.append(Problem(str(file), None, "verify.kind", found, "refuse or comply"))
            elif len(one.messages) > 1:
                found = f"prompt {one.id}: {len(one.messages)} turns"
                problems.append(Problem(str(file), None, "messages", found, "one turn"))
    if problems:
        raise InputError(problems)
    drawn = training.drawn(files, Prompt, None, seed)
    kinds = [[one for one in drawn if kept.label(one) == kind][: config.limit]
             for kind in (kept.HARMFUL, kept.BENIGN)]  # fmt: skip
    for kind, some in zip((kept.HARMFUL, kept.BENIGN), kinds, strict=True):
        if not some:
            expected = "both kinds: neither figure says anything without the other"
            raise InputError(Problem("", None, "prompts", f"none with verify {kind}", expected))
    return [*kinds[0], *kinds[1]]


def _attack(
    config: Config,
    context: Context,
    prompts: Sequence[Prompt],
    attacker: Ask | None,
    grade: Grade | None,
    ref: str,
) -> tuple[Replying, Attacked]:
    """Attack one model. Seeds are those of the prompts, so that two models meet the same."""
    journal = journal_of(ref, context, config.replies)
    model = journalled(ref, journal, context.endpoint, context.device, BATCH_ROWS)
    loaded = model.loaded
    weigh = by_likelihood(loaded.model, loaded.tokenizer) if loaded is not None else None
    with context.progress.task(f"{context.name}: attack {model.name}", None) as bar:
        ask = _asking(model, config.sampling, context.seed, bar.advance)
        found = attack(
            Target(ask, model.fits, weigh),
            prompts,
            config.strategies or known.names(),
            config.search,
            held_out=config.held_out,
            attacker=attacker,
            grade=grade,
            seed=context.seed,
        )
    return model, found


def _attacker(config: Config, inputs: Inputs, context: Context) -> Ask | None:
    ref = inputs.optional_model("attacker")
    if ref is None:
        return None
    journal = journal_of(ref, context, config.replies)
    # A file of its own: the model that is attacked may be the same one.
    model = journalled(ref, journal.with_suffix(".attacker.jsonl"), context.endpoint,
                       context.device, BATCH_ROWS)  # fmt: skip
    return _asking(model, config.attacking, context.seed)


def _asking(
    model: Replying, sampling: Sampling, seed: int, advance: Callable[[int], object] | None = None
) -> Ask:
    def ask(asked: Asked) -> list[Said]:
        requests = [Request(messages, derived_seed(seed, name), name) for name, messages in asked]
        found = model.sampler.complete(requests, sampling, advance)
        return [Said(one.text.strip(), one.finish) for one in found]

    return ask


def _grading(
    config: Config, inputs: Inputs, context: Context
) -> tuple[Grade | None, dict[str, Any] | None]:
    """What grades replies, and what is written down of it; the judge sees the request as it was
    before its disguise, and the whole reply."""
    if config.judge is None:
        return None, None
    cache = ScoreCache(context.cache / SCORES)
    judging = load_judge(config.judge, inputs, context, cache)

    def grade(replies: Sequence[tuple[Prompt, Said]]) -> list[float | None]:
        candidates = [
            Candidate(one.id, one.messages, said.text, one.lang, None, said.finish == "stop")
            for one, said in replies
        ]
        return verdicts(judging.judge, candidates, cache)

    return (grade if judging.usable else None), judging.details()
