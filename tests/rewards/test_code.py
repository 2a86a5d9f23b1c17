"""Grading code in a child: right programs pass, exploits gain nothing (S-20)."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from burnish.config import InputError
from burnish.rewards import code
from burnish.rewards.code import grade, parse_test, program_of
from burnish.rewards.verifiers import validate, verify

TESTS = ["assert add(1, 2) == 3", "assert add(2, b=5) == 7", "assert add(-1, 1) == 0"]
SPEC = {"kind": "code", "function": "add", "tests": TESTS}
GOOD = "def add(a, b):\n    return a + b\n"
WRONG = "def add(a, b):\n    return 0\n"

RIGHT = [
    GOOD,
    f"Here you are:\n```python\n{GOOD}```\nIt adds.",
    f"```py\nprint('first try')\n```\n```\n{GOOD}```",
    "add = lambda a, b: b + a",
    "from operator import add as plus\ndef add(a, b): return plus(a, b)",
    f"print('noise ' * 1000)\n{GOOD}",
    "def add(a, b):\n    return float(a + b)",
]

EXPLOITS = {
    "exit 0": f"import sys\n{WRONG}sys.exit(0)",
    "exit 0 in the call": "import sys\ndef add(a, b):\n    sys.exit(0)",
    "hard exit": "import os\nos._exit(0)",
    "hard exit in the call": "import os\ndef add(a, b):\n    os._exit(0)",
    "assert overwritten": f"import builtins\nbuiltins.AssertionError = Warning\n{WRONG}",
    "optimised away": f"__debug__ and 0\n{WRONG}",
    "repr overwritten": f"import builtins\nbuiltins.repr = lambda value: '3'\n{WRONG}",
    "json overwritten": f"import json\njson.dumps = lambda value: '[true, true, true]'\n{WRONG}",
    "always equal": "class A:\n    def __eq__(self, other): return True\ndef add(a, b): return A()",
    "calls every pass": "import sys\nfor module in list(sys.modules.values()):\n"
    f"    module.passed = True\n{WRONG}",
    "own results on every handle": "import os\nfor place in range(64):\n    try:\n"
    "        os.write(place, b'[\"3\", \"3\", \"3\"]')\n    except OSError: pass\nos._exit(0)",
    "own results at exit": f"import atexit, os\natexit.register(os.write, 1, b'[]')\n{WRONG}",
    "edits the grader": "import sys\nfor path in sys.argv + [__file__]:\n    try:\n"
    f"        open(path, 'w').write('')\n    except OSError: pass\n{WRONG}",
    "grader's frame": "import sys\ndef add(a, b):\n    frame = sys._getframe(1)\n"
    "    frame.f_locals['found'] = ['3', '7', '0']\n    return 0",
    "prints passes": f"print('3 passed')\n{WRONG}",
    "huge result": "def add(a, b): return 'x' * 10**7",
    "huge number": "def add(a, b): return 10 ** 10 ** 9",
    "huge memory": "x = bytearray(10**10)",
    "endless loop": "def add(a, b):\n    while True: pass",
    "sleeps in a session of its own": "import os, time\nos.setsid()\ntime.sleep(60)",
    "another process answers": f"import os\nif os.fork():\n    os._exit(0)\n{WRONG}",
    "syntax error": "def add(a, b: return a + b",
    "no such function": "def plus(a, b): return a + b",
    "an answer for one test": "def add(a, b): return 3",
    "true for one": "def add(a, b): return a + b == 3 or a + b",
}  # fmt: skip


@pytest.mark.parametrize("reply", RIGHT)
def test_a_right_program_passes(reply: str) -> None:
    assert grade(SPEC, reply) == (True, "passes every test")


@pytest.mark.parametrize("name", list(EXPLOITS))
def test_an_exploit_earns_nothing(name: str) -> None:  # S-20
    begin = time.monotonic()
    passed, reason = grade(SPEC, EXPLOITS[name], seconds=1)
    assert not passed, reason
    assert time.monotonic() - begin < 20


def test_the_child_has_no_network_no_environment_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BURNISH_API_KEYS", "host=canary")
    (tmp_path / "precious").write_text("kept")
    tmp_path.chmod(0o777)
    with socket.create_server(("127.0.0.1", 0)) as server:
        reply = f"""
