"""Grade a Python function by its unit tests, in a child process that never learns the answers.

A test is one line ``assert f(1, 2) == 3``: a call of the named function with literals, and a
literal that it must equal (``assert f(x)`` means True, ``assert not f(x)`` False). The child gets
the arguments only; what the function returned comes back as text and is compared here. Leaving
early, changing ``assert`` or built-ins, or writing into files therefore gains nothing.

The child has limits on processor time, memory, file size and processes, and an empty environment.
It runs in name spaces of its own (``unshare``): no network, every mount read-only, and its
processes end with it. Where these cannot be had but burnish runs as root, it runs as nobody; else
nothing is run unless the environment variable ``BURNISH_UNCONFINED_CODE`` is 1, which is for
containers that may be broken. It can read what this user can read. The limit on processes does not
hold for root that cannot become nobody; the limit by the clock ends what it started.
"""

from __future__ import annotations

import ast
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from burnish.config import InputError, Problem
from burnish.rewards import code_child

SECONDS = 2
"""Processor time of one grading; four times as much by the clock."""
LARGEST_RESULT = 1 << 20
"""Bytes that all results may have."""
UNCONFINED = "BURNISH_UNCONFINED_CODE"
MOUNTS = "/proc/self/ns/mnt"
_FENCE = re.compile(r"```[ \t]*(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class Case:
    """One call and what it must return."""

    args: list[Any]
    kwargs: dict[str, Any]
    expected: Any


def code_problems(spec: Mapping[str, Any]) -> list[str]:
    """What is wrong with the ``function`` and ``tests`` of a specification; empty when valid."""
    name, tests = spec["function"], spec["tests"]
    if not isinstance(name, str) or not name.isidentifier():
        return [f"kind 'code': 'function' must be a name, found {name!r}"]
    if not isinstance(tests, list) or not tests or not all(isinstance(t, str) for t in tests):
        return [f"kind 'code': 'tests' must be a list of assert lines, found {tests!r:.80}"]
    expected = f"expected 'assert {name}(literals) == literal'"
    bad = [line for line in tests if parse_test(name, line) is None]
    return [f"kind 'code': {line!r:.80} cannot be graded; {expected}" for line in bad]


def parse_test(name: str, line: str) -> Case | None:
    """An assert line as data; None where it has another form."""
    try:
        (node,) = ast.parse(line.strip()).body
        if not isinstance(node, ast.Assert):
            return None
        call, expected = _claim(node.test)
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            return None
        if call.func.id != name or any(keyword.arg is None for keyword in call.keywords):
            return None
        args = [ast.literal_eval(item) for item in call.args]
        kwargs = {str(item.arg): ast.literal_eval(item.value) for item in call.keywords}
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
    return Case(args, kwargs, expected)


def _claim(test: ast.expr) -> tuple[ast.expr, Any]:
    """The call of an assertion, and what it must equal; raises ValueError."""
    if isinstance(test, ast.Compare):
        if len(test.ops) != 1 or not isinstance(test.ops[0], ast.Eq | ast.Is):
            raise ValueError("not one comparison for equality")
        return test.left, ast.literal_eval(test.comparators[0])
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return test.operand, False
    return test, True


def program_of(reply: str, name: str) -> str:
    """The program in a reply: its last fenced block that defines the function, else all of it."""
    blocks: list[str] = _FENCE.findall(reply)
    defining = [block for block in blocks if re.search(rf"\bdef\s+{re.escape(name)}\b", block)]
    return (defining or blocks or [reply])[-1]


def grade(spec: Mapping[str, Any], reply: str, seconds: int = SECONDS) -> tuple[bool, str]:
    """Whether the reply's function passes every test, and why not.

    Args:
        spec: ``{"kind": "code", "function": "add", "tests": ["assert add(1, 2) == 3"]}``.
        seconds: of processor time; the child is ended after four times as much by the clock.

    Raises:
        InputError: nothing here would keep the program from writing files.
    """
    name = spec["function"]
    tests = [test for line in spec["tests"] if (test := parse_test(name, line)) is not None]
    calls = [repr((test.args, test.kwargs)) for test in tests]
    found = _run(program_of(reply, name), name, calls, seconds)
    if found == code_child.UNCONFINED:
        expected = f"name spaces (unshare), or {UNCONFINED}=1 where nothing can be broken"
        raise InputError(Problem("", None, "verify", "code cannot be confined here", expected))
    if isinstance(found, str):
        return False, found
    for line, test, text in zip(spec["tests"], tests, found, strict=True):
        if not _equal(text, test.expected):
            return False, f"fails {line.strip()}: {text if text is not None else 'an error'}"[:200]
    return True, "passes every test"


def _run(program: str, function: str, calls: list[str], seconds: int) -> list[str | None] | str:
    """The text of each result (None: an error), or why there are none."""
    with (
        tempfile.TemporaryDirectory(prefix="burnish-code-") as folder,
        tempfile.TemporaryFile() as out,
    ):
        Path(folder).chmod(0o777)  # the child may be another user
        file = Path(folder, "reply.py")
        file.write_text(program, encoding="utf-8", errors="replace")
        prefix = _prefix(4 * seconds)
        work = {
            "file": str(file), "function": function, "calls": calls, "seconds": seconds,
            "outside": os.readlink(MOUNTS) if prefix else "",
            "unconfined": os.environ.get(UNCONFINED) == "1",
        }  # fmt: skip
        child = subprocess.Popen(
            [*prefix, sys.executable, "-I", code_child.__file__],
            stdin=subprocess.PIPE, stdout=out, stderr=subprocess.DEVNULL,
            cwd=folder, env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,
        )  # fmt: skip
        try:
            child.communicate(json.dumps(work).encode(), timeout=4 * seconds + 1)
        except subprocess.TimeoutExpired:
            return "runs too long"
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        out.seek(0)
        said = out.read(LARGEST_RESULT + 1)
    return _results(said, len(calls))


def _results(said: bytes, count: int) -> list[str | None] | str:
    try:
        found = json.loads(said)
    except (ValueError, RecursionError):
        return "ends before its results are there, or exceeds a limit"
    if found == code_child.UNCONFINED:
        return code_child.UNCONFINED
    whole = isinstance(found, list) and len(found) == count
    if not whole or not all(item is None or isinstance(item, str) for item in found):
        return "gives no results"
    return list(found)


@lru_cache(maxsize=8)
def _prefix(seconds: int) -> tuple[str, ...]:
    """What the child is started through: no network, its own processes, a limit by the clock.

    ``timeout`` is the first process of the new process space: when it ends, all in there end.
    """
    tool = shutil.which("unshare")
    if tool is None or shutil.which("timeout") is None:
        return ()
    user = () if os.geteuid() == 0 else ("--map-root-user",)
    prefix = (tool, *user, "--net", "--mount", "--pid", "--fork", "--kill-child")
    wait = ("timeout", "--foreground", "--signal=KILL", str(seconds))
    tried = subprocess.run([*prefix, *wait, "true"], capture_output=True, timeout=10, check=False)
    return (*prefix, *wait) if tried.returncode == 0 else ()


def _equal(text: str | None, expected: Any) -> bool:
    if text is None:
        return False
    try:
        return _same(ast.literal_eval(text), expected)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, OverflowError):
        return False


def _same(found: Any, expected: Any) -> bool:
    """Equality of values as Python has it, but True is not 1 and floats may be a little off."""
    numbers = (int, float)
    if type(found) in numbers and type(expected) in numbers:
        if float in (type(found), type(expected)):
            return math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-9)
        return bool(found == expected)
    if type(found) is not type(expected):
        return False
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(_same, found, expected))
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(_same(found[k], expected[k]) for k in found)
    return bool(found == expected)
