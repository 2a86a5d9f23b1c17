"""Break the package on purpose, one line at a time, and see that a test notices each.

Every mutation is a mistake that training code has been seen to make. The package is copied to a
temporary folder, one patch is applied there, and the test files named are run against the copy;
the tree itself is not touched. Exit 1 where a mutation survives or no longer applies.

Example:
    python -m tools.mutations
    python -m tools.mutations --only "whitening biased for unbiased"
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tools.mutation_cases import MUTATIONS, Mutation

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "burnish"
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)

Fate = Literal["caught", "SURVIVED", "BROKEN"]


def applied(mutation: Mutation, text: str) -> str:
    """``text`` with the mistake in it.

    Raises:
        ValueError: the old text does not occur exactly once, or nothing would change.
    """
    found = text.count(mutation.old)
    if found != 1 or mutation.old == mutation.new:
        raise ValueError(f"{mutation.name}: {found} places in {mutation.file}, expected one")
    return text.replace(mutation.old, mutation.new)


def fate(code: int, output: str) -> tuple[Fate, str]:
    """What became of a mutation, and the first failing test, from pytest's exit code and output.

    Only a failed test (exit code 1) counts: a copy that cannot be imported proves nothing.
    """
    if code == 0:
        return "SURVIVED", ""
    names = FAILED.findall(output)
    if code == 1 and names:
        return "caught", names[0]
    return "BROKEN", (output.strip().splitlines() or [f"exit code {code}"])[-1]


def run_tests(source: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Exit code and output of pytest on ``tests`` with the package below ``source``."""
    # No bytecode: a patch of equal length within the same second would meet the old one's.
    environment = {
        **os.environ,
        "PYTHONPATH": str(source),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
    }
    names = [str(Path("tests") / test) for test in tests]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *names],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def try_one(mutation: Mutation, source: Path) -> tuple[Fate, str]:
    """Patch the copy below ``source``, test it, put the file back."""
    path = source / "burnish" / mutation.file
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(applied(mutation, text), encoding="utf-8")
        return fate(*run_tests(source, mutation.tests))
    except ValueError as error:
        return "BROKEN", str(error)
    finally:
        path.write_text(text, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the mutations one after another; the exit code."""
    parser = argparse.ArgumentParser(description="Break the package and see that tests notice.")
    parser.add_argument("--only", metavar="NAME", help="the one mutation of this name")
    only = parser.parse_args(arguments).only
    chosen = [mutation for mutation in MUTATIONS if only in (None, mutation.name)]
    if not chosen:
        parser.error(f"no mutation is named {only!r}")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PACKAGE, source / "burnish", ignore=ignored)
        code, output = run_tests(source, sorted({test for one in chosen for test in one.tests}))
        if code != 0:
            print(output, "\nthe tests fail without a mutation", file=sys.stderr)
            return 1
        missed = 0
        for mutation in chosen:
            verdict, detail = try_one(mutation, source)
            missed += verdict != "caught"
            print(f"{verdict:9} {mutation.name:55} {detail}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} mutations caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
