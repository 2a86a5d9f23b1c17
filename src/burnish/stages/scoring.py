"""Scores of the replies in files, a chunk at a time: what ``data score`` and a stage share."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.config import InputError, Problem
from burnish.evals.bias import padded_pairs
from burnish.evals.scored import PAIRWISE, ScoreTally
from burnish.models.load import Loaded
from burnish.records import Example, Preference, Prompt, Record, Rollout, content_id
from burnish.rewards import scorers
from burnish.rewards.annotate import SCORABLE, candidates_of, scored_row
from burnish.rewards.candidates import Candidate
from burnish.rewards.ensemble import Aggregate
from burnish.rewards.judge import Duel, Judge
from burnish.rewards.likelihood import NO_PROMPT
from burnish.rewards.reward_model import RewardModel
from burnish.rewards.scorers import Resources, Scorer, ScorerSettings
from burnish.rewards.scoring import (
    ScoreCache,
    chunks,
    compare_pairs,
    score_candidates,
    total,
)
from burnish.rewards.verifiers import validate
from burnish.store import tables
from burnish.store.manifest import content_fingerprint

CHUNK = 4096
"""Records that are in memory at a time."""
AT_ONCE = 256
"""Replies that are scored before scores are kept: what a kill can cost."""
SCORES = "scores.sqlite"
"""The file of scores in a run's cache."""
REAL = 200
"""Real replies that relevance and fluency are read against, at most."""
MEANS = {"model": "model", "encoder": "encoder", "reward model": "reward", "judge": "judge"}
"""The setting that gives what a scorer needs."""
MOST_PROBLEMS = 20


@dataclass(frozen=True)
class Data:
    """Files of one kind of record, all of which hold replies, and prompts to verify them by."""

    paths: Sequence[Path]
    kind: type[Record]
    prompts: Mapping[str, Prompt]

    def __post_init__(self) -> None:
        if not issubclass(self.kind, SCORABLE):
            found = f"{self.kind.__name__.lower()}s hold no replies"
            expected = "examples, feedback, preferences or rollouts"
            raise InputError(Problem(", ".join(map(str, self.paths)), None, "", found, expected))

    def records(self) -> Iterator[Record]:
        """The records in order, read anew each time."""
        return (record for path in self.paths for record in tables.iterate(path, self.kind))


@dataclass(frozen=True)
class Survey:
    """How many records there are, and some first replies of theirs, drawn by content and seed."""

    records: int
    drawn: list[Candidate]


@dataclass(frozen=True)
class Scoring:
    """What is asked: scorers with their weights in the total, and where their means are.

    ``keep`` leaves out records whose first reply has a total below ``threshold``. ``pairwise`` has
    the judge compare the replies of preferences, and so many ``probes`` with padded copies.
    """

    scorers: Sequence[Scorer]
    weights: Mapping[str, float]
    resources: Resources
    cache: ScoreCache
    threshold: float = 0.8
    keep: bool = False
    pairwise: bool = False
    probes: int = 10
    seed: int = 0

    @property
    def judge(self) -> Judge:
        """The judge that ``pairwise`` needs."""
        if self.resources.judge is None:
            raise InputError(Problem("", None, PAIRWISE, "no judge is given"))
        return self.resources.judge


def survey(data: Data, seed: int, count: int = REAL) -> Survey:
    """Read all records once, so that what is wrong with them is said before anything is scored.

    Raises:
        InputError: as ``tables.read``.
    """
    seen = 0

    def first() -> Iterator[Candidate]:
        nonlocal seen
        for record in data.records():
            seen += 1
            yield candidates_of(record, data.prompts)[0]

    drawn = heapq.nsmallest(count, first(), key=lambda one: content_id(seed, one.content))
    return Survey(seen, drawn)


def unmet(scorers: Iterable[Scorer], pairwise: bool, given: Mapping[str, Any]) -> list[str]:
    """``"judge needs judge"``: each scorer whose means (by the names of ``MEANS``) is None."""
    needed = [(one.name, MEANS[one.needs]) for one in scorers if one.needs in MEANS]
    needed += [(PAIRWISE, "judge")] if pairwise else []
    return [f"{name} needs {means}" for name, means in needed if given[means] is None]


