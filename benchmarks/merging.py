"""burnish's merges against mergekit's: the same numbers, and what time and memory they take.

    python -m benchmarks.merging                       installs mergekit in .venv-mergekit
    python -m benchmarks.merging --skip-large          only the comparison of numbers

Every merge is a process of its own. CPU seconds are those of all its threads after imports. Writes
benchmarks/RESULTS-merging.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import LlamaConfig

from burnish.merging import merge as streamed
from burnish.merging.settings import MergeSettings
from burnish.models.load import load_empty, load_tokenizer
from burnish.store import atomic, manifest
from burnish.store.shards import SINGLE, ShardReader, ShardWriter, Spec

ROOT = Path(__file__).resolve().parents[1]
PAGE = Path(__file__).with_name("RESULTS-merging.md")
VERSION = "0.1.5"
STREAM = 11
SMALL = {"vocab_size": 2000, "hidden_size": 256, "intermediate_size": 640, "num_hidden_layers": 2}
LARGE = {
    "vocab_size": 32000,
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 27,
}
WEIGHTS, DENSITY, SPREAD, SCALE = [0.7, 0.4], 0.4, 0.1, 0.9
METHODS = (
    "linear", "slerp", "task_arithmetic", "ties", "dare_linear", "dare_ties", "della_linear",
    "della",
)  # fmt: skip
TIMED = ("linear", "ties")
TOLERANCE = 1e-6


def ready(folder: Path) -> Path:
    """The python of mergekit's environment, made where it is missing."""
    sys.path.append(str(ROOT / "tools"))
    from peer import ready as made  # type: ignore[import-not-found]

    python: Path = made(folder, "mergekit", [f"mergekit=={VERSION}"])
    return python


def make(folder: Path, shape: dict[str, int], dtype: torch.dtype) -> list[str]:
    """A base and two models a little away from it, written piece by piece; their folders."""
    config = LlamaConfig(
        num_attention_heads=8, num_key_value_heads=4, tie_word_embeddings=True,
        dtype=str(dtype).removeprefix("torch."), architectures=["LlamaForCausalLM"], **shape,
    )  # fmt: skip
    tokenizer = load_tokenizer("burnish-tiny")
    folders = [folder / name for name in ("base", "one", "two")]
    for place, target in enumerate(folders):
        target.mkdir(parents=True)
        config.save_pretrained(target)
        tokenizer.save_pretrained(target)
        empty = load_empty(target, torch.float32)
        specs = {n: Spec(dtype, tuple(w.shape)) for n, w in empty.named_parameters()}
        base, own = torch.Generator().manual_seed(0), torch.Generator().manual_seed(place)
        with ShardWriter(target, specs, 5 * 10**9) as out:
            for name in out.order:
                weight = torch.randn(specs[name].shape, generator=base, dtype=dtype) * 0.02
                if place:
                    weight += torch.randn(specs[name].shape, generator=own, dtype=dtype) * 0.001
                out.write(name, weight)
    return [str(one) for one in folders]


def settings_of(method: str) -> MergeSettings:
    """What is compared: nothing is rescaled, since both mean something else by it."""
    plain = method in ("linear", "slerp")
    return MergeSettings.model_validate(
        {"method": method, "weights": WEIGHTS}
        | (
            {}
            if plain
            else {"density": DENSITY, "spread": SPREAD, "scale": SCALE, "rescale": False}
        )
    )


def theirs_of(method: str, folders: list[str], dtype: str) -> str:
    """mergekit's configuration of the same merge, as YAML."""
    base, *parents = folders
    settings = settings_of(method)
    if method == "slerp":
        at = WEIGHTS[1] / sum(WEIGHTS)
        models = [{"model": parent} for parent in parents]
        found = {"merge_method": "slerp", "base_model": parents[0], "models": models,
                 "parameters": {"t": at}}  # fmt: skip
        return yaml.safe_dump(found | {"dtype": dtype})
    own: dict[str, Any] = {}
    if settings.needs_base and method != "task_arithmetic":
        own = {"density": DENSITY} | ({"epsilon": SPREAD} if method.startswith("della") else {})
    models = [
        {"model": parent, "parameters": {"weight": weight, **own}}
        for parent, weight in zip(parents, WEIGHTS, strict=True)
    ]
    found = {"merge_method": method, "models": models, "dtype": dtype}
    shared: dict[str, Any] = {"normalize": settings.divides}
    if settings.needs_base:
        found["base_model"] = base
        shared |= {"lambda": SCALE}
        if method != "task_arithmetic":
            shared["rescale"] = False
    return yaml.safe_dump({**found, "parameters": shared})


