"""Models that two processes hold together; as a program, what each of them does.

``torchrun --nproc-per-node 2 -m tests.models.several FOLDER`` leaves ``FOLDER/<rank>.pt``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from burnish.config import InputError
from burnish.engine import ranks
from burnish.models import divided
from burnish.models.adapters import LoraSettings, attach
from burnish.models.forward import token_logprobs
from burnish.models.load import Loaded, load_model
from burnish.models.save import save_model
from burnish.text.batches import Segment, pack

NAMES = ("tied", "untied")
SMALL = 4096
"""Bytes of a file: so that a tiny model has several."""


def adapted(folder: Path) -> Loaded:
    """A model with an adapter that has been moved, in whatever way it is held."""
    loaded = load_model(folder, divide=True)
    torch.manual_seed(3)
    attach(loaded.model, LoraSettings(r=3))
    for name, weight in loaded.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return loaded


def logprobs(model: Any) -> torch.Tensor:
    """What a model says of two segments, with gradients switched off."""
    batch = pack([Segment(list(range(3, 3 + n)), [True] * n, str(n)) for n in (5, 9)])
    with torch.no_grad():
        return divided.compute(model, token_logprobs, batch).logprobs


def refused(folder: Path) -> str:
    """The message of a model that cannot be loaded."""
    try:
        load_model(folder, divide=True)
    except InputError as error:
        return str(error)
    return "not refused"


def found(folder: Path, name: str) -> dict[str, Any]:
    """Load a model, save it in several files, and say what was seen."""
    loaded = load_model(folder / name, divide=True)
    model = loaded.model
    weights = list(model.parameters())
    seen = {
        "whole": sum(weight.numel() for weight in weights),
        "own": sum(weight.to_local().numel() for weight in weights),  # type: ignore[attr-defined]
        "logprobs": logprobs(model),
        "buffers": dict(model.named_buffers()),
    }
    with mock.patch.object(divided, "FILE", SMALL):
        save_model(model, loaded.tokenizer, folder / f"{name}-saved")
    return seen


def main(folder: Path) -> None:
    """What ``test_divided`` looks at."""
    torch.set_num_threads(1)
    ranks.join()
    done: dict[str, Any] = {name: found(folder, name) for name in NAMES}
    one = adapted(folder / "tied")
    done["adapted"] = logprobs(one.model)
    save_model(one.model, one.tokenizer, folder / "adapted")
    done["renamed"] = divided.is_divided(load_model(folder / "renamed", divide=True).model)
    done["shape"] = refused(folder / "shape")
    for template in ("fits", "wider"):
        model = load_model(folder / template, template="chatml", divide=True).model
        done[template] = divided.is_divided(model)
    torch.save(done, folder / f"{ranks.index()}.pt")
    ranks.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
