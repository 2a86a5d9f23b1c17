"""Lay what a run made on its desk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from burnish.config import InputError, Problem
from burnish.records import Preference
from burnish.review.desk import Desk, place
from burnish.review.items import gold_items, items_of
from burnish.review.queue import ReviewSettings, lay_out
from burnish.review.singles import singles_of

GIVEN = "gold"


def fill(run: Path, settings: ReviewSettings, gold: Sequence[Preference] = ()) -> int:
    """Put the items of every round on the desk that are not there yet; returns how many.

    Args:
        gold: pairs whose chosen reply is known to be the better one; without any they are taken
            from pairs that a verifier decides.

    Raises:
        InputError: the run made nothing to review, or a file of it cannot be read.
    """
    found = items_of(run) + (singles_of(run) if settings.singles else [])
    if not found:
        expected = "preferences.jsonl or rollouts.jsonl in an artifact"
        raise InputError(Problem(str(run), None, "", "made no replies to review yet", expected))
    with Desk(place(run)) as desk:
        lying = [case.item for case in desk.cases()]
        known, held = {one.id for one in lying}, Counter(one.round for one in lying)
        new = 0
        for round in sorted({one.round for one in found}):
            fresh = [one for one in found if one.round == round and one.id not in known]
            room = settings.most - held[round]
            if fresh and room > 0:
                given = gold_items(gold, GIVEN, round) if gold else []
                pairs = [one for one in fresh if not one.single]
                singles = [one for one in fresh if one.single]
                own = settings.model_copy(update={"most": room})
                placed = lay_out(pairs, singles, given, own)
                new += desk.add(placed, settings)
    return new
