"""Memory of loading and saving by several processes: ``python -m benchmarks.sharded_memory``.

A Llama with random weights, about 400 MiB in one file, is loaded and saved once divided over two
processes that torchrun starts, and once by a single process, whole. Measured is by how much the
resident size of each grew at most over what it had before, pages of files that it maps included;
estimated is what ``burnish plan --devices`` says of these moments.

As in ``benchmarks.memory`` freed memory goes back to the system at once.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.memory import AT_ONCE, FIRST, ROOT, forget, resident
from burnish.config import process

PROCESSES = 2
SHAPE = {
    "model_type": "llama", "num_hidden_layers": 16, "hidden_size": 768, "intermediate_size": 2048,
    "num_attention_heads": 12, "num_key_value_heads": 6, "vocab_size": 4096,
    "max_position_embeddings": 512, "tie_word_embeddings": False,
}  # fmt: skip


def write(folder: Path, shape: Mapping[str, Any]) -> None:
    """A model folder with random weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from burnish.models.load import load_tokenizer

    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.for_model(**shape)).save_pretrained(folder)
    load_tokenizer("burnish-tiny").save_pretrained(folder)


def measure(work: Path) -> dict[str, int]:
    """Load and save here: bytes by which this process grew at most during each."""
    import gc

    from burnish.engine import ranks
    from burnish.models.load import load_model, save_model

    # What a process loads once is not the model's.
    first = load_model(work / "first", device="cpu", divide=True)
    save_model(first.model, first.tokenizer, work / f"first-{ranks.count()}")
    del first
    gc.collect()
    before = resident("VmRSS")
    forget()
    loaded = load_model(work / "model", device="cpu", divide=True)
    found = {"loading": resident("VmHWM") - before}
    forget()
    save_model(loaded.model, loaded.tokenizer, work / f"saved-{ranks.count()}")
    found["saving"] = resident("VmHWM") - before
    return found


def job(work: Path) -> None:
    """What each process does: measure, and leave the figures in ``work``."""
    from burnish.engine import ranks

    if process.count() > 1:
        ranks.join()
    name = f"{ranks.count()}-{ranks.index()}.json"
    (work / name).write_text(json.dumps(measure(work)), encoding="utf-8")
    if process.count() > 1:
        ranks.leave()


def estimated(folder: Path) -> dict[str, int]:
    """Bytes by moment on each of the processes, without any weights."""
    import torch

    from burnish.loop.needs import divided_moments
    from burnish.models.outline import outline

    model = outline(str(folder), torch.float32)
    moments = divided_moments(model, PROCESSES, {}, {})
    return {"whole": model.weights, **{need.moment: need.total for need in moments}}


def run(work: Path, processes: int) -> list[dict[str, int]]:
    """The figures of each of some processes."""
    searched = {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    done = subprocess.run(
        [sys.executable, *(launch if processes > 1 else []), "-m", "benchmarks.sharded_memory",
         "--job", str(work)],
        cwd=ROOT,
        env=os.environ | searched | AT_ONCE,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return [json.loads((work / f"{processes}-{n}.json").read_text()) for n in range(processes)]


def same(work: Path) -> bool:
    """Whether what both saved has the same bits as what was loaded."""
    import torch
    from safetensors.torch import load_file

    def tensors(folder: Path) -> dict[str, torch.Tensor]:
        found = {}
        for path in folder.glob("model*.safetensors"):
            found |= load_file(path)
        return found

    given = tensors(work / "model")
    return all(
        given.keys() == saved.keys() and all(torch.equal(given[n], saved[n]) for n in given)
        for saved in map(tensors, (work / "saved-1", work / f"saved-{PROCESSES}"))
    )


def compare(shape: Mapping[str, Any] = SHAPE) -> dict[str, Any]:
    """All figures: those of one process, of each of several, estimated, and whether bits agree."""
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        write(work / "model", shape)
        write(work / "first", {**shape, **FIRST, "vocab_size": shape["vocab_size"]})
        return {
            "estimated": estimated(work / "model"),
            "alone": run(work, 1)[0],
            "divided": run(work, PROCESSES),
            "same": same(work),
        }


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("--json", action="store_true", help="figures in bytes")
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.job:
        job(chosen.job)
        return
    found = compare()
    if chosen.json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    rows = {"one process, whole": found["alone"]}
    rows |= {f"process {n + 1} of {PROCESSES}": one for n, one in enumerate(found["divided"])}
    rows[f"estimated for {PROCESSES}"] = found["estimated"]
    sys.stdout.write(f"weights: {found['estimated']['whole'] / 2**20:,.0f} MiB; ")
    sys.stdout.write(f"saved bit for bit: {'yes' if found['same'] else 'NO'}\n\n")
    sys.stdout.write("| | loading MiB | saving MiB |\n| --- | --- | --- |\n")
    for name, figures in rows.items():
        mib = [figures[moment] / 2**20 for moment in ("loading", "saving")]
        sys.stdout.write(f"| {name} | {mib[0]:,.0f} | {mib[1]:,.0f} |\n")


if __name__ == "__main__":
    process.tune()
    main()
