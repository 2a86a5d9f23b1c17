"""A crash file for unexpected errors: enough to report, nothing secret."""

from __future__ import annotations

import os
import platform
import tempfile
import time
import traceback
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from burnish.config.secrets import redact


def versions() -> dict[str, str]:
    """Versions of what burnish stands on, for reports; a missing package is named as such."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in ("burnish", "torch", "transformers", "peft", "tokenizers", "pyarrow", "numpy"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "missing"
    return found


def write_crash_file(error: BaseException, args: Sequence[str], folder: Path) -> Path:
    """Write what happened into ``folder``, or a temporary folder where that fails.

    Returns:
        The path of the file.
    """
    parts = [
        "burnish " + " ".join(args),
        "\n".join(f"{name} {version}" for name, version in versions().items()),
        "".join(traceback.format_exception(error)),
    ]
    text = redact("\n\n".join(parts), os.environ)
    name = f"burnish-crash-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        path.write_text(text, encoding="utf-8")
    except OSError:
        path = Path(tempfile.gettempdir()) / name
        path.write_text(text, encoding="utf-8")
    return path
