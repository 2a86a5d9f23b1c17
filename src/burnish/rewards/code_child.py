"""The child of ``code``: limits itself, loads a program, tells what its function returned.

This file is run as a program by itself, so it imports nothing but the standard library. Work comes
as JSON on standard input: ``file`` (the program), ``function``, ``calls`` (texts of
``(args, kwargs)``) and ``seconds``. Results go to standard output as a JSON list of texts, null
where a call failed. The main process uses this module for its path alone.
"""

from __future__ import annotations

import ast
import json
import os
import sys
from contextlib import suppress
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

MEMORY = 1 << 29
FILE_SIZE = 1 << 20
NOBODY = 65534


def limit(seconds: int) -> None:
    """Take the limits that Linux and macOS know, and become nobody where this is root."""
    try:
        import resource
    except ImportError:  # Windows: the parent's limit by the clock still holds
        return
    if os.getuid() == 0:
        with suppress(OSError):  # in a name space of an ordinary user nobody does not exist
            become_nobody()
    limits = {
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_AS: MEMORY,
        resource.RLIMIT_FSIZE: FILE_SIZE,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_NPROC: 0,
    }
    for kind, most in limits.items():
        resource.setrlimit(kind, (most, most))


def become_nobody() -> None:
    """Give up root, unless Python's own library would then be out of reach."""
    os.seteuid(NOBODY)
    readable = os.access(os.__file__, os.R_OK, effective_ids=True)
    os.seteuid(0)
    if readable:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def results(file: str, function: str, calls: list[str]) -> list[str | None]:
    """The text of what each call returns; raises whatever the program raises."""
    spec = spec_from_file_location("reply", file)
    if spec is None or spec.loader is None:
        raise ImportError(file)
    module = module_from_spec(spec)
    sys.modules["reply"] = module
    spec.loader.exec_module(module)
    called = getattr(module, function)
    found: list[str | None] = []
    for text in calls:
        args, kwargs = ast.literal_eval(text)
        try:
            found.append(repr(called(*args, **kwargs)))
        except Exception:  # noqa: BLE001
            found.append(None)
    return found


def main() -> None:
    """Read the work, run it with its outputs closed, write the results."""
    sys.dont_write_bytecode = True
    work: dict[str, Any] = json.load(sys.stdin)
    answer = os.dup(1)
    quiet = os.open(os.devnull, os.O_RDWR)
    for place in (0, 1, 2):
        os.dup2(quiet, place)
    limit(int(work["seconds"]))
    found = results(work["file"], work["function"], work["calls"])
    data = json.dumps(found).encode()
    while data:
        data = data[os.write(answer, data) :]
    os._exit(0)


if __name__ == "__main__":
    main()
