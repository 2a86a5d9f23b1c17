"""What is named to import: files, folders and data sets, and the rows of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from burnish.config import InputError, Problem, optional
from burnish.sources import documents, hub
from burnish.sources.encodings import encoding_of, open_utf8
from burnish.store import formats
from burnish.store.formats import Row

PAGES = (".html", ".htm", ".xhtml")
PDF = ".pdf"
ACCEPTED = (*formats.TABLES, *formats.TEXTS, *PAGES, PDF)
_ALWAYS = ("ftfy", "charset_normalizer")


@dataclass(frozen=True)
class Source:
    """One file, or one data set of the hub.

    ``alone`` is a file that was named itself, not found in a folder; ``title`` is what its records
    are said to come from.
    """

    name: str
    title: str
    path: Path | None = None
    ref: hub.HubRef | None = None
    alone: bool = False

    @property
    def form(self) -> str:
        """How the layout is called where the file's format says it: "HTML", "PDF" or ""."""
        suffix = _suffix(self.path) if self.path else ""
        return "HTML" if suffix in PAGES else "PDF" if suffix == PDF else ""


def sources(inputs: Sequence[str]) -> list[Source]:
    """Everything named, folders opened up in order of names; each file once.

    Raises:
        InputError: something is not there, has a format that is not read or, being a folder, holds
            nothing that is; or a package is missing that reads it.
    """
    problems: list[Problem] = []
    found: dict[str, Source] = {}
    for text in inputs:
        try:
            for source in _named(text):
                found.setdefault(source.name, source)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    _need_packages(found.values())
    return list(found.values())


def _named(text: str) -> list[Source]:
    if text.startswith(hub.SCHEME):
        ref = hub.parse(text)
        return [Source(text, ref.path.rstrip("/").removeprefix("./"), ref=ref)]
    path = Path(text)
    accepted = " ".join(ACCEPTED)
    if path.is_dir():
        files = [file for file in formats.below(path) if _suffix(file)]
        if not files:
            expected = f"files of these formats: {accepted}"
            raise InputError(Problem(text, None, "", "no data in this folder", expected))
        return [Source(str(file), _title(file), path=file) for file in files]
    if not path.exists():
        raise InputError(Problem(text, None, "", "no such file or folder"))
    if not _suffix(path):
        raise InputError(Problem(text, None, "", "a format that is not read", f"one of {accepted}"))
    return [Source(str(path), _title(path), path=path, alone=True)]


def _suffix(path: Path) -> str:
    other = path.suffix.lower()
    return formats.suffix(path) or (other if other in (*PAGES, PDF) else "")


def _title(path: Path) -> str:
    return formats.stem(path) if formats.suffix(path) else path.stem


def _need_packages(found: Iterable[Source]) -> None:
    needed = set(_ALWAYS)
    for source in found:
        if source.ref:
            needed.add("datasets")
        if source.form:
            needed.add("pypdf" if source.form == "PDF" else "trafilatura")
    optional.needed("data", *sorted(needed))


def encoding(source: Source) -> str:
    """The encoding of a source's text, "" where its format settles that.

    Raises:
        InputError: it cannot be told, or the file cannot be read.
    """
    if source.path is None or _suffix(source.path) in (".parquet", PDF):
        return ""
    try:
        return encoding_of(source.path)
    except OSError as error:
        raise _unreadable(source, error) from None


def rows(source: Source, encoding: str) -> Iterator[Row | Problem]:
    """The rows of a source; what is wrong with one comes in its place.

    Raises:
        InputError: the source as a whole cannot be read, or from here on no longer.
    """
    if source.ref is not None:
        yield from hub.rows(source.ref)
        return
    path = source.path
    assert path is not None
    try:
        if source.form == "HTML":
            yield Row({"text": documents.html_text(path, encoding)}, 1)
        elif source.form == "PDF":
            yield Row({"text": documents.pdf_text(path)}, 1)
        else:
            yield from formats.rows(path, source.alone, lambda file: open_utf8(file, encoding))
    except OSError as error:
        raise _unreadable(source, error) from None


def _unreadable(source: Source, error: Exception) -> InputError:
    found = f"cannot be read: {error}".splitlines()[0]
    return InputError(Problem(source.name, None, "", found, "a complete file"))
