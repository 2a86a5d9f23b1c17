"""A desk as it stands: all cases, whose word counts, and what the decisions give."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from burnish.review.desk import Case, Desk
from burnish.review.figures import unreliable
from burnish.review.preferences import Exported, exported
from burnish.review.queue import ReviewSettings


@dataclass(frozen=True)
class People:
    """All cases of a desk, its reviewers, those who do not count (``without``), and what the words
    of the others give."""

    cases: list[Case]
    names: list[str]
    settings: ReviewSettings
    without: frozenset[str]
    found: Exported


def people(path: Path) -> People:
    """What stands on a desk; nothing where there is none.

    Raises:
        CorruptError: the file is damaged.
    """
    if not path.is_file():
        return People([], [], ReviewSettings(), frozenset(), Exported([], [], [], {}))
    with Desk(path) as desk:
        cases, names, settings = desk.cases(), desk.reviewers(), desk.settings
    without = unreliable(cases, settings.bound)
    return People(cases, names, settings, without, exported(cases, len(names), without))
