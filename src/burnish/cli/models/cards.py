"""``models export-card`` and ``models register``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from burnish.cli.models.opening import Ref, open_registry
from burnish.cli.models_of import resolve_model
from burnish.cli.shared import DEFAULT_RUNS, Runs, example, out, refuse_existing, say
from burnish.config import InputError, Problem


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command(
        "export-card",
        epilog=example(
            "burnish models export-card champion",
            "burnish models export-card ppo@2 --out README.md",
        ),
    )(export_card)
    app.command("register", epilog=example("burnish models register quickstart/sft@1"))(enter)


def export_card(
    ref: Ref,
    out_: Annotated[Path | None, typer.Option("--out", help="File; shown without one.")] = None,
    license_: Annotated[str | None, typer.Option("--license", help="As on the hub.")] = None,
    runs: Runs = DEFAULT_RUNS,
) -> None:
    """Write a model card in Hugging Face's form: data, figures, verdict and limits filled in."""
    from burnish.store.atomic import write_text
    from burnish.tracing.card import model_card
    from burnish.tracing.models import trace

    if out_ is not None:
        refuse_existing(out_)
    with open_registry(runs) as registry:
        card = model_card(trace(registry, ref), license_)
    if out_ is None:
        out.print(card, markup=False, soft_wrap=True)
        return
    write_text(out_, card)
    say(f"wrote {out_}")


def enter(
    model: Annotated[str, typer.Argument(help="A run, or RUN/stage@1 of one.")],
    runs: Runs = DEFAULT_RUNS,
) -> None:
    """Register a model of a run that no gate has judged, with all it was made from."""
    from burnish.stages.release.promote import register as register_artifact
    from burnish.store.artifacts import ArtifactStore
    from burnish.store.registry import Registry

    path = Path(resolve_model(model, runs)).absolute()
    if path.parent.name != "artifacts":
        expected = "expected a run below --runs, or RUN/stage@1"
        raise InputError(Problem(model, None, "", "no artifact of a run", expected))
    with Registry(runs / "registry.sqlite") as registry:
        ref = register_artifact(registry, ArtifactStore(path.parent.parent), path.name)
    say(f"{ref}: {path}")