def run(python: Path, script: list[str], request: dict[str, Any], work: Path) -> dict[str, float]:
    """One merge in a process; its CPU seconds and peak MiB."""
    path = work / "request.json"
    path.write_text(json.dumps(request), encoding="utf-8")
    done = subprocess.run([python, *script, path], capture_output=True, text=True, check=False,
                          cwd=ROOT)  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{request}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def peak() -> float:
    """The highest resident set of this process in MiB; rusage would count the parent's too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def ours(request: dict[str, Any]) -> dict[str, float]:
    """burnish's side, in its own process."""
    torch.set_num_threads(request["threads"])
    stream = request["stream"]
    streamed._drawer = lambda *_: torch.Generator().manual_seed(stream)
    before = peak()
    cpu, clock = time.process_time(), time.monotonic()
    base, *parents = request["folders"]
    for one in request["merges"]:
        streamed.merge(parents, base, settings_of(one["method"]), one["output"])
    found = {"cpu": time.process_time() - cpu, "clock": time.monotonic() - clock}
    started = time.process_time()
    for one in request["merges"]:
        manifest.file_hash(Path(one["output"]) / SINGLE)
    hashing = time.process_time() - started
    return {**found, "hashing": hashing, "before": before, "peak": peak()}


def both(
    python: Path, wanted: Sequence[str], folders: list[str], work: Path, dtype: str, threads: int
) -> dict[str, dict[str, float]]:
    """The same merges by both, each in one process, into ``work/TOOL/METHOD``."""
    shared = {"stream": STREAM, "threads": threads, "folders": folders}
    mine = [{"method": method, "output": str(work / "burnish" / method)} for method in wanted]
    other = [
        {"config": theirs_of(method, folders, dtype), "output": str(work / "mergekit" / method)}
        for method in wanted
    ]
    script = ["-m", "benchmarks.merging", "--worker"]
    return {
        "burnish": run(Path(sys.executable), script, {"merges": mine, **shared}, work),
        "mergekit": run(
            python, [str(ROOT / "benchmarks/mergekit_worker.py")], {"merges": other, **shared}, work
        ),
    }


def difference(work: Path, method: str) -> float:
    """The largest difference between two results over all tensors."""
    mine, other = (ShardReader(work / tool / method) for tool in ("burnish", "mergekit"))
    if mine.specs != other.specs:
        return float("inf")
    return max((mine.read(n) - other.read(n)).abs().max().item() for n in mine.specs)


def main() -> int:
    """Compare, measure, write the page; 1 where numbers differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv-mergekit")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--skip-large", action="store_true")
    parser.add_argument("--note", default="the machine had nothing else to do")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        print(json.dumps(ours(json.loads(options.worker.read_text(encoding="utf-8")))))
        return 0
    python = ready(options.venv)
    gaps: dict[str, float] = {}
    costs: dict[str, dict[str, dict[str, float]]] = {}
    size = 0.0
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        folders = make(work / "small", SMALL, torch.float64)
        both(python, METHODS, folders, work, "float64", options.threads)
        for method in METHODS:
            gaps[method] = difference(work, method)
            print(f"{method:16} {gaps[method]:.1e}", flush=True)
        if not options.skip_large:
            folders = make(work / "large", LARGE, torch.float32)
            size = (Path(folders[0]) / "model.safetensors").stat().st_size / 2**20
            for method in TIMED:
                costs[method] = both(python, [method], folders, work, "float32", options.threads)
                print(method, json.dumps(costs[method]), flush=True)
                atomic.write_text(PAGE, page(gaps, costs, size, options))
    return int(max(gaps.values()) > TOLERANCE)


def page(
    gaps: dict[str, float],
    costs: dict[str, dict[str, dict[str, float]]],
    size: float,
    options: argparse.Namespace,
) -> str:
    """The results as Markdown."""
    lines = [
        "# Merging against mergekit", "",
        f"mergekit {VERSION}, torch {torch.__version__}, {options.threads} threads; {options.note}."
        " Written by `python -m benchmarks.merging`.", "",
        "## The same numbers", "",
        f"A base and two models a little away from it, in float64, so that no two elements are "
        f"equally large (those that are, mergekit chooses from in no order); weights {WEIGHTS}, "
        f"density {DENSITY}, scale {SCALE}; both are given the same uniform numbers where "
        "something is drawn.", "",
        "| method | largest difference of any weight |", "| --- | ---: |",
        *(f"| {method} | {gap:.1e} |" for method, gap in gaps.items()), "",
        "Nothing was rescaled: after dropping at random burnish divides by the probability of "
        "being kept, as DARE and DELLA are published, so that the expectation is the task vector; "
        "mergekit makes the sum of magnitudes what it was.", "",
        "## Time and memory", "",
        f"Models of {size:,.0f} MiB. CPU seconds of all threads, and seconds by the clock, after "
        "imports; memory is the highest resident set, of which what imports take is shown apart. "
        "burnish's CPU seconds include hashing what it wrote for the manifest, which is "
        f"{next(iter(costs.values()))['burnish']['hashing']:.1f} s.", "",
        "| method | tool | CPU s | clock s | imports MiB | peak MiB | above imports, of a model |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    for method, sides in costs.items():
        for tool, cost in sides.items():
            share = (cost["peak"] - cost["before"]) / size
            lines.append(
                f"| {method} | {tool} | {cost['cpu']:.1f} | {cost['clock']:.1f} | "
                f"{cost['before']:,.0f} | {cost['peak']:,.0f} | {100 * share:.0f} % |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
