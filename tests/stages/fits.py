"""What the tests of fit stages share: a context in a temporary folder, and a saved tiny model."""

from __future__ import annotations

from pathlib import Path

from tests import tiny

from burnish.engine import SilentProgress
from burnish.models.load import save_model
from burnish.stages.base import Context


def context(folder: Path) -> Context:
    """A stage's context whose output, scratch and metrics lie in ``folder``."""
    output = folder / "output"
    output.mkdir()
    return Context(
        name="fit",
        round=1,
        seed=0,
        output=output,
        scratch=folder / "scratch",
        cache=folder / "cache",
        metrics=folder / "metrics.jsonl",
        registry=folder / "registry.sqlite",
        progress=SilentProgress(),
        device="cpu",
    )


def saved_model(folder: Path) -> str:
    """A tiny model on disk."""
    return str(save_model(tiny.model(), tiny.tokenizer(), folder / "model"))
