"""Show a plan: what each stage would do and what from."""

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


def plan_table(plans: Sequence[StagePlan], title: str) -> Table:
    """One row a stage; a line parts what runs once from what runs each round."""
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for column in ("when", "stage", "does", "from"):
        table.add_column(column, overflow="fold")
    part = plans[0].part if plans else ""
    for plan in plans:
        if plan.part != part:
            table.add_section()
            part = plan.part
        does = f"{plan.stage}\n[dim]{plan.makes}[/dim]"
        sources = ", ".join(dict.fromkeys(plan.inputs.values()))
        table.add_row(plan.part, plan.name, does, f"{sources}\n[dim]{plan.mib:g} MiB[/dim]")
    return table
