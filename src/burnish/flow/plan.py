"""What an output folder is the result of, so that other work is not mixed into it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from burnish.config import InputError, Problem
from burnish.store import atomic, manifest
from burnish.store.errors import CorruptError
from burnish.store.lock import held
from burnish.store.names import PLAN


def begin(folder: Path, asked: Mapping[str, Any], rerun: bool = False) -> None:
    """Make ``folder`` the place of the work ``asked`` describes, or see that it is so already.

    Args:
        folder: a new or empty folder, or one where the same work was begun before.
        asked: JSON; everything that the result depends on, and nothing else.
        rerun: remove what other work left in the folder.

    Raises:
        InputError: other work was begun there (says what differs), or files of someone else's lie
            there; ``rerun`` removes the former only.
    """
    wanted = json.loads(json.dumps(asked))
    path = folder / PLAN
    if not path.is_file():
        strange = [item.name for item in folder.iterdir()] if folder.is_dir() else []
        if [name for name in strange if not name.startswith(".")]:
            found = f"holds other files, such as {min(strange)}"
            raise InputError(Problem(str(folder), None, "", found, "a new or an empty folder"))
        atomic.write_json(path, wanted)
        return
    try:
        there = json.loads(path.read_bytes())
    except ValueError:
        raise CorruptError(path, "is not valid JSON") from None
    if there == wanted:
        return
    if not rerun:
        hint = "name a new folder, or remove this one's content with --rerun"
        problems = [
            Problem(str(folder), None, field, f"made with {old}", f"asked for {new}; {hint}")
            for field, old, new in differences(there, wanted)
        ]
        raise InputError(problems)
    shutil.rmtree(folder)
    atomic.write_json(path, wanted)


def work_folder(output: Path) -> Path:
    """Where what is needed until ``output`` is done lies, beside it."""
    return output.with_name(f".{output.name}.work")


@contextmanager
def workplace(work: Path) -> Iterator[None]:
    """The folder ``work`` for this process alone. It is removed when the block ends well, and when
    the input is bad, since work on other input cannot go on from it.

    Raises:
        StorageError: another process works there.
    """
    try:
        with held(work / "lock"):
            yield
    except InputError:
        shutil.rmtree(work, ignore_errors=True)
        raise
    shutil.rmtree(work, ignore_errors=True)


def is_finished(folder: Path) -> bool:
    """Whether the folder's manifest is there and its files are of the sizes it says.

    Raises:
        CorruptError: there is a manifest, but files are missing, extra or of other sizes.
    """
    if not (folder / manifest.MANIFEST).is_file():
        return False
    manifest.verify(folder, deep=False)
    return True


def differences(old: Any, new: Any, at: str = "") -> list[tuple[str, str, str]]:
    """Where two JSON values differ: (dotted path, old, new), each shown in at most 80 letters."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            found
            for key in sorted(old.keys() | new.keys())
            for found in differences(old.get(key), new.get(key), f"{at}.{key}" if at else key)
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            found
            for index, (left, right) in enumerate(zip(old, new, strict=True))
            for found in differences(left, right, f"{at}[{index}]")
        ]
    return [] if old == new else [(at, _shown(old), _shown(new))]


def _shown(value: Any) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