import os, socket
def look():
    found = [name for name in os.environ if "BURNISH" in name]
    try:
        open({str(tmp_path / "new")!r}, "w")
        found.append("wrote")
    except OSError: pass
    try:
        os.remove({str(tmp_path / "precious")!r})
        found.append("removed")
    except OSError: pass
    try:
        socket.create_connection(("127.0.0.1", {server.getsockname()[1]}), 1)
        found.append("connected")
    except OSError: pass
    return found
"""
        spec = {"kind": "code", "function": "look", "tests": ["assert look() == []"]}
        if not code._prefix(8):
            pytest.skip("no name spaces here")
        assert grade(spec, reply) == (True, "passes every test")
    assert (tmp_path / "precious").read_text() == "kept"


def test_without_name_spaces_code_runs_as_nobody_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(code, "_prefix", lambda seconds: ())
    spec = {"kind": "code", "function": "user", "tests": ["assert user() == 65534"]}
    reply = "import os\ndef user(): return os.getuid()"
    try:
        found = grade(spec, reply)
    except InputError as error:
        found = (True, "passes every test") if "cannot be confined" in str(error) else (False, "")
    assert found == (True, "passes every test")
    monkeypatch.setenv(code.UNCONFINED, "1")
    assert grade(SPEC, GOOD)[0]


def test_a_test_is_a_call_with_literals() -> None:
    case = parse_test("f", "assert f([1, 'a'], key=(2,)) == {'x': None}")
    assert case is not None
    assert (case.args, case.kwargs, case.expected) == ([[1, "a"]], {"key": (2,)}, {"x": None})
    assert parse_test("f", "assert f(1)").expected is True  # type: ignore[union-attr]
    assert parse_test("f", "assert not f(1)").expected is False  # type: ignore[union-attr]
    for line in [
        "f(1)",
        "assert g(1) == 2",
        "assert f(x) == 1",
        "assert f(1) == g(1)",
        "assert f(1) < 2",
        "assert 1 == 1",
        "assert f(*[1]) == 1",
        "import os",
        "assert (",
    ]:
        assert parse_test("f", line) is None, line  # fmt: skip


def test_results_are_compared_as_python_does_but_true_is_not_one() -> None:
    tests = ["assert f(1) == 1", "assert f(0.1) == 0.3", "assert f([1]) == [1]"]
    spec = {"kind": "code", "function": "f", "tests": tests}
    assert grade(spec, "def f(x): return 0.1 + 0.2 if x == 0.1 else x")[0]
    assert not grade(spec, "def f(x): return True if x == 1 else x")[0]
    assert not grade(spec, "def f(x): return tuple(x) if x == [1] else x")[0]


def test_the_verifier_of_kind_code() -> None:
    assert verify(SPEC, GOOD).score == 1.0
    wrong = verify(SPEC, WRONG)
    assert wrong.score == -1.0
    assert "assert add(1, 2) == 3" in wrong.reason
    assert validate(SPEC) == []
    assert "cannot be graded" in validate(SPEC | {"tests": ["assert open('x')"]})[0]
    assert "must be a name" in validate(SPEC | {"function": "a b"})[0]
    assert "assert lines" in validate(SPEC | {"tests": []})[0]


def test_the_program_is_the_last_block_that_defines_the_function() -> None:
    text = f"```python\n{WRONG}```\nBetter:\n```python\n{GOOD}```\nUse:\n```python\nadd(1, 2)\n```"
    assert program_of(text, "add") == GOOD
