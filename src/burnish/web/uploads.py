"""Files that people send: small, of a known format, and no larger when they are unpacked."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from starlette.exceptions import HTTPException

from burnish.config import InputError, Problem
from burnish.store import formats

ACCEPTED = (".jsonl", ".jsonl.gz")
MOST_BYTES = 16 * 2**20
MOST_ROWS = 100_000
_SHOWN = 20
_GZIP = 31  # zlib's number for a gzip header and the largest window


@contextmanager
def uploaded(body: bytes, name: str) -> Iterator[Path]:
    """A file with what was sent, unpacked, for the block.

    Args:
        body: as it came; how large it may be is the guard's to say.
        name: what the sender calls it; only its ending counts.

    Raises:
        InputError: the ending is none of ``ACCEPTED``, or it cannot be unpacked.
        HTTPException: 413, more than ``MOST_BYTES`` unpacked or ``MOST_ROWS`` lines.
    """
    ending = formats.suffix(Path(name))
    if ending not in ACCEPTED:
        raise InputError(Problem("", None, "file", f"found {name!r:.80}", " ".join(ACCEPTED)))
    content = unpacked(body) if ending.endswith(".gz") else body
    if content.count(b"\n") > MOST_ROWS:
        raise HTTPException(413, f"the file may have {MOST_ROWS} lines")
    with tempfile.TemporaryDirectory(prefix="burnish-upload-") as folder:
        path = Path(folder) / "upload.jsonl"
        path.write_bytes(content)
        try:
            yield path
        except InputError as error:
            # The sender knows the file by its own name, and can do with the first mistakes.
            raise InputError([replace(one, file=name) for one in error.problems[:_SHOWN]]) from None


def unpacked(body: bytes) -> bytes:
    """What a gzip file holds; no more than ``MOST_BYTES`` of it are ever made.

    Raises:
        InputError: it is no whole gzip file.
        HTTPException: 413, it holds more.
    """
    unpacker = zlib.decompressobj(_GZIP)
    try:
        content = unpacker.decompress(body, MOST_BYTES + 1)
    except zlib.error as error:
        raise InputError(Problem("", None, "file", f"cannot be unpacked: {error}")) from None
    if len(content) > MOST_BYTES:
        raise HTTPException(413, f"the file may have {MOST_BYTES} bytes when it is unpacked")
    if not unpacker.eof or unpacker.unused_data:
        raise InputError(Problem("", None, "file", "not one whole gzip file"))
    return content
