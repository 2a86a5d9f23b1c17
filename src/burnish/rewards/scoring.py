"""Scores of many replies, each computed once and kept; their weighted mean."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

from burnish.records import Prompt, Rollout, content_id
from burnish.rewards.candidates import Candidate, of_rollout
from burnish.rewards.judge import Duel, Judge, settle
from burnish.rewards.scorers import Resources, Scorer, ScorerSettings, find
from burnish.store.errors import StorageError, storage_errors

T = TypeVar("T")

_TABLE = """
CREATE TABLE IF NOT EXISTS scores (
    scorer TEXT NOT NULL, content TEXT NOT NULL, value REAL, PRIMARY KEY (scorer, content)
) WITHOUT ROWID
"""


class ScoreCache:
    """Scores by (fingerprint of the scorer, content of the reply); in an SQLite file where given.

    The scores of one call are kept together, so that a process that is killed loses one call at
    most. What is in the file takes no memory.

    Raises:
        StorageError: the file is damaged or something else, or cannot be written.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or Path(":memory:")
        with self._storage():
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self._path)
            self._database.execute(_TABLE)

    def known(self, scorer: str, contents: Iterable[str]) -> dict[str, float | None]:
        """Scores that were put, by content; those that were not have no entry."""
        select = "SELECT value FROM scores WHERE scorer = ? AND content = ?"
        found: dict[str, float | None] = {}
        with self._storage():
            for content in contents:
                row = self._database.execute(select, [scorer, content]).fetchone()
                if row is not None:
                    found[content] = row[0]
        return found

    def put(self, scorer: str, scores: Mapping[str, float | None]) -> None:
        """Keep scores by content; None is one that is missing and is not asked for again."""
        rows = [(scorer, content, value) for content, value in scores.items()]
        with self._storage(), self._database:
            self._database.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", rows)

    @contextmanager
    def _storage(self) -> Iterator[None]:
        try:
            with storage_errors(self._path):
                yield
        except sqlite3.Error as error:
            reason = f"no file of scores, or damaged ({error}); delete it to begin anew"
            raise StorageError(self._path, reason) from error


def score_candidates(
    candidates: Sequence[Candidate],
    scorers: Sequence[Scorer],
    settings: ScorerSettings,
    resources: Resources,
    cache: ScoreCache,
) -> list[dict[str, float]]:
    """The scores of each reply by name, in order; a scorer that does not apply has no entry.

    Raises:
        InputError: a scorer lacks what it needs.
        EndpointError: the judge cannot be asked; what was scored before is in ``cache``.
    """
    rows: list[dict[str, float]] = [{} for _ in candidates]
    contents = [one.content for one in candidates]
    for scorer in scorers:
        fingerprint = scorer.fingerprint(settings, resources)
        known = cache.known(fingerprint, contents)
        todo = {key: one for key, one in zip(contents, candidates, strict=True) if key not in known}
        judge = resources.judge if scorer.needs == "judge" else None
        for part in _parts(todo, judge):
            values = scorer.values([todo[key] for key in part], settings, resources)
            found = dict(zip(part, map(_finite, values), strict=True))
            cache.put(fingerprint, found)
            known |= found
        for content, row in zip(contents, rows, strict=True):
            value = known[content]
            if value is not None:
                row[scorer.name] = value
    return rows


def score(
    prompts: Mapping[str, Prompt],
    rollouts: Sequence[Rollout],
    settings: ScorerSettings,
    resources: Resources,
    cache: ScoreCache | None = None,
) -> list[dict[str, float]]:
    """``score_candidates`` of rollouts, by the scorers of ``settings.weights``.

    Args:
        prompts: the prompt of every rollout by ``prompt_id``.
    """
    candidates = [of_rollout(prompts[one.prompt_id], one) for one in rollouts]
    scorers = [find(name) for name in settings.weights]
    return score_candidates(candidates, scorers, settings, resources, cache or ScoreCache())


def compare_pairs(
    pairs: Sequence[tuple[Candidate, Candidate]], judge: Judge, cache: ScoreCache
) -> list[Duel]:
    """``Judge.compare`` of pairs that are not in ``cache`` yet; equal pairs are judged once."""
    forward, backward = (f"{way} {judge.fingerprint}" for way in ("forward", "backward"))
    contents = [content_id(left.content, right.content) for left, right in pairs]
    ahead, back = cache.known(forward, contents), cache.known(backward, contents)
    there = ahead.keys() & back.keys()
    todo = {key: pair for key, pair in zip(contents, pairs, strict=True) if key not in there}
    for part in _parts(todo, judge):
        duels = judge.compare([todo[key] for key in part])
        for way, known, side in ((forward, ahead, "forward"), (backward, back, "backward")):
            found = {key: getattr(duel, side) for key, duel in zip(part, duels, strict=True)}
            cache.put(way, found)
            known.update(found)
    return [
        Duel(_verdict(ahead[key]), _verdict(back[key]), settle(left, right) is None)
        for key, (left, right) in zip(contents, pairs, strict=True)
    ]


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """``items``, ``size`` at a time."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


def _parts(todo: Mapping[str, object], judge: Judge | None) -> Iterator[list[str]]:
    """The keys of what is asked before it is kept: all, or what a judge is asked at once."""
    size = judge.at_once if judge is not None else None
    return chunks(todo, size or max(len(todo), 1))


def _verdict(value: float | None) -> int | None:
    return None if value is None else int(value)


def _finite(value: float | None) -> float | None:
    """A score that JSON can hold: one that is no number is missing."""
    return value if value is not None and math.isfinite(value) else None


def mean(scores: Mapping[str, float], weights: Mapping[str, float]) -> float | None:
    """The weighted mean of the scores that are there; None where none of them has a weight."""
    there = {name: weights[name] for name in scores if weights.get(name, 0) > 0}
    whole = sum(there.values())
    return sum(there[name] * scores[name] for name in there) / whole if there else None


def total(scores: Mapping[str, float], weights: Mapping[str, float]) -> float | None:
    """As ``mean``, but None where a score that counts is missing: such means do not compare.

    A prompt without a specification has no score of the verifier; that one is not missed.
    """
    missed = [name for name, weight in weights.items() if weight > 0 and name not in scores]
    return mean(scores, weights) if set(missed) <= {"verifier"} else None


def aggregate(scores: Mapping[str, float], settings: ScorerSettings) -> float:
    """``mean`` by the weights of settings; 0 where there is none."""
    return mean(scores, settings.weights) or 0.0
