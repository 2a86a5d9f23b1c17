"""Show a plan: what each stage would do and what from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich import box
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from burnish.loop.estimate import Estimate, Estimates
    from burnish.loop.plan import StagePlan

MOST = 3
GIB, MIB = 2**30, 2**20
PARTS = {
    "weights": "weights", "shares": "their shares", "gathered": "gathered",
    "gradients": "gradients", "optimizer": "optimiser", "copies": "kept copies",
    "frozen": "other models", "critic": "critic", "activations": "activations",
    "work": "logits and work",
    "cache": "KV cache",
}  # fmt: skip


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
        if plan.replies or plan.tokens != 0:
            does += f"\n{_amounts(plan)}"
        table.add_row(f"  {plan.name}", does, sources(plan.inputs))
    return table


def _amounts(plan: StagePlan) -> str:
    """What one run of a stage goes through."""
    said = [f"{plan.replies:,.0f} replies"] if plan.replies else []
    if plan.tokens is None:
        said.append("trains on data still to be made")
    elif plan.tokens:
        said.append(f"{plan.tokens:,.0f} tokens")
    return " · ".join(said)


def plan_totals(plans: Sequence[StagePlan]) -> str:
    """All stages with all their rounds, in a sentence."""
    tokens = sum(plan.times * (plan.tokens or 0) for plan in plans)
    replies = sum(plan.times * plan.replies for plan in plans)
    open_ = [plan.name for plan in plans if plan.tokens is None]
    mib = sum(plan.mib for plan in plans)
    text = f"In all at most {tokens:,.0f} tokens trained on and {replies:,.0f} replies, from "
    text += f"{mib:,.1f} MiB of data."
    if open_:
        text += f" Without {', '.join(open_)}, whose data are still to be made."
    return f"{text} Hours and memory: --devices, such as 8xH100 or cpu."


def sources(inputs: dict[str, str]) -> str:
    """The first few references, shipped files by their names alone."""
    refs = list(dict.fromkeys(ref.removeprefix("burnish:") for ref in inputs.values()))
    more = f"\n[dim]and {len(refs) - MOST} more[/dim]" if len(refs) > MOST else ""
    return "\n".join(escape(ref) for ref in refs[:MOST]) + more


def estimate_rows(found: Estimates) -> dict[str, Any]:
    """Estimates as plain JSON; memory in bytes, ``total_bytes`` the sum of ``need.parts``."""
    stages = [
        {**asdict(stage), "total_bytes": stage.need.total, "usable_bytes": found.device.usable}
        for stage in found.stages
    ]
    device = {**asdict(found.device), "dtype": str(found.device.dtype).removeprefix("torch.")}
    return {"device": device, "devices": found.devices, "data": found.how, "estimates": stages}


def estimate_table(found: Estimates, title: str) -> Table:
    """One row a stage: what each device holds at the fullest moment, and how long it takes."""
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for column in ("stage", "a device needs", "of which"):
        table.add_column(column, overflow="fold")
    part = ""
    for stage in found.stages:
        if stage.part != part:
            part = stage.part
            table.add_section()
            table.add_row(f"[bold]{part}[/bold]")
        ones = "" if stage.devices == found.devices else f"\n[dim]on {stage.devices} device[/dim]"
        verdict = "[green]fits[/green]" if stage.fits else "[red]does not fit[/red]"
        needs = [f"{amount(stage.need.total)} of {amount(found.device.usable)}", verdict]
        table.add_row(f"  {stage.name}{ones}", "\n".join(needs + _speed(stage)), _parts(stage))
    return table


def _parts(stage: Estimate) -> str:
    shown = [f"{PARTS[name]} {amount(size)}" for name, size in stage.need.parts.items() if size]
    count = f"{stage.parameters / 1e6:,.1f} M parameters"
    if stage.trained and stage.trained != stage.parameters:
        count += f", {stage.trained / 1e6:,.1f} M trained"
    lines = [", ".join(shown), f"[dim]{count}; fullest while {stage.need.moment}[/dim]"]
    if stage.exchanged:
        lines.append(f"[dim]sends {amount(stage.exchanged)} a micro-batch[/dim]")
    if stage.instead:
        lines.append(f"[red]fits with:[/red] {'; '.join(stage.instead)}")
    return "\n".join(lines)


def _speed(stage: Estimate) -> list[str]:
    if not stage.tokens_per_second:
        return []
    speed = f"{stage.tokens_per_second:,.0f} tokens/s"
    if stage.hours is not None:
        return [speed, took(stage.hours)]
    return [speed, f"{took(1e6 / stage.tokens_per_second / 3600)} per 1 M tokens"]


def took(hours: float) -> str:
    """A time for reading."""
    if hours >= 1:
        return f"{hours:,.1f} h"
    return f"{60 * hours:.1f} min" if hours >= 1 / 60 else f"{3600 * hours:.1f} s"


def amount(size: float) -> str:
    """Bytes for reading."""
    return f"{size / GIB:,.1f} GiB" if size >= GIB else f"{size / MIB:,.0f} MiB"


def basis(found: Estimates) -> str:
    """Where the figures come from, in a few lines."""
    from burnish.engine.devices import UTILISATION

    device = found.device
    speed = f"{device.flops / 1e12:,.4g} TFLOP/s, {device.bandwidth / 1e12:.3g} TB/s"
    share = "" if found.devices == 1 else (
        " Several devices share a fit as FSDP2 does; their network is taken to cost nothing."
    )  # fmt: skip
    hours = sum(stage.times * (stage.hours or 0) for stage in found.stages)
    open_ = [stage.name for stage in found.stages if stage.hours is None]
    without = f" without {', '.join(open_)}, whose data are still to be made" if open_ else ""
    return (
        f"In all {took(hours)}{without}. "
        f"Computed: parameters, the tensors of a step, operations. "
        f"{device.known.capitalize()}: {device.name}, {amount(device.memory)}, {speed}. "
        f"Data: {found.how}. "
        f"Assumed: {device.share:.0%} of the memory and {UTILISATION:.0%} of the arithmetic can be "
        f"used, replies are as long as they may be.{share}"
    )
