"""What a fit tells ``on_step`` after each step, and what that may answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable


@dataclass(frozen=True)
class StepInfo:
    """``step`` of ``steps`` is done; ``metrics`` is the row that is logged for it.

    ``history`` holds the rows of the steps before, those before an interruption too where the fit
    keeps a metrics file. Of several processes only the first has all of them; its answer counts.
    """

    step: int
    steps: int
    metrics: Mapping[str, float]
    tokens: int
    history: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Change:
    """A change to what is left of a fit; it goes on with the next step.

    Args:
        back: the marked weights (those of the start where none were marked) are put back. The
            optimiser forgets its momentum, which led away from them, and keeps its second moments,
            which are scales. Steps already taken stay counted, so that a fit always ends.
        rate: every learning rate to come is multiplied by it, on top of earlier changes.
        share: given to the source's ``remix``, which must then be a ``Mixture``.
    """

    back: bool = False
    rate: float = 1.0
    share: float | None = None


Action = Literal["mark", "stop", "rollback"] | Change
"""``mark`` remembers the weights as good, ``stop`` ends the fit, ``rollback`` puts back the marked
weights and ends it."""


@runtime_checkable
class Mixture(Protocol):
    """A source of two kinds of text, whose shares can change while it is read."""

    def remix(self, step: int, share: float) -> None:
        """From the window of ``step`` on, ``share`` of the tokens are to be general text.

        Part of the source's ``state``: a resumed fit must see the same windows.
        """
