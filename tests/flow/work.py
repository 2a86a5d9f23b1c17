"""A source, steps and faults that other processes can load."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from burnish import flow
from burnish.config import InputError, Problem
from burnish.records import Document
from burnish.store import tables

SIZE = 4


def document(number: int) -> Document:
    """``text 3``; its lang and id are given, so that nothing is worked out on reading."""
    return Document(id=f"d{number}", text=f"text {number}", source="made", lang="en")


@dataclass(frozen=True)
class Made:
    """A source of ``count`` documents in parts of 4; a line in the ledger for each part made."""

    count: int
    ledger: Path

    @property
    def fingerprint(self) -> str:
        return f"made {self.count}"

    def __len__(self) -> int:
        return -(-self.count // SIZE)

    def read(self, index: int) -> Sequence[Document]:
        with self.ledger.open("a") as file:
            file.write(f"{index}\n")
        return [document(n) for n in range(index * SIZE, min(self.count, (index + 1) * SIZE))]

    def paid(self) -> Counter[int]:
        """How often each part was made."""
        lines = self.ledger.read_text().split() if self.ledger.exists() else []
        return Counter(map(int, lines))


def shout(part: flow.Part, fault: object = None) -> flow.Sifted:
    """Upper case; what ends in 7 goes."""
    if isinstance(fault, Fault):
        fault.strike(part.index)
    kept, removed = [], []
    for one in part.records:
        assert isinstance(one, Document)
        if one.id.endswith("7"):
            removed.append(flow.Removed(one.id, "ends\tin 7"))
        else:
            kept.append(Document(id=one.id, text=one.text.upper(), source="made", lang="en"))
    return flow.Sifted(kept, removed)


@dataclass(frozen=True)
class Fault:
    """A signal that a process sends itself at a part, ``times`` times."""

    part: int
    number: signal.Signals
    marks: Path
    times: int = 1

    def strike(self, index: int) -> None:
        done = len(list(self.marks.parent.glob(f"{self.marks.name}-*")))
        if index == self.part and done < self.times:
            self.marks.with_name(f"{self.marks.name}-{done}").touch()
            os.kill(os.getpid(), self.number)

    def count(self) -> int:
        """How often it struck."""
        return len(list(self.marks.parent.glob(f"{self.marks.name}-*")))


def steps(fault: Fault | None = None, loud: int = 1) -> list[flow.Step]:
    """The one step of these tests."""
    return [flow.Step("shout", partial(shout, fault=fault), {"loud": loud})]


def lose(part: flow.Part) -> flow.Sifted:
    """Forgets the last record."""
    return flow.Sifted(part.records[:-1])


def refuse(part: flow.Part) -> flow.Sifted:
    """Finds the input bad."""
    raise InputError(Problem("x.jsonl", 3, "text", "found 7", "text"))


def crash(part: flow.Part) -> flow.Sifted:
    """A mistake in a step."""
    raise KeyError("no such thing")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def texts(folder: Path) -> list[str]:
    """What ``tables`` reads in the folder, in its order."""
    return [one.text for one in tables.iterate(folder, Document)]
