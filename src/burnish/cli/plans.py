"""Show a plan: what each stage would do and whether that is there already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from burnish.loop.plan import StagePlan


def plan_rows(plans: Sequence[StagePlan]) -> list[dict[str, Any]]:
    """Plans as plain JSON."""
    return [asdict(plan) for plan in plans]


def plan_table(rows: Sequence[dict[str, Any]], title: str) -> Table:
    """One row a stage; columns are the plan's fields."""
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    names = list(rows[0]) if rows else []
    for name in names:
        table.add_column(name.replace("_", " "))
    for row in rows:
        table.add_row(*(_text(row[name]) for name in names))
    return table


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return " ".join(f"{key}={item}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return str(value)
