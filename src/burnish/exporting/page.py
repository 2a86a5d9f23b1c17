"""A page that chats in the browser with a GGUF file beside it; nothing runs on a server.

llama.cpp is built for browsers by the npm package ``@wllama/wllama`` (MIT). It is 10 MB, so it is
no part of burnish: it comes from npm, or from a file, when a page is asked for, in one known
version. Tokenizer and chat template are those in the file.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
from importlib.resources import files
from pathlib import Path

from burnish.config import InputError, Problem
from burnish.exporting.forms import FILES
from burnish.store import atomic

NPM = "npm"
PACKAGE = "@wllama/wllama@3.13.0"
FILE = "wllama-wllama-3.13.0.tgz"
"""What ``npm pack`` calls it."""
INTEGRITY = (
    "sha512-ZvoRdQAn+E+18EvQ9qS036gudiI9rbZRBJgG/qNICPPwrA0Y6SMMdbziz/j7K"
    "/0WxcbJlhaRraVIYsnEy732NA=="
)
"""Of that file, as npm writes it."""
SECONDS = 300.0
LARGEST = 2 * 10**9
"""Bytes of a model file that a browser takes in one piece."""
START = "python -m http.server --bind 127.0.0.1"
_FOLDER = "page"
_MEMBERS = {
    "package/esm/index.min.js": "wllama.js",
    "package/esm/wasm/wllama.wasm": "wllama.wasm",
    "package/LICENCE": "wllama.LICENCE",
}


def fetch(source: str, folder: Path) -> Path:
    """The package in one file, from npm (``source`` is ``npm``) or from the file ``source``.

    Args:
        folder: where npm puts it; what lies there already is not asked for again.

    Raises:
        InputError: npm is missing or fails, there is no such file, or it is another package.
    """
    file = folder / FILE if source == NPM else Path(source).expanduser()
    if source == NPM and not file.is_file():
        _pack(folder)
    if not file.is_file():
        raise InputError(Problem(str(file), None, "page", "no such file", _wanted()))
    digest = hashlib.sha512(file.read_bytes()).digest()
    found = f"sha512-{base64.b64encode(digest).decode()}"
    if found != INTEGRITY:
        raise InputError(Problem(str(file), None, "page", f"another file: {found}", _wanted()))
    return file


def write_page(folder: Path, package: Path) -> int:
    """Add the page to a folder with a GGUF file; the bytes of what is added.

    Args:
        package: from ``fetch``.

    Raises:
        InputError: the model is too large for a browser.
    """
    file = folder / FILES["gguf"]
    size = file.stat().st_size
    if size > LARGEST:
        found = f"{size / 1e9:.1f} GB, too large for a page"
        raise InputError(Problem(str(file), None, "page", found, "at most 2 GB"))
    own = files("burnish.exporting") / "browser"
    parts = {"index.html": (own / "index.html").read_bytes()}
    for name in ("page.js", "page.css"):
        parts[f"{_FOLDER}/{name}"] = (own / name).read_bytes()
    with tarfile.open(package) as archive:
        for member, name in _MEMBERS.items():
            packed = archive.extractfile(member)
            assert packed is not None
            parts[f"{_FOLDER}/{name}"] = packed.read()
    (folder / _FOLDER).mkdir()
    for name, content in parts.items():
        atomic.write_bytes(folder / name, content)
    return sum(len(content) for content in parts.values())


def _pack(folder: Path) -> None:
    npm = shutil.which(NPM)
    if npm is None:
        raise InputError(Problem("", None, "page", "npm is not installed", _wanted()))
    folder.mkdir(parents=True, exist_ok=True)
    command = [npm, "pack", PACKAGE, "--pack-destination", str(folder), "--ignore-scripts"]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        found = f"npm did not answer within {SECONDS:.0f} seconds"
        raise InputError(Problem("", None, "page", found, _wanted())) from None
    except subprocess.CalledProcessError as error:
        told = error.stderr.decode(errors="replace").strip().splitlines()
        found = f"npm pack failed: {told[0] if told else error.returncode}"
        raise InputError(Problem("", None, "page", found, _wanted())) from None


def _wanted() -> str:
    return f"{NPM}, or the file that `npm pack {PACKAGE}` makes elsewhere"
