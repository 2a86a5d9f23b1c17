"""What people say about replies: kept in the registry, read back as records to train on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from burnish.records import Message, Record, content_id
from burnish.records.types import KINDS
from burnish.serve.protocol import FeedbackRequest
from burnish.serve.remembered import Answered, Kept
from burnish.store.registry import Registry
from burnish.store.rows import record

SOURCE = "serve"
ANSWERED = "answered.sqlite"
"""What feedback can be given on; it lies beside the registry."""
KINDS_STORED = ("feedback", "preference")


def content_of(said: FeedbackRequest, answered: Answered) -> dict[str, Any]:
    """What is stored: a ``Feedback`` or ``Preference`` record as JSON, and where it comes from.

    Raises:
        IndexError: there is no reply of this number.
    """
    prompt = list(answered.prompt)
    reply: list[Message] = [{"role": "assistant", "content": answered.replies[said.choice]}]
    user = said.user or answered.user
    key = content_id(said.id, said.choice, user, said.thumbs, said.better)
    row: dict[str, Any] = {"id": key, "parents": (said.id,), "prompt": prompt}
    kind = "feedback" if said.better is None else "preference"
    if said.better is None:
        row |= {"completion": reply, "label": said.thumbs == "up"}
    else:
        row |= {"chosen": [{"role": "assistant", "content": said.better}], "rejected": reply}
    return {
        "kind": kind,
        "record": asdict(record(KINDS[kind], row, SOURCE)),
        "arm": answered.arm,
        "user": user,
        "comment": said.comment,
    }


def key_of(said: FeedbackRequest, answered: Answered, header: str | None) -> str:
    """What makes a repeated submission the same one."""
    given = said.key or header
    if given is not None:
        return f"given:{given}"
    what = "thumbs" if said.better is None else "better"
    return f"reply:{said.id}:{said.choice}:{what}:{said.user or answered.user or ''}"


class Book:
    """Feedback as it is written into a registry, by one thread; beside it what feedback is on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pool = ThreadPoolExecutor(1, "feedback")
        self._registry: Registry | None = None
        self._kept: Kept | None = None

    def add(self, key: str, ref: str, content: dict[str, Any]) -> Future[bool]:
        """Write it down; the future says whether it is new.

        Raises (from the future):
            StorageError: the registry cannot be written.
        """
        return self._pool.submit(self._add, key, ref, content)

    def keep(self, key: str, answered: Answered, most: int) -> Future[None]:
        """Keep what was answered, and ``most`` such in all.

        Raises (from the future):
            StorageError: it cannot be written.
        """
        return self._pool.submit(lambda: self._opened().add(key, answered, most))

    def find(self, key: str) -> Future[Answered | None]:
        """What was kept under an id, by this server or one before it.

        Raises (from the future):
            StorageError: it cannot be read.
        """
        return self._pool.submit(lambda: self._opened().find(key))

    def _add(self, key: str, ref: str, content: dict[str, Any]) -> bool:
        if self._registry is None:
            self._registry = Registry(self.path)
        return self._registry.add_feedback(key, ref, content)

    def _opened(self) -> Kept:
        if self._kept is None:
            self._kept = Kept(self.path.with_name(ANSWERED))
        return self._kept

    def close(self) -> None:
        """Finish what was begun."""

        def close() -> None:
            for one in (self._registry, self._kept):
                if one is not None:
                    one.close()

        self._pool.submit(close)
        self._pool.shutdown()


def records(registry: Registry, kind: str, arm: str | None = None) -> Iterator[Record]:
    """Feedback on replies as ``Feedback`` or ``Preference`` records, oldest first."""
    for row in registry.feedback():
        said = row.content
        if said.get("kind") == kind and arm in (None, said.get("arm")):
            yield record(KINDS[kind], said["record"], SOURCE)


def tally(registry: Registry) -> dict[str, dict[str, int]]:
    """How often each arm was liked, not liked, and given a better answer."""
    counts: dict[str, dict[str, int]] = {}
    for row in registry.feedback():
        said = row.content
        if said.get("kind") not in KINDS_STORED:
            continue
        label = said["record"].get("label")
        column = "better" if said["kind"] == "preference" else "up" if label else "down"
        arm = counts.setdefault(said["arm"], {"up": 0, "down": 0, "better": 0})
        arm[column] += 1
    return counts
