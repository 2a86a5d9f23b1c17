"""The text of web pages and PDF files."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from burnish.config import InputError, Problem
from burnish.sources.encodings import open_utf8

MOST_BYTES = 64 * 2**20
_PDF_BYTES = 512 * 2**20


def html_text(path: Path, encoding: str) -> str:
    """A page's main text, without navigation and other boilerplate, one paragraph a line.

    Extraction is trafilatura's (Barbaresi 2021, "Trafilatura: A Web Scraping Library and
    Command-Line Tool for Text Discovery and Extraction"), without readers' comments.

    Raises:
        InputError: the page is larger than 64 MiB or holds no main text.
        OSError: it cannot be read.
    """
    import trafilatura

    with open_utf8(path, encoding) as file:
        raw = file.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise _refused(path, f"a page of more than {MOST_BYTES // 2**20} MiB", "a smaller page")
    text: str | None = trafilatura.extract(
        raw.decode("utf-8-sig", "replace"), include_comments=False
    )
    if not text:
        raise _refused(path, "no main text found", "a page with paragraphs of text")
    return text


def pdf_text(path: Path) -> str:
    """The text layer of a PDF file, pages parted by blank lines.

    Raises:
        InputError: it is damaged, wants a password, is too large or has no text layer.
        OSError: it cannot be read.
    """
    if path.stat().st_size > _PDF_BYTES:
        raise _refused(path, f"a file of more than {_PDF_BYTES // 2**20} MiB", "a smaller PDF")
    # It logs every oddity of every file; what matters is said below.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        pages = list(_pages(path))
    except (InputError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - damaged files break a parser in any place
        found = f"cannot be read as PDF: {error}".splitlines()[0]
        raise _refused(path, found, "a whole PDF file") from None
    text = "\n\n".join(page.strip() for page in pages if page.strip())
    if not text:
        raise _refused(path, "no text layer", "a PDF with text; scans need OCR first")
    return text


def _pages(path: Path) -> Iterator[str]:
    from pypdf import PdfReader

    with path.open("rb") as file:
        reader = PdfReader(file)
        # Many files are encrypted with an empty password, only to forbid printing.
        if reader.is_encrypted and not reader.decrypt(""):
            raise _refused(path, "wants a password", "a PDF without one")
        for page in reader.pages:
            yield page.extract_text()


def _refused(path: Path, found: str, expected: str) -> InputError:
    return InputError(Problem(str(path), None, "", found, expected))
