"""Records of any kind to the replies in them, and back to rows with scores beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from burnish.records import Example, Feedback, Message, Preference, Prompt, Record, Rollout
from burnish.rewards.candidates import Candidate, of_rollout
from burnish.rewards.scoring import total

SCORABLE = (Example, Feedback, Preference, Rollout)
"""The kinds of records that hold replies."""


def candidates_of(record: Record, prompts: Mapping[str, Prompt]) -> list[Candidate]:
    """The replies of a record: one, or the chosen and the rejected one of a preference.

    Of an example it is the last turn of the assistant.

    Args:
        prompts: by id; gives the specification to verify a reply by. A rollout names its prompt, of
            other records the prompt has the same id or is among their parents.

    Raises:
        TypeError: a record of another kind.
    """
    if isinstance(record, Rollout):
        return [of_rollout(prompts.get(record.prompt_id), record)]
    known = [prompts[name] for name in (record.id, *record.parents) if name in prompts]
    verify = known[0].verify if known else None
    if isinstance(record, Preference):
        sides = (("chosen", record.chosen), ("rejected", record.rejected))
        return [
            _candidate(record, f"{record.id} {side}", [*record.prompt, *turns], verify)
            for side, turns in sides
        ]
    if isinstance(record, Feedback):
        turns = [*record.prompt, *record.completion]
        return [_candidate(record, record.id, turns, verify)]
    if isinstance(record, Example):
        last = max(at for at, turn in enumerate(record.messages) if turn["role"] == "assistant")
        return [_candidate(record, record.id, record.messages[: last + 1], verify)]
    raise TypeError(f"{type(record).__name__} records hold no replies")


def _candidate(
    record: Record, name: str, turns: Sequence[Message], verify: Mapping[str, Any] | None
) -> Candidate:
    return Candidate(name, turns[:-1], turns[-1]["content"], record.lang, verify)


def scored_row(
    record: Record,
    scores: Sequence[Mapping[str, float]],
    weights: Mapping[str, float],
    pairwise: int | None = None,
) -> dict[str, Any]:
    """A record's fields with its scores.

    ``scores`` and ``total`` are added; in a rollout they are its ``scores`` and ``reward``. A
    preference has both by side, ``pairwise`` (1 the judge prefers the chosen reply, -1 the
    rejected, 0 neither, null missing), and as ``margin`` the difference of its totals.
    """
    row = asdict(record)
    totals = [total(each, weights) for each in scores]
    if isinstance(record, Preference):
        sides = ("chosen", "rejected")
        row["scores"] = {side: dict(each) for side, each in zip(sides, scores, strict=True)}
        row["total"] = dict(zip(sides, totals, strict=True))
        row["pairwise"] = pairwise
        if totals[0] is not None and totals[1] is not None:
            row["margin"] = totals[0] - totals[1]
        return row
    row["scores"] = row.get("scores", {}) | dict(scores[0])
    row["reward" if isinstance(record, Rollout) else "total"] = totals[0]
    if isinstance(record, Rollout) and totals[0] is None:
        row["reward"] = record.reward
    return row
