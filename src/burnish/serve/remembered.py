"""What was asked and answered lately, so that feedback on it can be understood."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from burnish.records import Message
from burnish.store.database import Database
from burnish.store.errors import storage_errors


@dataclass(frozen=True)
class Answered:
    """A request that was answered: what feedback on it has to know."""

    prompt: Sequence[Message]
    replies: Sequence[str]
    arm: str
    ref: str
    user: str | None


class Recent:
    """The last ``most`` answered requests of this process by id, in memory."""

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


class Kept(Database):
    """The last answered requests of all servers of a folder of runs, on disk.

    Only their owner may read the file, and what is forgotten is overwritten in it. After a power
    cut the last few may be missing.
    """

    schema = Path(__file__).with_name("answered.sql")
    name = "file of answered requests"
    damaged = "the file of answered requests is damaged; delete it, feedback goes on without"

    def __init__(self, path: Path) -> None:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
        super().__init__(path)

    def _prepare(self) -> None:
        super()._prepare()
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("PRAGMA secure_delete = ON")

    def add(self, key: str, answered: Answered, most: int) -> None:
        """Keep one more, and forget the oldest of more than ``most``."""
        content = json.dumps(asdict(answered), ensure_ascii=False)
        with self._transaction():
            self._db.execute("INSERT INTO answered (key, content) VALUES (?, ?)", (key, content))
            self._db.execute(
                "DELETE FROM answered WHERE sequence <= (SELECT max(sequence) FROM answered) - ?",
                (most,),
            )

    def find(self, key: str) -> Answered | None:
        """What is known of the request with this id."""
        rows = self._rows("SELECT content FROM answered WHERE key = ?", key)
        return Answered(**json.loads(rows[0]["content"])) if rows else None
