"""Weights damaged in thousands of ways, read in a process with little memory.

``python -m tests.fuzzing gguf|safetensors FILE CASES`` damages a whole file in that many ways and
reads each result. Every one is read or refused by its own error; any other exception, a crash or
more memory than ``ROOM`` ends the process with another code than 0. What it prints is JSON: how
many were ``refused`` and ``read``, the ``slowest`` in CPU-seconds, and ``peak``, the bytes by which
the process grew.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from burnish.exporting.child import resident
from burnish.exporting.gguf_facts import check_file
from burnish.store.errors import CorruptError
from burnish.store.shards import ShardReader
from burnish.store.tensors import read_tensors

ROOM = 100 * 2**20
EXTREME = (0, 1, 3, 2**31, 2**32 - 1, 2**40, 2**62, 2**63, 2**64 - 1)


def damaged(whole: bytes, cases: int, seed: int = 0) -> Iterator[bytes]:
    """``whole``, truncated, with bytes changed, put in, left out, moved, or with a number in its
    header that is far too large; mostly in its first part, which is the header."""
    drawn = random.Random(seed)
    header = min(len(whole), 4000)
    numbers = [
        at for at in range(header - 8) if 0 < int.from_bytes(whole[at : at + 8], "little") < 2**20
    ]
    ways: list[Callable[[int], bytes]] = [
        lambda at: whole[: drawn.randrange(len(whole))],
        lambda at: whole[:at],
        lambda at: whole[:at] + drawn.randbytes(drawn.choice((1, 2, 8))) + whole[at + 8 :],
        lambda at: whole[:at] + bytes([whole[at] ^ 1 << drawn.randrange(8)]) + whole[at + 1 :],
        lambda at: whole[:at] + whole[at + drawn.randrange(1, 64) :],
        lambda at: whole[:at] + whole[at - 40 : at] + whole[at:],
        lambda at: whole[:at] + drawn.choice(EXTREME).to_bytes(8, "little") + whole[at + 8 :],
    ]
    for case in range(cases):
        if numbers and case % 3 == 0:  # straight at a count, a length or an offset
            at = drawn.choice(numbers)
            yield whole[:at] + drawn.choice(EXTREME).to_bytes(8, "little") + whole[at + 8 :]
        else:
            yield drawn.choice(ways)(drawn.randrange(40, header))


def _read_safetensors(path: Path) -> None:
    """In both ways in which burnish reads such a file; they refuse the same."""
    try:
        reader = ShardReader(path.parent)
    except CorruptError:
        reader = None
    try:
        tensors = read_tensors(path)
    except CorruptError:
        assert reader is None, "refused as a whole, but not in pieces"
        raise
    assert reader is not None, "refused in pieces, but not as a whole"
    assert all(reader.read(name).numel() == tensors[name].numel() for name in reader.specs)


READERS: dict[str, Callable[[Path], None]] = {"gguf": check_file, "safetensors": _read_safetensors}


def main() -> None:
    """See the head of this file."""
    kind, name, cases = sys.argv[1:]
    path = Path(name)
    whole, read = path.read_bytes(), READERS[kind]
    read(path)  # what is imported late, is by now
    now = resident("VmSize") + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (now, now))
    before, slowest, refused = resident("VmHWM"), 0.0, 0
    for case in damaged(whole, int(cases)):
        path.write_bytes(case)
        began = time.process_time()
        try:
            read(path)
        except CorruptError:
            refused += 1
        slowest = max(slowest, time.process_time() - began)
    found = {"refused": refused, "read": int(cases) - refused, "slowest": slowest}
    print(json.dumps({**found, "peak": resident("VmHWM") - before}))


def run(kind: str, file: Path, cases: int) -> dict[str, Any]:
    """``main`` in a process of its own. When it fails, the case it died of lies in ``file``."""
    command = [sys.executable, "-m", "tests.fuzzing", kind, str(file), str(cases)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
