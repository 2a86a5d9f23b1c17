"""What people prefer of two replies: a log of votes, and the preferences to train on in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from burnish.config import Settings
from burnish.evals.ratings import Game
from burnish.records import Message, Preference, content_id
from burnish.store import lock, tables
from burnish.store.metrics import Metrics
from burnish.store.rows import record

SOURCE = "compare"
FOLDER = "compare"
VOTES = "votes.jsonl"
PREFERENCES = "preferences.jsonl"

Choice = Literal["left", "right", "tie"]
SCORES: dict[Choice, float] = {"left": 1.0, "tie": 0.5, "right": 0.0}


class Vote(Settings):
    """One person's choice between two replies to a prompt, as they were shown.

    ``models`` and ``replies`` are those on the left and on the right; ``time`` is UTC.
    """

    duel: str
    prompt: str
    models: tuple[str, str]
    replies: tuple[str, str]
    choice: Choice
    voter: str = Field(min_length=1, max_length=64)
    time: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def game(self) -> Game:
        """As ratings count it; votes on one prompt depend on each other."""
        return Game(*self.models, SCORES[self.choice], content_id(self.prompt))

    def preference(self) -> dict[str, Any] | None:
        """As a row of a ``Preference`` with the voter and the models; None where no reply won."""
        if self.choice == "tie" or self.replies[0] == self.replies[1] or not all(self.replies):
            return None
        first = 0 if self.choice == "left" else 1
        chosen, rejected = ([_said(self.replies[at])] for at in (first, 1 - first))
        row = {
            "id": content_id(SOURCE, self.duel),
            "prompt": [{"role": "user", "content": self.prompt}],
            "chosen": chosen,
            "rejected": rejected,
            "tier": "expert",
            "synthetic": True,
        }
        more = {
            "voter": self.voter,
            "chosen_model": self.models[first],
            "rejected_model": self.models[1 - first],
        }
        return asdict(record(Preference, row, SOURCE)) | more


class Votes:
    """The votes below a folder of runs: ``compare/votes.jsonl``, which ``preferences.jsonl`` beside
    it is made from after every one."""

    def __init__(self, runs: Path) -> None:
        self.folder = runs / FOLDER

    @property
    def preferences(self) -> Path:
        """The file that fit stages read."""
        return self.folder / PREFERENCES

    def add(self, vote: Vote) -> bool:
        """Keep a vote; False where the duel has one already, and nothing changes: who votes after
        it knows which model is which."""
        with lock.held(self.folder / ".lock", wait=True):
            known = self.all()
            if any(one.duel == vote.duel for one in known):
                return False
            Metrics(self.folder / VOTES).append(vote.model_dump(mode="json"))
            self._write([*known, vote])
        return True

    def all(self) -> list[Vote]:
        """Every vote, oldest first."""
        return [Vote.model_validate(row) for row in Metrics(self.folder / VOTES).read()]

    def _write(self, votes: Sequence[Vote]) -> None:
        rows = [row for vote in votes if (row := vote.preference()) is not None]
        columns = {"voter": str, "chosen_model": str, "rejected_model": str}
        if rows:
            with tables.writer(self.preferences, Preference, columns) as add:
                add(rows)


def _said(text: str) -> Message:
    return {"role": "assistant", "content": text}
