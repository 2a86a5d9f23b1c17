from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from burnish.config import InputError
from burnish.reporting import pdf, render

INSTALLED = any(map(shutil.which, pdf.BROWSERS))


def pretend(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A browser that runs ``script`` in place of drawing."""
    program = folder / "chromium"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(pdf, "BROWSERS", (str(program),))


def test_without_a_browser_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"no Chromium or Chrome.*apt install chromium"):
        pdf.print_pdf("<html ></html>", tmp_path / "x.pdf")
    assert not (tmp_path / "x.pdf").exists()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo first >&2; echo no display >&2; exit 3", "failed with exit code 3: no display"),
        ("exit 0", "wrote no PDF"),
        ("sleep 20", "did not draw the page within 0 seconds"),
    ],
)
def test_a_browser_that_fails_leaves_an_earlier_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    pretend(tmp_path, monkeypatch, script)
    if script.startswith("sleep"):
        monkeypatch.setattr(pdf, "SECONDS", 0.2)
    path = tmp_path / "x.pdf"
    path.write_bytes(b"earlier")
    with pytest.raises(InputError, match=said):
        pdf.print_pdf("<html ></html>", path)
    assert path.read_bytes() == b"earlier"


@pytest.mark.skipif(not INSTALLED, reason="needs Chromium or Chrome")
def test_the_report_is_printed(run_folder: Path) -> None:
    path = run_folder / "report.pdf"
    pdf.print_pdf(render(run_folder, "zh"), path)
    content = path.read_bytes()
    assert content.startswith(b"%PDF")
    assert content.count(b"/Type /Page\n") + content.count(b"/Type /Page ") > 2
