"""Memory of a fit, estimated and measured: ``python -m benchmarks.memory --help``.

Each measurement is a fresh process that makes a Llama with random weights and fits it for a few
steps with burnish's own loop. Measured is by how much the resident size grew at most over what the
process had before the model; estimated is what ``burnish plan --devices`` says of such a stage.

The estimate is of tensors, so freed memory goes back to the system at once here. By default burnish
keeps it for the next tensors (``config.process``), which is faster and takes more: ``--keep``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from burnish.config import process

ROOT = Path(__file__).resolve().parents[1]
MICRO_BATCHES = 2
AT_ONCE = {"MALLOC_TRIM_THRESHOLD_": str(128 * 2**10)}
"""Gives freed memory back at once, and tells ``config.process`` to leave that alone."""
SHAPES: dict[str, dict[str, Any]] = {
    "small": {"num_hidden_layers": 8, "hidden_size": 256, "intermediate_size": 688,
              "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 2048},
    "smollm2": {"num_hidden_layers": 30, "hidden_size": 576, "intermediate_size": 1536,
                "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152,
                "tie_word_embeddings": True},
}  # fmt: skip

FIRST = {"num_hidden_layers": 1, "hidden_size": 64, "vocab_size": 64,
         "num_attention_heads": 2, "num_key_value_heads": 1}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """What to fit: a shape by name, tokens of a micro-batch and of each segment, and how."""

    shape: str
    tokens: int = 4096
    length: int = 256
    recompute: bool = False
    lora: bool = False
    steps: int = 3

    def config(self) -> dict[str, Any]:
        """The content of config.json."""
        return {"model_type": "llama", "max_position_embeddings": 8192, **SHAPES[self.shape]}


def estimated(job: Job, folder: Path) -> dict[str, int]:
    """Bytes by kind, without any weights."""
    import torch

    from burnish.engine.rehearsal import rehearse
    from burnish.models.adapters import LoraSettings
    from burnish.models.outline import outline

    (folder / "config.json").write_text(json.dumps(job.config()), encoding="utf-8")
    model = outline(str(folder), torch.float32, LoraSettings() if job.lora else None)
    lengths = [job.length] * (job.tokens // job.length)
    found = rehearse(model, lengths, several=MICRO_BATCHES > 1, recompute=job.recompute)
    return {**asdict(found), "total": found.total}


def measured(job: Job) -> dict[str, float]:
    """Fit here, in this process: bytes by which it grew at most, and tokens a second."""
    import gc

    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from burnish.models import adapters
    from burnish.models.fused import fuse

    def make(config: Mapping[str, Any]) -> Any:
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
        fuse(model)
        return adapters.attach(model, adapters.LoraSettings()) if job.lora else model

    # What the first fit of a process loads once is not the model's.
    fit(make({**job.config(), **FIRST}), replace(job, tokens=64, length=64, recompute=False))
    gc.collect()
    before = resident("VmRSS")
    forget()
    seconds = fit(make(job.config()), job)
    tokens = job.tokens * MICRO_BATCHES
    return {"bytes": resident("VmHWM") - before, "tokens_per_second": tokens / seconds}


def fit(model: Any, job: Job) -> float:
    """A few steps, each of some micro-batches; seconds of the last step."""
    from burnish.engine import DatasetSource, TrainSettings, train
    from burnish.models.forward import token_logprobs
    from burnish.objectives import cross_entropy
    from burnish.text.batches import Segment

    count = MICRO_BATCHES * (job.tokens // job.length)
    words = model.config.vocab_size
    segments = [
        Segment([(7 * i + k) % words for k in range(job.length)], [True] * job.length, str(i))
        for i in range(count)
    ]
    settings = TrainSettings(
        epochs=job.steps,
        segments_per_step=count,
        tokens_per_batch=job.tokens,
        extras={"checkpoint_activations": job.recompute},
    )
    result = train(
        model,
        DatasetSource(segments, settings, seed=0),
        lambda model, batch: cross_entropy(token_logprobs(model, batch).logprobs),
        settings,
        seed=0,
    )
    return result.history[-1]["seconds"] - result.history[-2]["seconds"]


def resident(name: str) -> int:
    """``VmRSS`` or ``VmHWM`` (its peak) of this process, in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this system does not tell the memory of a process")


def forget() -> None:
    """The peak of this process begins anew."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def compare(job: Job, keep: bool = False) -> dict[str, Any]:
    """Both, the measurement in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        estimate = estimated(job, Path(folder))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", "--job", json.dumps(asdict(job))],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | ({} if keep else AT_ONCE),
        check=True,
    )
    return {"job": asdict(job), "estimated": estimate, "measured": json.loads(done.stdout)}


def row(found: Mapping[str, Any]) -> str:
    """One line of the table."""
    job, estimate, actual = Job(**found["job"]), found["estimated"], found["measured"]
    kind = ("LoRA" if job.lora else "all weights") + (", recomputed" if job.recompute else "")
    mib = [estimate["total"] / 2**20, actual["bytes"] / 2**20]
    cells = [
        job.shape, kind, f"{job.tokens:,}", f"{mib[0]:,.0f}", f"{mib[1]:,.0f}",
        f"{mib[0] / mib[1] - 1:+.1%}", f"{actual['tokens_per_second']:,.0f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """The table of one shape."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("shape", nargs="?", choices=sorted(SHAPES), default="small")
    parser.add_argument("--tokens", type=int, default=4096, help="tokens of a micro-batch")
    parser.add_argument("--steps", type=int, default=3, help="at least 2, for the moments")
    parser.add_argument("--keep", action="store_true", help="freed memory is kept, as by default")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.job:
        sys.stdout.write(json.dumps(measured(Job(**json.loads(chosen.job)))))
        return
    sys.stdout.write(
        "| model | trains | tokens a micro-batch | estimated MiB | measured MiB | off by "
        "| tokens/s |\n| --- | --- | --- | --- | --- | --- | --- |\n"
    )
    for lora in (False, True):
        for recompute in (False, True):
            job = Job(chosen.shape, chosen.tokens, 256, recompute, lora, chosen.steps)
            sys.stdout.write(row(compare(job, chosen.keep)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    process.tune()
    main()
