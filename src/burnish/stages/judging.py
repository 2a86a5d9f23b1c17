"""The judge of a stage, and whether people's labels say that it may be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, PositiveInt, model_validator

from burnish.config import (
    DataRef,
    ExampleRef,
    InputError,
    Problem,
    SamplerRef,
    Settings,
)
from burnish.evals.agreement import THRESHOLD, Agreement, agreement
from burnish.evals.scored import JUDGE, as_json
from burnish.records import Example
from burnish.rewards.annotate import candidates_of
from burnish.rewards.candidates import Candidate
from burnish.rewards.judge import DRAWN, GREEDY, HIGHEST, LOCAL, LOWEST, Judge, load_rubric
from burnish.rewards.options import by_likelihood, by_top_tokens
from burnish.rewards.scorers import Resources, ScorerSettings, find
from burnish.rewards.scoring import ScoreCache, chunks, score_candidates
from burnish.sampling import ServedSampler
from burnish.stages.base import Context, Inputs
from burnish.stages.replying import reply_with
from burnish.stages.scoring import AT_ONCE
from burnish.store import tables

JOURNAL = "judge.jsonl"


class LabelSettings(Settings):
    """Replies that people have graded: the judge grades them too, and is used only where it agrees.

    ``data`` holds examples with a column of grades for each of ``annotators``, on the judge's own
    scale, 1 to 5; ``grades.ann`` is a column inside another. The judge may be used where the lower
    ends of two 95 % intervals reach ``threshold``: that of people's agreement with each other
    (Krippendorff's alpha), and of the judge's with people (mean kappa). ``otherwise`` it is left
    out and not asked any more, or the run stops.
    """

    data: ExampleRef
    annotators: list[str] = Field(min_length=1)
    level: Literal["nominal", "ordinal", "interval"] = "ordinal"
    threshold: float = THRESHOLD
    otherwise: Literal["leave_out", "stop"] = "leave_out"


class JudgeSettings(Settings):
    """A model that grades replies by a rubric.

    ``rubric`` is a text file; without it the one that comes along is used. A served model gets at
    most ``max_requests``, retries counted: then the run stops, what came is kept, and the same
    command asks for the rest. With several ``votes`` each question is asked so often, at a
    temperature of 0.7. ``read: likelihood`` takes the grade that the model's log-probabilities of 1
    to 5 expect, instead of a written verdict: for models too small to keep to a form, here or
    behind a server that tells log-probabilities. ``structured`` asks for the verdict as one JSON
    object, and a server that can to hold it to that. Without ``labels`` nothing says whether its
    grades are people's.
    """

    model: SamplerRef
    rubric: DataRef | None = None
    max_requests: PositiveInt = 10_000
    votes: PositiveInt = 1
    read: Literal["verdict", "likelihood"] = "verdict"
    structured: bool = False
    labels: LabelSettings | None = None

    @model_validator(mode="after")
    def _readable(self) -> JudgeSettings:
        if self.read == "likelihood" and self.votes > 1:
            raise ValueError("votes: of no use with read: likelihood")
        if self.read == "likelihood" and self.structured:
            raise ValueError("structured: of no use with read: likelihood")
        return self


@dataclass(frozen=True)
class Judging:
    """A judge that was loaded. ``tested`` is None where there are no labels."""

    judge: Judge
    tested: Agreement | None
    served: dict[str, Any]

    @property
    def usable(self) -> bool:
        """Whether its scores count."""
        return self.tested is None or self.tested.usable

    def counted(self, weights: Mapping[str, float]) -> dict[str, float]:
        """``weights`` without the judge's where it may not be used.

        Raises:
            InputError: no scorer that counts is left.
        """
        left = {name: weight for name, weight in weights.items() if self.usable or name != JUDGE}
        if sum(weights.values()) > 0 and not sum(left.values()) > 0:
            assert self.tested is not None
            found = "may not be used: " + "; ".join(self.tested.reasons)
            raise InputError(Problem("", None, JUDGE, found, "another scorer with a weight"))
        return left

    def details(self) -> dict[str, Any]:
        """What is written down of it."""
        found: dict[str, Any] = {"used": self.usable, **self.served}
        if self.tested is not None:
            found["people"], found["agreement"] = map(
                as_json, (self.tested.people, self.tested.judge)
            )
            found |= {"labelled": self.tested.items, "reasons": self.tested.reasons}
        return found


def load_judge(
    settings: JudgeSettings, inputs: Inputs, context: Context, cache: ScoreCache
) -> Judging:
    """Load the ``judge`` of a stage's settings and test it on the labels, where there are some.

    Raises:
        InputError: as ``load_model`` or ``load_rubric``, a label is no number from 1 to 5, or the
            judge may not be used and ``otherwise`` is ``stop``.
        EndpointError: it cannot be asked, or its cap is spent.
    """
    ref = inputs.model("judge.model")
    rubric = load_rubric(next(iter(inputs.paths("judge.rubric")), None))
    place = context.scratch / JOURNAL
    model = reply_with(ref, context.endpoint, place, context.device, settings.max_requests)
    name = model.loaded.identity if model.loaded else ref
    sampling = DRAWN if settings.votes > 1 else GREEDY
    weigh = None
    if settings.read == "likelihood" and model.loaded is not None:
        weigh = by_likelihood(model.loaded.model, model.loaded.tokenizer)
    elif settings.read == "likelihood" and isinstance(model.sampler, ServedSampler):
        weigh = by_top_tokens(model.sampler)
    at_once = LOCAL if model.loaded else None
    judge = Judge(
        model.sampler, rubric, name, sampling, context.seed, settings.votes, weigh, at_once,
        settings.structured,
    )  # fmt: skip
    if settings.labels is None:
        return Judging(judge, None, model.details)
    tested = _tested(settings.labels, inputs, judge, cache, context.seed)
    if not tested.usable and settings.labels.otherwise == "stop":
        raise InputError(
            Problem("", None, "judge", "may not be used: " + "; ".join(tested.reasons),
                    "another judge or rubric, or labels.otherwise: leave_out")
        )  # fmt: skip
    return Judging(judge, tested, model.details)


def _tested(
    settings: LabelSettings, inputs: Inputs, judge: Judge, cache: ScoreCache, seed: int
) -> Agreement:
    """The agreement of people and judge on the replies that people graded."""
    path = inputs.path("judge.labels.data")
    columns: dict[str, list[float | None]] = {}
    for name in settings.annotators:
        rows = list(tables.with_numbers(path, Example, name))
        columns[name] = [grade for _, grade in rows]
        wrong = {grade for grade in columns[name] if grade is not None} - set(_SCALE)
        if wrong or not any(grade is not None for grade in columns[name]):
            found = f"found {sorted(wrong)[0]:g}" if wrong else "no row has a grade in this column"
            raise InputError(Problem(str(path), None, name, found, "grades from 1 to 5"))
    candidates = [candidates_of(record, {})[0] for record, _ in rows]
    grades = _grades(judge, candidates, cache)
    return agreement(columns, (JUDGE, grades), settings.level, settings.threshold, seed)


_SCALE = tuple(float(grade) for grade in range(LOWEST, HIGHEST + 1))


def verdicts(
    judge: Judge, candidates: Sequence[Candidate], cache: ScoreCache
) -> list[float | None]:
    """The judge's grade of each reply, 0 to 1; None where it gave no verdict."""
    resources = Resources(None, None, judge=judge)
    rows = score_candidates(candidates, [find(JUDGE)], ScorerSettings(), resources, cache)
    return [row.get(JUDGE) for row in rows]


def _grades(judge: Judge, candidates: Sequence[Candidate], cache: ScoreCache) -> list[float | None]:
    """The judge's grades on its own scale, from 1 to 5."""
    return [
        None if verdict is None else round(LOWEST + verdict * (HIGHEST - LOWEST), 6)
        for part in chunks(candidates, AT_ONCE)
        for verdict in verdicts(judge, part, cache)
    ]
