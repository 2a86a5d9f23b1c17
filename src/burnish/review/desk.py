"""The desk: items, who got which, what each said of it, and everything that was tried.

One SQLite file in the run folder, which many processes may use at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from burnish.config import BurnishError, InputError, Problem
from burnish.review.items import Item
from burnish.review.queue import Placed, ReviewSettings
from burnish.store.database import Database

FILE = "review.sqlite"
OWNER = "owner"
LONGEST_NAME = 40
LONGEST_EDIT = 20_000
Choice = Literal["first", "second", "tie", "skip"]
Refusal = Literal["unknown", "not_yours", "taken", "locked"]


class RefusedError(BurnishError):
    """Something that a reviewer may not do; ``kind`` says why, and the audit keeps it."""

    def __init__(self, kind: Refusal, reason: str) -> None:
        self.kind = kind
        super().__init__(reason)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a reviewer says of an item; of a single reply ``first`` says that it is good, ``second``
    that it is not.

    ``edited`` is a reply that is better than both; ``seconds`` how long it took; ``key`` is made by
    the client: the same one again is the same decision (R-20).
    """

    item: str
    choice: Choice
    key: str
    edited: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Vote:
    """A standing decision."""

    reviewer: str
    choice: Choice
    edited: str | None
    seconds: float
    sequence: int


@dataclass(frozen=True)
class Settled:
    """What was decided where reviewers did not agree."""

    choice: Choice
    edited: str | None
    who: str
    reason: str


@dataclass(frozen=True)
class Case:
    """An item with all that was said of it; ``votes`` are without those who skipped it."""

    item: Item
    people: int | None
    locked: bool
    votes: tuple[Vote, ...]
    settled: Settled | None

    @property
    def disputed(self) -> bool:
        """Whether reviewers disagree and nobody has settled it."""
        open_ = self.settled is None and self.item.kind != "gold"
        return open_ and len({vote.choice for vote in self.votes}) > 1


def place(run: Path) -> Path:
    """Where the desk of a run lies, or would lie."""
    return run / FILE


