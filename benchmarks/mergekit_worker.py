"""mergekit's side of ``merging.py``; runs in an environment of its own: ``python mergekit_worker.py
REQUEST.json``. Prints seconds of CPU and peak MiB, after imports and at the end, as JSON.

``torch.bernoulli`` is given a fixed stream of uniform numbers for each tensor, so that burnish can
be given the same.
"""

import json
import sys
import time
from pathlib import Path

import torch
import yaml
from mergekit.config import MergeConfiguration
from mergekit.merge import MergeOptions, run_merge

request = json.loads(Path(sys.argv[1]).read_text())
torch.set_num_threads(request["threads"])


def peak():
    """The highest resident set of this process in MiB; rusage would count the parent's too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def fixed(probability, **_):
    """Drawn with the chances that burnish compares with."""
    stream = torch.Generator().manual_seed(request["stream"])
    chance = torch.rand(probability.numel(), generator=stream).view(probability.shape)
    return (chance < probability).to(probability.dtype)


before = peak()
cpu, clock = time.process_time(), time.monotonic()
torch.bernoulli = fixed
for one in request["merges"]:
    config = MergeConfiguration.model_validate(yaml.safe_load(one["config"]))
    options = MergeOptions(copy_tokenizer=False, quiet=True)
    run_merge(config, one["output"], options=options)
print(json.dumps({
    "cpu": time.process_time() - cpu, "clock": time.monotonic() - clock, "before": before,
    "peak": peak(),
}))  # fmt: skip
