"""What people say about replies: kept in the registry, read back as records to train on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from burnish.records import Message, Record, content_id
from burnish.records.types import KINDS
from burnish.serve.protocol import FeedbackRequest
from burnish.store.registry import Registry
from burnish.store.rows import record

SOURCE = "serve"
KINDS_STORED = ("feedback", "preference")


@dataclass(frozen=True)
class Answered:
    """A request that was answered: what feedback on it has to know."""

    prompt: Sequence[Message]
    replies: Sequence[str]
    arm: str
    ref: str
    user: str | None


class Recent:
    """The last ``most`` answered requests by id, in memory only: nobody's words stay."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._known: OrderedDict[str, Answered] = OrderedDict()

    def remember(self, key: str, answered: Answered) -> None:
        """Keep one more, and forget the oldest of too many."""
        self._known[key] = answered
        while len(self._known) > self.most:
            self._known.popitem(last=False)

    def find(self, key: str) -> Answered | None:
        """What is known of the request with this id."""
        return self._known.get(key)


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
    """Feedback as it is written into a registry, by one thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pool = ThreadPoolExecutor(1, "feedback")
        self._registry: Registry | None = None

    def add(self, key: str, ref: str, content: dict[str, Any]) -> Any:
        """Write it down; the future says whether it is new.

        Raises (from the future):
            StorageError: the registry cannot be written.
        """
        return self._pool.submit(self._add, key, ref, content)

    def _add(self, key: str, ref: str, content: dict[str, Any]) -> bool:
        if self._registry is None:
            self._registry = Registry(self.path)
        return self._registry.add_feedback(key, ref, content)

    def close(self) -> None:
        """Finish what was begun."""

        def close() -> None:
            if self._registry is not None:
                self._registry.close()

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
