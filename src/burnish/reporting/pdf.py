"""A page as PDF, printed by a browser that is installed anyway: no library draws it as well."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from burnish.config import InputError, Problem
from burnish.store import atomic

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 120.0


def browser() -> str:
    """The path of an installed Chromium or Chrome.

    Raises:
        InputError: there is none; the message says which names were looked for.
    """
    for name in BROWSERS:
        if found := shutil.which(name):
            return found
    raise InputError(
        Problem("", None, "", "no Chromium or Chrome to draw the page with",
                f"one of {', '.join(BROWSERS)} on the PATH (Debian, Ubuntu: apt install chromium)")
    )  # fmt: skip


def draw(page: str, theme: str, *options: str) -> None:
    """Open a page of :mod:`burnish.reporting.html` in a headless browser with ``options``.

    Raises:
        InputError: there is no browser, or it failed or took longer than two minutes.
    """
    program = browser()
    with tempfile.TemporaryDirectory() as folder:
        shown = Path(folder) / "page.html"
        themed = page.replace("<html ", f'<html data-theme="{theme}" ', 1)
        shown.write_text(themed, encoding="utf-8")
        # The page is ours and loads nothing; the sandbox does not start in most containers.
        command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                   f"--user-data-dir={folder}/profile", *options, shown.as_uri()]  # fmt: skip
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            found = f"did not draw the page within {SECONDS:.0f} seconds"
            raise InputError(Problem(program, None, "", found)) from None
        except subprocess.CalledProcessError as error:
            last = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
            found = f"failed with exit code {error.returncode}: {''.join(last)}"
            raise InputError(Problem(program, None, "", found)) from None


def print_pdf(page: str, path: Path) -> None:
    """Write a page to ``path`` as PDF, in the light theme.

    Raises:
        InputError: there is no browser, or it wrote no PDF.
        StorageError: disk full or no permission.
    """
    with tempfile.TemporaryDirectory() as folder:
        printed = Path(folder) / "page.pdf"
        draw(page, "light", f"--print-to-pdf={printed}", "--no-pdf-header-footer")
        content = printed.read_bytes() if printed.is_file() else b""
    if not content.startswith(b"%PDF"):
        raise InputError(Problem(browser(), None, "", "wrote no PDF"))
    atomic.write_bytes(path, content)
