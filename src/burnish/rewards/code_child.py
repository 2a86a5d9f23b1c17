"""The child of ``code``: shuts itself in, loads a program, tells what its function returned.

This file is run as a program by itself, so it imports nothing but the standard library. Work comes
as JSON on standard input: ``file`` (the program), ``function``, ``calls`` (texts of
``(args, kwargs)``), ``seconds``, ``outside`` (the parent's mount name space) and ``unconfined``
(go on where nothing keeps the program from writing files). Results go to standard output as a JSON
list of texts, null where a call failed; the text ``unconfined`` says that nothing was run. The main
process uses this module for its path and constants alone.
"""

from __future__ import annotations

import ast
import ctypes
import json
import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

MEMORY = 1 << 29
FILE_SIZE = 1 << 20
NOBODY = 65534
UNCONFINED = "unconfined"

# Linux: mount_setattr(2), prctl(2), capset(2); the number is the same on every architecture.
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _RDONLY = 442, -100, 0x8000, 1
_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522


def confine(outside: str) -> bool:
    """Keep this process from writing files; whether that worked."""
    sealed = read_only(outside)
    humble = become_nobody()
    if sys.platform == "linux":
        drop_capabilities()
    return sealed or humble


def read_only(outside: str) -> bool:
    """Make every mount read-only, in a mount name space of its own and nowhere else."""
    space = "/proc/self/ns/mnt"
    if not outside or not os.path.exists(space) or os.readlink(space) == outside:
        return False
    attributes = (ctypes.c_uint64 * 4)(_RDONLY, 0, 0, 0)
    failed: int = ctypes.CDLL(None).syscall(
        _MOUNT_SETATTR, _AT_FDCWD, b"/", _AT_RECURSIVE,
        ctypes.byref(attributes), ctypes.sizeof(attributes),
    )  # fmt: skip
    return failed == 0


def become_nobody() -> bool:
    """Give up root; not where Python's own library would be out of reach then."""
    if os.geteuid() != 0:
        return False
    try:
        os.seteuid(NOBODY)
        readable = os.access(os.__file__, os.R_OK, effective_ids=True)
        os.seteuid(0)
        if readable:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
    except OSError:  # a user name space, in which nobody does not exist
        return False
    return readable


def drop_capabilities() -> None:
    """Keep no right of root, and gain none by starting a program."""
    library = ctypes.CDLL(None)
    library.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    library.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)()))


def limit(seconds: int) -> None:
    """Take the limits that Linux and macOS know."""
    try:
        import resource
    except ImportError:  # Windows: the parent's limit by the clock still holds
        return
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
    """Read the work, run it with its outputs closed and in confinement, write the results."""
    sys.dont_write_bytecode = True
    work: dict[str, Any] = json.load(sys.stdin)
    answer = os.dup(1)
    quiet = os.open(os.devnull, os.O_RDWR)
    for place in (0, 1, 2):
        os.dup2(quiet, place)
    if not confine(work["outside"]) and not work["unconfined"]:
        found: Any = UNCONFINED
    else:
        limit(int(work["seconds"]))
        found = results(work["file"], work["function"], work["calls"])
    data = json.dumps(found).encode()
    while data:
        data = data[os.write(answer, data) :]
    os._exit(0)


if __name__ == "__main__":
    main()
