"""Pages with a section for each thing that was measured, written one at a time."""

from __future__ import annotations

from pathlib import Path

from burnish.store import atomic

HEADING = "\n## "


def put(page: Path, introduction: str, name: str, section: str) -> str:
    """Write ``section`` below the heading ``name``, in place of what stood there; the others stay.

    Returns:
        The page.
    """
    before = page.read_text(encoding="utf-8") if page.exists() else ""
    parts = [part.partition("\n") for part in before.split(HEADING)[1:]]
    sections = {heading: text for heading, _, text in parts} | {name: section}
    own = (f"{HEADING}{heading}\n\n{text.strip()}\n" for heading, text in sections.items())
    text = introduction.rstrip("\n") + "\n" + "".join(own)
    atomic.write_text(page, text)
    return text
