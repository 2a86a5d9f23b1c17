"""Which model is in use: promotion and rollback, each compared with what its asker believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from burnish.config import InputError, Problem
from burnish.store.registry import Move, Registry
from burnish.tracing.card import write_card
from burnish.tracing.models import damaged


@dataclass(frozen=True)
class Moved:
    """An alias was moved from ``before`` (None: nowhere) to ``after``; ``card`` was written."""

    before: str | None
    after: str
    card: Path | None = None


def promote(
    registry: Registry, ref: str, reason: str, alias: str = "champion", expected: str | None = None
) -> Moved:
    """Point ``alias`` to a registered model, if it is whole, and write its card.

    Args:
        expected: where the asker saw the alias, ``""`` for nowhere; None: where it is now.

    Raises:
        InputError: it is not registered, no model, or not what was registered.
        AliasMovedError: the alias is elsewhere by now.
    """
    entry = registry.get(ref)
    if entry.kind != "model":
        found = f"{entry.ref} is of kind {entry.kind}"
        raise InputError(Problem("", None, "ref", found, "expected a model"))
    refuse_damaged(registry, entry.ref)
    before = registry.alias(alias)
    registry.set_alias(alias, entry.ref, before or "" if expected is None else expected, reason)
    return Moved(before, entry.ref, write_card(registry, entry.ref))


def rollback(
    registry: Registry, reason: str, alias: str = "champion", expected: str | None = None
) -> Moved:
    """Point ``alias`` to where it was before; again for the place before that.

    Raises:
        InputError: it has no earlier place, or the model there is not what was registered.
        AliasMovedError: the alias is not where the asker ``expected`` it.
    """
    now, history = registry.alias(alias), places(registry.moves(alias))
    if now is None or len(history) < 2:
        found = f"{alias} has no earlier place"
        raise InputError(Problem(str(registry.path), None, "", found, "nothing to roll back to"))
    refuse_damaged(registry, history[-2])
    registry.set_alias(alias, history[-2], now if expected is None else expected, reason)
    return Moved(now, history[-2])


def places(moves: Sequence[Move]) -> list[str]:
    """Where an alias has been, without what was rolled back; its present place comes last."""
    history: list[str] = []
    for move in moves:
        if move.done and move.after in history:
            del history[history.index(move.after) + 1 :]
        elif move.done:
            history.append(move.after)
    return history


def refuse_damaged(registry: Registry, ref: str) -> None:
    """Raise InputError where a model that is to be used is not what was registered."""
    faults = damaged(registry, [ref])[ref]
    if faults:
        raise InputError([Problem(registry.get(ref).path, None, ref, fault) for fault in faults])
