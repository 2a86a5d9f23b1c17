"""Scores of many replies, each computed once and kept; their weighted mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from burnish.records import Prompt, Rollout, content_id
from burnish.rewards.candidates import Candidate, of_rollout
from burnish.rewards.judge import Duel, Judge, settle
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

    def missing(self, scorer: str, contents: Iterable[str]) -> set[str]:
        """Those of ``contents`` that have no score."""
        return {content for content in contents if (scorer, content) not in self._known}

    def put(self, scorer: str, scores: Mapping[str, float | None]) -> None:
        """Keep scores by content; None is one that is missing and is not asked for again."""
        if self._log is not None:
            self._log.append({"scorer": scorer, "scores": scores})
        self._known.update({(scorer, content): value for content, value in scores.items()})

    def get(self, scorer: str, content: str) -> float | None:
        """A score that was put; raises KeyError where none was."""
        return self._known[scorer, content]


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
        missing = cache.missing(fingerprint, contents)
        todo = {key: one for key, one in zip(contents, candidates, strict=True) if key in missing}
        if todo:
            values = scorer.values(list(todo.values()), settings, resources)
            cache.put(fingerprint, dict(zip(todo, values, strict=True)))
        for content, row in zip(contents, rows, strict=True):
            value = cache.get(fingerprint, content)
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
    missing = cache.missing(forward, contents) | cache.missing(backward, contents)
    todo = {key: pair for key, pair in zip(contents, pairs, strict=True) if key in missing}
    duels = judge.compare(list(todo.values()))
    cache.put(forward, {key: duel.forward for key, duel in zip(todo, duels, strict=True)})
    cache.put(backward, {key: duel.backward for key, duel in zip(todo, duels, strict=True)})
    return [
        Duel(
            _verdict(cache.get(forward, key)),
            _verdict(cache.get(backward, key)),
            settle(left, right) is None,
        )
        for key, (left, right) in zip(contents, pairs, strict=True)
    ]


def _verdict(value: float | None) -> int | None:
    return None if value is None else int(value)


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
