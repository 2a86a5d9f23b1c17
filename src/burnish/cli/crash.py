"""A crash file for unexpected errors: enough to report, nothing secret."""

from __future__ import annotations

import os
import platform
import re
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

HIDDEN = "[hidden]"
SECRET_NAME = re.compile(r"(token|secret|password|passwd|credential|api_?key|_key$)", re.IGNORECASE)
SECRET_TEXT = (
    re.compile(r"\b(?:hf_|sk-|ghp_|gho_|glpat-|xox[abp]-|AKIA)[A-Za-z0-9_-]{8,}"),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),
    re.compile(r"(?<=bearer )\S+", re.IGNORECASE),
    re.compile(r"(?<=token=)[^\s\"'&]+", re.IGNORECASE),
    re.compile(r"(?<=secret=)[^\s\"'&]+", re.IGNORECASE),
    re.compile(r"(?<=password=)[^\s\"'&]+", re.IGNORECASE),
    re.compile(r"(?<=key=)[^\s\"'&]+", re.IGNORECASE),
)
SHORTEST_SECRET = 6


def redact(text: str, environment: Mapping[str, str]) -> str:
    """``text`` without the values of secret-looking variables and secret-looking strings."""
    for name, value in environment.items():
        if SECRET_NAME.search(name):
            # One variable may hold several: "host=key host=key".
            for secret in (value, *(item.partition("=")[2] for item in value.split())):
                if len(secret) >= SHORTEST_SECRET:
                    text = text.replace(secret, HIDDEN)
    for pattern in SECRET_TEXT:
        text = pattern.sub(HIDDEN, text)
    return text


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
