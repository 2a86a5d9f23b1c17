"""Fits that one process and several must do alike; as a program, what each of several does.

``torchrun --nproc-per-node 2 -m tests.engine.several FOLDER`` leaves ``FOLDER/<rank>.pt``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from tests.engine import fits
from torch.distributed.fsdp import FSDPModule

from burnish.config import Interrupted
from burnish.engine import (
    Action,
    Change,
    DatasetSource,
    FitResult,
    ReplaySource,
    StepInfo,
    TrainingDiverged,
    named_trainable,
    ranks,
    shards,
    train,
)
from burnish.engine.window import accumulate
from burnish.models.adapters import LoraSettings, attach
from burnish.models.heads import ScalarHead, score_segments
from burnish.objectives.reward import bradley_terry
from burnish.objectives.types import Loss
from burnish.text.batches import Batch, pack

CUT = 7
Done = dict[str, Any]


def torchrun(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Two processes of a module, in ``folder``; both must end well."""
    launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    done = subprocess.run(
        [sys.executable, "-m", *launch, *arguments],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done


def model() -> Any:
    """Tied, without dropout; 65 rows of embeddings are not half as many for each of two."""
    return fits.model(attention_dropout=0.0, vocab_size=65)


def outcome(result: FitResult, weights: dict[str, torch.Tensor]) -> Done:
    """What is compared: the log without the clock's readings, and the weights."""
    rows = [{k: v for k, v in row.items() if k not in fits.TIMES} for row in result.history]
    return {"rows": rows, "weights": weights}


def language(**arguments: Any) -> Done:
    """Clipped at some steps and not at others; evaluated on three batches of unequal size; ends
    with the best of its averaged weights."""
    trained = model()
    held = [pack(fits.segments(n, seed=n)) for n in (1, 4, 2)]

    @torch.no_grad()
    def evaluate() -> dict[str, float]:
        return {"loss": accumulate(trained, fits.nll, held).loss}

    changes = {"eval_every": 3, "clip_norm": 2.0, "extras": {"ema": 0.5}}
    result = fits.fit(trained, changes, evaluate=evaluate, **arguments)
    return outcome(result, fits.weights(trained)) | {"after": evaluate()["loss"]}


def pairs() -> Done:
    """A head outside the model, on pairs that belong together; an odd number of micro-batches."""
    trained, head = model(), ScalarHead(16, std=0.1)
    rows = fits.segments(22)
    settings = fits.settings(segments_per_step=3, tokens_per_batch=1, clip_norm=0.5)
    source = DatasetSource(list(zip(rows[::2], rows[1::2], strict=True)), settings, seed=5)

    def loss(model: Any, batch: Batch) -> Loss:
        scores = score_segments(model, head, batch)
        return bradley_terry(scores[0::2], scores[1::2], centring=0.1)

    both = named_trainable(model=trained, head=head)
    result = train(trained, source, loss, settings, seed=7, trainable=both)
    return outcome(result, fits.weights(trained) | fits.weights(head))


def adapted() -> Done:
    """An adapter, the rest frozen; layers computed again in backward."""
    trained = attach(model(), LoraSettings(r=3))
    result = fits.fit(trained, {"extras": {"checkpoint_activations": True}})
    return outcome(result, fits.weights(trained))


def changed() -> Done:
    """Goes back, lowers the rate and takes in more general text on the way."""
    trained, settings = model(), fits.settings(epochs=1)
    rows, spare = fits.segments(23), fits.segments(20, seed=1)
    general = [number % 2 == 0 for number in range(23)]
    source = ReplaySource(rows, settings, seed=5, general=general, spare=spare)
    script: dict[int, Action] = {1: "mark", 3: Change(True, rate=0.5, share=0.9)}
    result = train(trained, source, fits.nll, settings, seed=7,
                   on_step=lambda info: script.get(info.step))  # fmt: skip
    return outcome(result, fits.weights(trained))


def noisy(**arguments: Any) -> Done:
    """Dropout and noise, so that the random state of each process matters."""
    trained = fits.model()
    result = fits.fit(trained, {"extras": {"neftune": 5.0}}, **arguments)
    return outcome(result, fits.weights(trained))


def cut(fit: Callable[..., Done], scratch: Path, **arguments: Any) -> str:
    """The message of a fit that is interrupted after step CUT, by a signal to the last process."""

    def watch(info: StepInfo) -> None:
        if info.step == CUT and ranks.index() == ranks.count() - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        fit(scratch=scratch, on_step=watch, **arguments)
    except Interrupted as error:
        return str(error)
    return "not interrupted"


def poisoned() -> str:
    """The message of a fit in which one record's loss is not a number."""

    def loss(model: Any, batch: Batch) -> Loss:
        found = fits.nll(model, batch)
        bad = float("nan") if "record-11" in batch.ids else 1.0
        return Loss(found.total * bad, found.count, found.metrics)

    try:
        fits.fit(model(), loss=loss)
    except TrainingDiverged as error:
        return str(error)
    return "not stopped"


def averaged() -> Done:
    """The mistake of every other trainer: gradients averaged over processes, not summed."""
    with mock.patch.object(FSDPModule, "set_gradient_divide_factor"):
        return language()


def counted_twice() -> Done:
    """Another: the micro-batch that fills a gap is counted."""
    with mock.patch("burnish.engine.window._uncounted", lambda found: found):
        return pairs()


def held() -> dict[str, int]:
    """How many of a model's numbers this process holds while it is fitted, and in how many parts
    they are gathered."""
    trained = model()
    whole = sum(weight.numel() for weight in trained.parameters())
    with shards.shared(trained, named_trainable(model=trained)) as share:
        own = sum(weight.numel() for weight in share.trainable.values())
        left = sum(weight.numel() for weight in trained.parameters())
        groups = sum(isinstance(module, FSDPModule) for module in share.model.modules())
    return {"whole": whole, "own": own, "left": left, "groups": groups}


def main(folder: Path) -> None:
    """Every fit of this file; FOLDER/one holds a checkpoint that a single process left."""
    torch.set_num_threads(1)
    ranks.join()
    done: dict[str, Any] = {"language": language(metrics=folder / "whole.jsonl")}
    done |= {"pairs": pairs(), "adapted": adapted(), "noisy": noisy(), "changed": changed()}
    done |= {"averaged": averaged(), "counted twice": counted_twice()}
    done |= {"poisoned": poisoned(), "held": held()}
    done["cut"] = cut(noisy, folder / "two", metrics=folder / "two.jsonl")
    done["2 to 2"] = noisy(scratch=folder / "two", metrics=folder / "two.jsonl")
    done["cut for one"] = cut(language, folder / "for one")
    done["1 to 2"] = language(scratch=folder / "one")
    torch.save(done, folder / f"{ranks.index()}.pt")
    ranks.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
