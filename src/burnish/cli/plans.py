"""Show a plan: what each stage would do and what from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich import box
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from burnish.loop.plan import StagePlan

MOST = 3


def plan_rows(plans: Sequence[StagePlan]) -> list[dict[str, Any]]:
    """Plans as plain JSON."""
    return [asdict(plan) for plan in plans]


def plan_table(plans: Sequence[StagePlan], title: str) -> Table:
    """One row a stage, what runs once apart from what runs each round."""
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for column in ("stage", "does", "from"):
        table.add_column(column, overflow="fold")
    part = ""
    for plan in plans:
        if plan.part != part:
            part = plan.part
            table.add_section()
            table.add_row(f"[bold]{part}[/bold]")
        does = f"{plan.stage}\n[dim]{plan.makes}[/dim]"
        table.add_row(f"  {plan.name}", does, sources(plan.inputs))
    return table


def sources(inputs: dict[str, str]) -> str:
    """The first few references, shipped files by their names alone."""
    refs = list(dict.fromkeys(ref.removeprefix("burnish:") for ref in inputs.values()))
    more = f"\n[dim]and {len(refs) - MOST} more[/dim]" if len(refs) > MOST else ""
    return "\n".join(escape(ref) for ref in refs[:MOST]) + more
