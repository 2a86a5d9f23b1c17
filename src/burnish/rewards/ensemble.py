"""Several reward models as one: where the members lie in a folder, and how their scores combine.

Members are whole models, not heads on one trunk: heads that share a trunk see the same features of
a reply, so that where these mislead, all heads are misled alike and agree about it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import NonNegativeFloat
from torch import Tensor

from burnish.config import InputError, Problem, Settings
from burnish.store import manifest

SETTINGS = "ensemble.json"
FOLDER = "members"


class Aggregate(Settings):
    """How the members of a reward ensemble become one score: their ``mean``, the ``min`` (worst
    case; Coste et al. 2023, arXiv 2310.02743, eq. 3), or ``lower``, the mean less ``k`` standard
    deviations. A single reward model scores the same by each of them."""

    kind: Literal["mean", "min", "lower"] = "mean"
    k: NonNegativeFloat = 1.0

    def of(self, scores: Tensor) -> Tensor:
        """``[..., M]`` scores of the members to ``[...]``. NaN of one is NaN of all.

        The standard deviation is that of the members as they are (divided by M), so that it is 0
        for one.
        """
        if self.kind == "min":
            return scores.min(-1).values
        mean = scores.mean(-1)
        return mean if self.kind == "mean" else mean - self.k * scores.std(-1, correction=0)


def member_folder(folder: Path, number: int) -> Path:
    """Where member ``number`` lies: the first one is the folder itself, which loads alone."""
    return folder / FOLDER / str(number) if number else folder


def seal(folder: Path, offsets: Sequence[Sequence[float]]) -> None:
    """Make one reward model of the members that lie in ``folder``.

    Args:
        offsets: ``[M][K]``, what is taken from each output of each member, see ``offsets``.
    """
    settings = {"version": 1, "offsets": [list(row) for row in offsets]}
    (folder / SETTINGS).write_text(json.dumps(settings) + "\n", encoding="utf-8")
    manifest.seal(folder)


def offsets(folder: Path) -> list[list[float]]:
    """What ``seal`` was given; nothing where the folder holds a single reward model.

    Bradley–Terry loss says nothing of the level of a member's scores, only of differences. Without
    their own mean taken off, the minimum over members would be that of the lowest level.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / SETTINGS
    if not path.is_file():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["offsets"]
        return [[float(value) for value in row] for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(Problem(str(path), None, "", f"cannot be read: {error}")) from error
