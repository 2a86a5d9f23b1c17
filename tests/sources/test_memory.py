"""Memory of an import does not follow the size of the data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

MEBI = 2**20
RUN = """
import resource, sys
from burnish.cli.main import invoke
code = invoke(["data", "import", sys.argv[1], "-o", sys.argv[2], "--json"])
print(code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, file=sys.stderr)
"""


@pytest.mark.slow
def test_300_mebibytes_below_500_resident(tmp_path: Path) -> None:
    said = "A sentence of no great interest stands here. 这里有一句话。" * 8
    with (tmp_path / "big.jsonl").open("w", encoding="utf-8") as file:
        rows = 0
        while file.tell() < 300 * MEBI:
            turns = [{"role": "user", "content": f"{rows}? {said}"},
                     {"role": "assistant", "content": f"{said} {rows}."}]  # fmt: skip
            file.write(json.dumps({"messages": turns}, ensure_ascii=False) + "\n")
            rows += 1
    command = [sys.executable, "-c", RUN, str(tmp_path / "big.jsonl"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    code, peak = map(int, done.stderr.split()[-2:])
    print(f"{rows} rows, peak {peak / MEBI:.0f} MiB resident")
    assert code == 0
    assert json.loads(done.stdout)["records"] == rows
    assert peak < 500 * MEBI
