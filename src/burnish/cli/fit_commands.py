"""``fit``: one training stage on its own."""

from __future__ import annotations

import shutil
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from burnish.cli.reward_table import report_of, show_reward
from burnish.cli.shared import AsJson, Set, example, print_json, progress, refuse_existing, say
from burnish.config import process


class Fit(StrEnum):
    """The training stages by name."""

    pretrain = "pretrain"
    sft = "sft"
    distill = "distill"
    reward = "reward"
    dpo = "dpo"
    kto = "kto"
    ppo = "ppo"
    grpo = "grpo"
    online_dpo = "online_dpo"
    router = "router"


DATA_FIELD = {
    Fit.pretrain: "domain",
    Fit.ppo: "prompts",
    Fit.grpo: "prompts",
    Fit.online_dpo: "prompts",
}


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command(
        epilog=example(
            "burnish fit sft --model burnish-tiny --data examples.jsonl --out models/mine",
            "burnish fit dpo --model models/mine --data pairs.jsonl --out models/better "
            "--set train.epochs=2",
        )
    )(fit)


def fit(
    stage: Annotated[Fit, typer.Argument(help="Which stage.")],
    model: Annotated[str, typer.Option("--model", help="A folder, a shipped name or a hub id.")],
    data: Annotated[list[str], typer.Option("--data", help="A data file (repeatable).")],
    out_: Annotated[Path, typer.Option("--out", help="The folder the model is written to.")],
    set_: Set = None,
    json_: AsJson = False,
) -> None:
    """Run one training stage; an interrupted one continues with the same command.

    --set takes the stage's own settings, such as train.learning_rate=1e-4. The recipe reference
    lists them. Started by torchrun, several processes share it.
    """
    from burnish.cli.one_stage import place, record_of, run_stages, work_folder
    from burnish.reporting.alarms import sentence

    if followed():
        return
    refuse_existing(out_)
    settings: dict[str, Any] = {"run": f"fit.{stage}", "model": "@base"}
    settings[DATA_FIELD.get(stage, "data")] = data
    work = work_folder(out_)
    overrides = [f"prepare.{stage}.{item}" for item in set_ or []]
    made = run_stages(
        {str(stage): settings},
        model=model,
        work=work,
        overrides=overrides,
        progress=progress(json_),
    )
    dismiss()
    place(made.folders[str(stage)], out_)
    details = record_of(out_)["details"]
    too_long = details.get("too_long", 0)
    alarms = details.get("alarms", [])
    shutil.rmtree(work)
    if json_:
        figures = made.summary["stages"][0]["figures"]
        shown = {"out": str(out_), "figures": figures, "too_long": too_long, "alarms": alarms}
        print_json(shown | ({"report": report_of(details)} if stage is Fit.reward else {}))
    else:
        if too_long:
            say(f"note: {too_long} records are longer than the model's context and were left out")
        for alarm in alarms:
            say(f"note: {sentence(alarm, 'en')}")
        if stage is Fit.reward:
            show_reward(details)
        say(f"wrote {out_}")


def followed() -> bool:
    """Join the processes that torchrun started; True, when all is done, in all but the first."""
    if process.count() == 1:
        return False
    from burnish.engine import ranks
    from burnish.loop import crew

    ranks.join()
    if not ranks.first():
        progress(quiet=True)
        crew.follow()
    return process.rank() > 0


def dismiss() -> None:
    """Let the other processes go, where there are some."""
    if process.count() > 1:
        from burnish.loop import crew

        crew.dismiss()
