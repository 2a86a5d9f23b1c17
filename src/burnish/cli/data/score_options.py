"""What ``data score`` is asked for: scorers with weights, and whether their means are given."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from burnish.config import InputError, Problem, is_served

if TYPE_CHECKING:
    from burnish.records import Record
    from burnish.rewards.ensemble import Aggregate
    from burnish.rewards.scorers import Scorer

SEED_SCORERS = "relevance,completeness,fluency"
PAIRWISE = "pairwise"


def parse_scorers(text: str) -> tuple[list[Scorer], dict[str, float], bool]:
    """Scorers, their weights by name, and whether pairs are to be compared.

    Raises:
        InputError: an unknown scorer, or a weight that is none.
    """
    from burnish.rewards.scorers import SCORERS, find, own_scorer

    sys.path.insert(0, str(Path.cwd()))
    found: list[Scorer] = []
    weights: dict[str, float] = {}
    pairwise = False
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, weight = item.partition("=")
        if name == PAIRWISE and not equals:
            pairwise = True
            continue
        try:
            scorer = own_scorer(name) if ":" in name else find(name)
            weights[name] = float(weight) if equals else scorer.weight
        except ValueError:
            expected = f"one of {', '.join(SCORERS)}, {PAIRWISE} or module:function; name=0.4"
            raise InputError(Problem("", None, "--scorers", f"found {item!r}", expected)) from None
        if not 0 <= weights[name] < math.inf or (weights[name] and scorer.highest > 1):
            expected = "a weight from 0; one without an upper end cannot be part of a mean"
            raise InputError(Problem("", None, "--scorers", f"found {item!r}", expected))
        found.append(scorer)
    if not found and not pairwise:
        raise InputError(Problem("", None, "--scorers", "none given", f"such as {SEED_SCORERS}"))
    return found, weights, pairwise


def parse_aggregate(text: str) -> Aggregate:
    """``mean``, ``min``, ``lower`` or ``lower=1.5``; raises InputError for anything else."""
    from burnish.rewards.ensemble import Aggregate

    kind, equals, k = text.partition("=")
    try:
        return Aggregate.model_validate({"kind": kind} | ({"k": k} if equals else {}))
    except ValueError:
        expected = "mean, min, or lower=K (the mean less K standard deviations)"
        raise InputError(Problem("", None, "--aggregate", f"found {text!r}", expected)) from None


def check_needs(
    scorers: Sequence[Scorer], pairwise: bool, kind: type[Record], **given: str | None
) -> None:
    """Refuse scorers whose means are not given; raises InputError."""
    from burnish.records import Preference
    from burnish.stages.scoring import unmet

    problems = [
        Problem("", None, "--scorers", missing.replace(" needs ", " needs --"))
        for missing in unmet(scorers, pairwise, given)
    ]
    if given["model"] is not None and is_served(given["model"]):
        expected = "a model with weights here: a server gives no likelihoods"
        problems.append(Problem("", None, "--model", f"found {given['model']!r}", expected))
    if pairwise and not issubclass(kind, Preference):
        problems.append(Problem("", None, "--scorers", f"{PAIRWISE} needs preference records"))
    if problems:
        raise InputError(problems)
