"""Small helpers shared by the builders of the quickstart data."""

from __future__ import annotations

import gzip
import io
import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Record = dict[str, Any]

UNKNOWN_EN = "I don't know."
UNKNOWN_ZH = "我不知道。"


def write_records(path: Path, records: Iterable[Record]) -> int:
    """Write records as gzip JSONL; the same records always give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    count = 0
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=9, mtime=0) as file:
        for record in records:
            file.write((json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8"))
            count += 1
    path.write_bytes(buffer.getvalue())
    return count


def number(records: list[Record], prefix: str) -> list[Record]:
    """Give every record an id made of the prefix and its place."""
    return [{"id": f"{prefix}-{i:05d}", **record} for i, record in enumerate(records)]


def example(question: str, reply: str, task: str, **fields: Any) -> Record:
    """Make one instruction record: a question and its reply."""
    messages = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": reply},
    ]
    return {"messages": messages, "task": task, **fields}


def prompt(
    question: str, verify: Record, task: str, topic: str, group: str, **fields: Any
) -> Record:
    """Make one prompt record with the rule that checks its reply."""
    return {
        "messages": [{"role": "user", "content": question}],
        "task": task,
        "topic": topic,
        "verify": verify,
        "group": group,
        **fields,
    }


def shares(items: Sequence[Any], *parts: float) -> list[list[Any]]:
    """Cut a sequence into consecutive parts of the given shares; the last part takes the rest."""
    cuts = [0]
    for part in parts:
        cuts.append(cuts[-1] + round(part * len(items)))
    cuts.append(len(items))
    return [list(items[a:b]) for a, b in itertools.pairwise(cuts)]
