"""The process of a run: which one it is, telling it to stop, and going on in the background."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from burnish.config import InputError, Problem
from burnish.store import lock

LOCK = ".lock"
OUTPUT = "run.log"
"""What a run that was started in the background prints, in its folder."""


def process_of(folder: Path) -> psutil.Process | None:
    """The process that works on a run now.

    The number in the lock file alone would not do: its process may be gone and the number given
    to another one. The lock must be held, and by the process that has the file open.
    """
    path = (folder / LOCK).absolute()
    number = lock.holder(path)
    if number is None:
        return None
    try:
        process = psutil.Process(number)
        files = [Path(file.path) for file in process.open_files()]
    except psutil.Error:
        return None
    return process if path.resolve() in files else None


def stop(folder: Path) -> int:
    """Ask a run to save its state and end; returns the number of its process.

    Raises:
        InputError: no process works on it.
    """
    process = process_of(folder)
    if process is None:
        raise InputError(Problem(folder.name, None, "", "no process works on this run"))
    process.send_signal(signal.SIGTERM)
    return int(process.pid)


def resume(folder: Path, unset: tuple[str, ...] = ()) -> int:
    """Go on with a run in a process of its own; what it prints goes to ``run.log`` in its folder.

    Returns the number of the process. ``unset``: variables that it is not given.

    Raises:
        InputError: a process works on it already, or there is no recipe to go on with.
    """
    if process_of(folder) is not None:
        raise InputError(Problem(folder.name, None, "", "a process works on this run already"))
    recipe = folder / "recipe.yaml"
    if not recipe.is_file():
        raise InputError(Problem(str(recipe), None, "", "no such file", "the recipe of a run"))
    command = [sys.executable, "-m", "burnish", "run", str(recipe), "--runs", str(folder.parent)]
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    with (folder / OUTPUT).open("ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )
    return child.pid