class Desk(Database):
    """The open desk of a run; made where it does not exist. Close it or use it as a context.

    Raises:
        CorruptError: the file is damaged or is no desk.
        StorageError: it cannot be opened or made, or is from a newer burnish.
    """

    schema = Path(__file__).with_name("desk.sql")
    name = "review desk"
    damaged = "the review desk is damaged; put a backup in its place, or move it away to begin anew"

    @property
    def settings(self) -> ReviewSettings:
        """How the desk was set up; the defaults before anything lies on it."""
        rows = self._rows("SELECT content FROM settings")
        return ReviewSettings.model_validate_json(rows[0]["content"] if rows else "{}")

    def add(self, placed: Sequence[Placed], settings: ReviewSettings) -> int:
        """Lay items on the desk in this order; those that lie there already stay as they are.

        Returns how many are new.
        """
        with self._transaction():
            self._db.execute("DELETE FROM settings")
            self._db.execute("INSERT INTO settings VALUES (?)", (settings.model_dump_json(),))
            before = self._db.total_changes
            self._db.executemany(
                "INSERT OR IGNORE INTO items (id, round, people, content) VALUES (?, ?, ?, ?)",
                [
                    (one.item.id, one.item.round, one.people,
                     json.dumps(asdict(one.item), ensure_ascii=False))
                    for one in placed
                ],
            )  # fmt: skip
            new = self._db.total_changes - before
            self._note(OWNER, "add", "", {"new": new, "settings": settings.model_dump()})
        return new

    def add_reviewer(self, name: str) -> str:
        """Let somebody review; a name that is there already stays. Returns it without outer space.

        Raises:
            InputError: it is no name.
        """
        name = name.strip()
        if not (0 < len(name) <= LONGEST_NAME and name.isprintable()) or name == OWNER:
            expected = f"1 to {LONGEST_NAME} characters that can be seen, and not {OWNER!r}"
            raise InputError(Problem("", None, "name", f"found {name!r:.80}", expected))
        with self._transaction():
            self._db.execute("INSERT OR IGNORE INTO reviewers (name) VALUES (?)", (name,))
            self._note(OWNER, "reviewer", "", {"name": name})
        return name

    def reviewers(self) -> list[str]:
        """Who may review, in the order in which they came."""
        return [row["name"] for row in self._rows("SELECT name FROM reviewers ORDER BY sequence")]

    def take(self, reviewer: str, count: int, held: Sequence[str] = ()) -> list[Item]:
        """The next items for a reviewer, which are theirs from now on: the latest round's first.

        Args:
            held: ids that the reviewer has before them already.

        Raises:
            RefusedError: nobody of this name may review here.
        """
        with self._audited(reviewer, "take", ""), self._transaction():
            number = self._reviewer(reviewer)
            rows = self._db.execute(
                _OPEN, {"me": number, "held": json.dumps(list(held)), "count": count}
            ).fetchall()
            self._db.executemany(
                "INSERT OR IGNORE INTO assigned VALUES (?, ?)",
                [(row["sequence"], number) for row in rows],
            )
        return [_item(row["content"]) for row in rows]

    def left(self, reviewer: str) -> int:
        """How many items a reviewer could still decide now."""
        with self._errors():
            asked = {"me": self._reviewer(reviewer), "held": "[]", "count": -1}
            return len(self._db.execute(_OPEN, asked).fetchall())

    def release(self, reviewer: str) -> int:
        """Give back what a reviewer got and did not decide; returns how many items."""
        with self._audited(OWNER, "release", reviewer), self._transaction():
            given = self._db.execute(
                "DELETE FROM assigned WHERE reviewer = ?1 AND NOT EXISTS (SELECT 1 FROM decisions d"
                " WHERE d.item = assigned.item AND d.reviewer = ?1)",
                (self._reviewer(reviewer),),
            ).rowcount
            self._note(OWNER, "release", reviewer, {"items": given})
        return given

    def decide(self, reviewer: str, said: Decision) -> bool:
        """Keep a decision; False where the same one was sent before, which changes nothing.

        Raises:
            RefusedError: the item is not the reviewer's, was decided already or is locked; or the
                key was used for something else (S-24).
            InputError: the edited reply is empty or too long, or a single reply no different.
        """
        _check_edit(said.edited)
        with self._audited(reviewer, "decide", said.item), self._transaction():
            number, item = self._reviewer(reviewer), self._item_row(said.item)
            _check_choice(item, said.choice)
            before = self._db.execute(
                "SELECT * FROM decisions WHERE reviewer = ? AND key = ?", (number, said.key)
            ).fetchone()
            if before is not None:
                same = (before["item"], before["choice"], before["edited"])
                if same == (item["sequence"], said.choice, said.edited):
                    return False
                raise RefusedError("taken", "this key was used for another decision")
            self._check_open(number, item)
            if self._standing(number, item["sequence"]):
                raise RefusedError("taken", "you decided this item already; undo it first")
            self._db.execute(
                "INSERT INTO decisions (item, reviewer, choice, edited, seconds, key)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (item["sequence"], number, said.choice, said.edited, said.seconds, said.key),
            )
            detail = {"choice": said.choice, "edited": said.edited, "key": said.key}
            self._note(reviewer, "decide", said.item, detail)
        return True

    def undo(self, reviewer: str, key: str) -> Item:
        """Take a decision back; the item is the reviewer's to decide again. Twice is as once.

        Raises:
            RefusedError: the reviewer made no such decision, or the item is locked.
        """
        with self._audited(reviewer, "undo", ""), self._transaction():
            number = self._reviewer(reviewer)
            row = self._db.execute(
                "SELECT d.sequence AS decision, d.undone, i.* FROM decisions d"
                " JOIN items i ON i.sequence = d.item WHERE d.reviewer = ? AND d.key = ?",
                (number, key),
            ).fetchone()
            if row is None:
                raise RefusedError("unknown", "you made no such decision")
            if not row["undone"]:
                self._check_open(number, row)
                self._db.execute(
                    "UPDATE decisions SET undone = 1 WHERE sequence = ?", (row["decision"],)
                )
                self._note(reviewer, "undo", row["id"], {"key": key})
        return _item(row["content"])

    def settle(self, item: str, choice: Choice, edited: str | None, reason: str) -> None:
        """Decide what reviewers do not agree on; a later word replaces an earlier one.

        Raises:
            RefusedError: there is no such item, reviewers do not differ, or it is locked.
            InputError: the edited reply is empty or too long.
        """
        _check_edit(edited)
        with self._audited(OWNER, "settle", item), self._transaction():
            row = self._item_row(item)
            _check_choice(row, choice)
            if row["locked"]:
                raise RefusedError("locked", "this item is locked")
            chosen = self._db.execute(
                "SELECT count(DISTINCT choice) AS n FROM decisions"
                " WHERE item = ? AND undone = 0 AND choice != 'skip'",
                (row["sequence"],),
            ).fetchone()
            if chosen["n"] < 2:
                raise RefusedError("taken", "reviewers do not disagree on this item")
            self._db.execute(
                "INSERT OR REPLACE INTO settled VALUES (?, ?, ?, ?, ?)",
                (row["sequence"], choice, edited, OWNER, reason),
            )
            detail = {"choice": choice, "edited": edited, "reason": reason}
            self._note(OWNER, "settle", item, detail)

    def single(self, item: str) -> bool:
        """Whether an item is one reply; an unknown one is not."""
        rows = self._rows("SELECT content FROM items WHERE id = ?", item)
        return bool(rows) and _item(rows[0]["content"]).single

    def lock(self, items: Sequence[str], reason: str) -> int:
        """Let nothing more be said of these items; returns how many were still open."""
        with self._transaction():
            count = self._db.execute(
                "UPDATE items SET locked = 1 WHERE locked = 0"
                " AND id IN (SELECT value FROM json_each(?))",
                (json.dumps(list(items)),),
            ).rowcount
            self._note(OWNER, "lock", "", {"items": count, "reason": reason})
        return count

    def cases(self) -> list[Case]:
        """All items with what was said of them, in the order in which they are shown."""
        votes: dict[int, list[Vote]] = {}
        for row in self._rows(
            "SELECT d.*, r.name FROM decisions d JOIN reviewers r ON r.sequence = d.reviewer"
            " WHERE undone = 0 AND choice != 'skip' ORDER BY d.sequence"
        ):
            vote = Vote(row["name"], row["choice"], row["edited"], row["seconds"], row["sequence"])
            votes.setdefault(row["item"], []).append(vote)
        settled = {
            row["item"]: Settled(row["choice"], row["edited"], row["who"], row["reason"])
            for row in self._rows("SELECT * FROM settled")
        }
        return [
            Case(
                _item(row["content"]),
                row["people"],
                bool(row["locked"]),
                tuple(votes.get(row["sequence"], ())),
                settled.get(row["sequence"]),
            )
            for row in self._rows("SELECT * FROM items ORDER BY round DESC, sequence")
        ]

    def mark(self) -> int:
        """A number that rises with everything that is done."""
        return int(self._rows("SELECT coalesce(max(sequence), 0) AS n FROM audit")[0]["n"])

    def audit(self) -> list[dict[str, Any]]:
        """Everything that was done or refused, oldest first."""
        return self._rows("SELECT * FROM audit ORDER BY sequence")

    def _reviewer(self, name: str) -> int:
        row = self._db.execute("SELECT sequence FROM reviewers WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise RefusedError("not_yours", "nobody of this name reviews this run")
        return int(row["sequence"])

    def _item_row(self, item: str) -> Any:
        row = self._db.execute("SELECT * FROM items WHERE id = ?", (item,)).fetchone()
        if row is None:
            raise RefusedError("unknown", "there is no such item")
        return row

    def _check_open(self, reviewer: int, item: Any) -> None:
        mine = self._db.execute(
            "SELECT 1 FROM assigned WHERE item = ? AND reviewer = ?", (item["sequence"], reviewer)
        ).fetchone()
        if mine is None:
            raise RefusedError("not_yours", "this item was given to somebody else")
        settled = self._db.execute("SELECT 1 FROM settled WHERE item = ?", (item["sequence"],))
        if item["locked"] or settled.fetchone():
            raise RefusedError("locked", "this item is locked")

    def _standing(self, reviewer: int, item: int) -> bool:
        query = "SELECT 1 FROM decisions WHERE item = ? AND reviewer = ? AND undone = 0"
        return self._db.execute(query, (item, reviewer)).fetchone() is not None

    @contextmanager
    def _audited(self, who: str, action: str, item: str) -> Iterator[None]:
        """Keeps what is refused in the audit; it stands outside of the transaction it undoes."""
        try:
            yield
        except RefusedError as error:
            with self._transaction():
                detail = {"refused": error.kind, "reason": str(error)}
                self._note(who, action, item, detail)
            raise

    def _note(self, who: str, action: str, item: str, detail: dict[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._db.execute(
            "INSERT INTO audit (time, who, action, item, detail) VALUES (?, ?, ?, ?, ?)",
            (now, who[:200], action, item[:200], json.dumps(detail, ensure_ascii=False)),
        )


_OPEN = """
SELECT i.sequence, i.content FROM items i
WHERE i.locked = 0
  AND i.id NOT IN (SELECT value FROM json_each(:held))
  AND NOT EXISTS (SELECT 1 FROM settled s WHERE s.item = i.sequence)
  AND NOT EXISTS (SELECT 1 FROM decisions d
                  WHERE d.item = i.sequence AND d.reviewer = :me AND d.undone = 0)
  AND (i.people IS NULL
       OR EXISTS (SELECT 1 FROM assigned a WHERE a.item = i.sequence AND a.reviewer = :me)
       OR (SELECT count(*) FROM assigned a
           WHERE a.item = i.sequence AND NOT EXISTS (
             SELECT 1 FROM decisions d WHERE d.item = a.item AND d.reviewer = a.reviewer
             AND d.undone = 0 AND d.choice = 'skip')) < i.people)
ORDER BY i.round DESC, i.sequence LIMIT :count
"""
"""Items that a reviewer could decide now. One that was skipped is open to others again."""


def _item(content: str) -> Item:
    fields = json.loads(content)
    return Item(**{**fields, **{name: tuple(fields[name]) for name in ("reasons", "parents")}})


def _check_choice(row: Any, choice: Choice) -> None:
    if choice == "tie" and _item(row["content"]).single:
        found, expected = "tie of a single reply", "first (it is good) or second (it is not)"
        raise InputError(Problem("", None, "choice", found, expected))


def _check_edit(edited: str | None) -> None:
    if edited is not None and not (edited.strip() and len(edited) <= LONGEST_EDIT):
        expected = f"1 to {LONGEST_EDIT} characters, not only white space"
        raise InputError(Problem("", None, "edited", f"found {len(edited)} characters", expected))
