"""Names that become folder names: one strict grammar, so that no name leaves its root. Names of
files beside records, which are not read as records."""

from __future__ import annotations

import re
from pathlib import Path

from burnish.config import InputError, Problem

MANIFEST = "manifest.json"
ARTIFACT = "artifact.json"
PLAN = "flow.json"
CLEAN_REPORT = "clean.json"
REPORT = "report.json"
SEEN = "seen.json"
IMPORTED = "import.json"
REJECTED = "rejected.jsonl"
LABELS = "labels.jsonl"
SAMPLES = "samples.jsonl"
NOT_RECORDS = frozenset({MANIFEST, ARTIFACT, PLAN, CLEAN_REPORT, REPORT, SEEN, IMPORTED})
"""All JSON that burnish writes into folders of records and that are none. A stage that writes more
beside its records names it here."""

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[_-][a-z0-9]+)*")
_LONGEST = 64
_DEVICES = re.compile(r"con|nul|aux|prn|com[0-9]|lpt[0-9]")
_GRAMMAR = "small letters, digits, single - or _ between them, a letter first, at most 64 in all"


def holds_records(file: Path) -> bool:
    """Whether a file in a folder of data is data, by its name; what an import rejected is not."""
    if file.name == REJECTED:
        return not file.with_name(IMPORTED).exists()
    return file.name not in NOT_RECORDS


def check_name(name: str) -> str:
    """Return ``name`` if it is fit for a folder on any system; raises InputError if not."""
    if len(name) <= _LONGEST and _NAME.fullmatch(name) and not _DEVICES.fullmatch(name):
        return name
    raise InputError(Problem("", None, "name", f"found {name!r:.80}", _GRAMMAR))


def parse_ref(ref: str) -> tuple[str, int | None]:
    """``"sft@3"`` as ``("sft", 3)`` and ``"sft"`` as ``("sft", None)``; raises InputError."""
    name, at, version = ref.partition("@")
    check_name(name)
    if not at:
        return name, None
    if not re.fullmatch(r"[1-9][0-9]{0,8}", version):
        raise InputError(Problem("", None, "version", f"found {ref!r:.80}", "as in sft@3"))
    return name, int(version)