def read_prompts(paths: Sequence[Path]) -> dict[str, Prompt]:
    """Prompts by id, their specifications checked.

    Raises:
        InputError: a prompt or its ``verify`` is not in order.
    """
    found: dict[str, Prompt] = {}
    problems: list[Problem] = []
    for path in paths:
        for prompt in tables.read(path, Prompt):
            found[prompt.id] = prompt
            wrong = [] if prompt.verify is None else validate(prompt.verify)
            problems += [Problem(str(path), None, f"{prompt.id}.verify", what) for what in wrong]
    if problems:
        raise InputError(problems[:MOST_PROBLEMS])
    return found


def real_replies(paths: Sequence[Path], seed: int) -> list[Candidate]:
    """Replies of examples that count as good, drawn by content and seed."""
    return survey(Data(paths, Example, {}), seed).drawn


def load_reference(resources: Resources, loaded: Loaded, real: Sequence[Candidate]) -> None:
    """Make a model that of the likelihoods, and measure real replies with it."""
    resources.model, resources.tokenizer = loaded.model, loaded.tokenizer
    resources.model_id = loaded.identity
    pairs = [(one.messages or NO_PROMPT, one.reply) for one in real]
    resources.calibration = scorers.calibrate(loaded.model, loaded.tokenizer, pairs)


def load_reward(
    resources: Resources, ref: str, device: str = "auto", aggregate: Aggregate | None = None
) -> None:
    """Load the reward model; ``aggregate`` says what of an ensemble's members counts."""
    resources.reward_model = RewardModel.load(Path(ref), device, aggregate=aggregate)
    resources.reward_id = content_fingerprint(Path(ref))


def score_files(
    data: Data,
    scoring: Scoring,
    found: Survey,
    out: Path,
    told: Callable[[int], object] = lambda count: None,
) -> tuple[ScoreTally, dict[str, Any], int]:
    """Score every record and write it to ``out`` with its scores, see ``annotate.scored_row``.

    Args:
        told: called with numbers of records, as they are done.

    Returns:
        The tally, its report, and how many records were written.

    Raises:
        InputError: a row is bad, or ``out`` has no suffix of ``tables.APPENDED``.
        EndpointError: the judge cannot be asked, or its cap is spent. What was scored is in the
            cache, and ``out`` is as it was.
    """
    tally = ScoreTally([one.name for one in scoring.scorers], scoring.threshold)
    written = 0
    with tables.writer(out, data.kind, _columns(data.kind)) as write:
        for records in chunks(data.records(), CHUNK):
            rows = _score(data, scoring, records, tally, told)
            write(rows)
            written += len(rows)
        probes = padded_pairs(found.drawn, scoring.probes, scoring.seed) if scoring.pairwise else []
        asked = compare_pairs(probes, scoring.judge, scoring.cache) if probes else []
    return tally, tally.report(asked), written


def _score(
    data: Data,
    scoring: Scoring,
    records: Sequence[Record],
    tally: ScoreTally,
    told: Callable[[int], object],
) -> list[dict[str, Any]]:
    """The rows of a chunk that are kept."""
    rows: list[dict[str, Any]] = []
    for part in chunks(records, AT_ONCE):
        replies = [candidates_of(record, data.prompts) for record in part]
        flat = [one for row in replies for one in row]
        resources = scoring.resources
        given = iter(
            score_candidates(flat, scoring.scorers, ScorerSettings(), resources, scoring.cache)
        )
        resources.seen.clear()  # needed only between the scorers of these replies
        resources.rewards.clear()
        pairs = [(row[0], row[1]) for row in replies] if scoring.pairwise else []
        duels: list[Duel] = compare_pairs(pairs, scoring.judge, scoring.cache) if pairs else []
        for at, (record, row) in enumerate(zip(part, replies, strict=True)):
            scores = [next(given) for _ in row]
            totals = [total(each, scoring.weights) for each in scores]
            tally.add(row, scores, totals)
            if duels:
                tally.add_duel(row[0], row[1], duels[at])
            if not scoring.keep or tally.reaches(totals[0]):
                winner = duels[at].winner if duels else None
                rows.append(scored_row(record, scores, scoring.weights, winner))
        told(len(part))
    return rows


def _columns(kind: type[Record]) -> dict[str, type]:
    """What ``scored_row`` adds to the fields of a record; sides and scores are free-form."""
    if issubclass(kind, Rollout):
        return {}
    if issubclass(kind, Preference):
        return {"scores": str, "total": str, "pairwise": int}
    return {"scores": str, "total": float}
