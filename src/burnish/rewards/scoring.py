"""Scores of many replies, each computed once and kept; their weighted mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from burnish.records import Prompt, Rollout
from burnish.rewards.candidates import Candidate, of_rollout
from burnish.rewards.scorers import Resources, Scorer, ScorerSettings, find
from burnish.store.metrics import Metrics


class ScoreCache:
    """Scores by (fingerprint of the scorer, content of the reply); in a JSONL file where given.

    A line holds the scores of one call, so that a process that is killed loses one call at most.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._log = None if path is None else Metrics(path)
        self._known: dict[tuple[str, str], float | None] = {}
        for row in [] if self._log is None else self._log.read():
            scorer, scores = row.get("scorer"), row.get("scores")
            if isinstance(scorer, str) and isinstance(scores, dict):
                self._known.update({(scorer, content): v for content, v in scores.items()})

    def missing(self, scorer: str, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those without a score, each content once."""
        todo = {one.content: one for one in candidates if (scorer, one.content) not in self._known}
        return list(todo.values())

    def put(
        self, scorer: str, candidates: Sequence[Candidate], values: Sequence[float | None]
    ) -> None:
        """Keep scores; None is a score that is missing and is not asked for again."""
        scores = {one.content: value for one, value in zip(candidates, values, strict=True)}
        if self._log is not None:
            self._log.append({"scorer": scorer, "scores": scores})
        self._known.update({(scorer, content): value for content, value in scores.items()})

    def get(self, scorer: str, candidate: Candidate) -> float | None:
        """A score that was put; raises KeyError where none was."""
        return self._known[scorer, candidate.content]


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
    for scorer in scorers:
        fingerprint = scorer.fingerprint(settings, resources)
        todo = cache.missing(fingerprint, candidates)
        if todo:
            cache.put(fingerprint, todo, scorer.values(todo, settings, resources))
        for one, row in zip(candidates, rows, strict=True):
            value = cache.get(fingerprint, one)
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


def total(scores: Mapping[str, float], weights: Mapping[str, float]) -> float | None:
    """The weighted mean of the scores that are there; None where none of them has a weight."""
    there = {name: weights[name] for name in scores if weights.get(name, 0) > 0}
    whole = sum(there.values())
    return sum(there[name] * scores[name] for name in there) / whole if there else None


def aggregate(scores: Mapping[str, float], settings: ScorerSettings) -> float:
    """``total`` by the weights of settings; 0 where there is none."""
    return total(scores, settings.weights) or 0.0
