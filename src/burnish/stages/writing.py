"""What records are written from, and how many of each topic: shared by stages and commands."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.config import InputError, Problem
from burnish.config.progress import Handle
from burnish.evals.topics import read_scores
from burnish.records import Document, Example, Language, Prompt
from burnish.selection import adaptive, instructions
from burnish.selection.writing import METHODS, passages
from burnish.selection.writing.write import Told

LEAST_SHARE = 0.5
"""How much of an equal share a topic gets at least, unless said otherwise."""


@dataclass(frozen=True)
class Sources:
    """What a method can start from."""

    topics: Sequence[instructions.InstructionFile] = ()
    prompts: Sequence[Prompt] = ()
    examples: Sequence[Example] = ()
    documents: Sequence[Document] = ()

    def kinds(self) -> list[str]:
        """The names of those that are given."""
        names = ("topics", "prompts", "examples", "documents")
        return [name for name in names if getattr(self, name)]


def origins(
    method: str, sources: Sources, langs: Collection[Language] = ("en", "zh")
) -> dict[str, list[Any]]:
    """What a method starts from, by topic (``""`` where there are none), in these languages.

    An example stands for its prompt where a method takes prompts alone. Documents are cut into
    passages for questions.

    Raises:
        InputError: the method cannot start from what is given, or nothing is in these languages.
    """
    reads = METHODS[method].reads
    prompts: list[Any] = [*sources.prompts]
    if "examples" not in reads:
        prompts += [_asked(example) for example in sources.examples]
    given: dict[str, Sequence[Any]] = {
        "prompts": prompts if "prompts" in reads else (),
        "examples": sources.examples if "examples" in reads else (),
        "documents": sources.documents if "documents" in reads else (),
    }
    if method == "grounded":
        given["documents"] = [part for one in sources.documents for part in passages(one)]
    found: dict[str, list[Any]] = {}
    for source in sources.topics if "topics" in reads else ():
        for topic, cells in instructions.cells(source, tuple(langs)).items():
            found.setdefault(topic, []).extend(cells)
    for record in (one for records in given.values() for one in records):
        if record.lang in langs:
            found.setdefault(getattr(record, "topic", ""), []).append(record)
    if not found:
        kinds = ", ".join(sources.kinds()) or "nothing"
        expected = f"expected {' or '.join(reads)} in {' or '.join(sorted(langs))}"
        raise InputError(Problem("", None, method, f"found {kinds}", expected))
    return found


def _asked(example: Example) -> Prompt:
    last = max(i for i, turn in enumerate(example.messages) if turn["role"] == "user")
    return Prompt(
        id=example.id,
        source=example.source,
        lang=example.lang,
        tier=example.tier,
        synthetic=example.synthetic,
        messages=example.messages[: last + 1],
        task=example.task,
    )


def shares(
    origins: Mapping[str, Sequence[Any]],
    evaluation: Sequence[Path],
    total: int,
    least: float,
    once: bool = False,
) -> list[adaptive.Share]:
    """How many records each topic gets; equal shares where there is no evaluation.

    Args:
        evaluation: what ``evals.topics.read_scores`` reads.
        least: see ``adaptive.plan``.
        once: every origin gives one record at most.

    Raises:
        InputError: not an evaluation.
    """
    scores = {topic: figure for path in evaluation for topic, figure in read_scores(path).items()}
    limits = {topic: len(found) for topic, found in origins.items()} if once else None
    return adaptive.plan(sorted(origins), scores, total, least, limits)


def telling(bar: Handle) -> Told:
    """Shows on a bar of records how many there are, and how many replies came, and how fast."""
    began, made = time.monotonic(), 0

    def told(records: int, requests: int) -> None:
        nonlocal made
        rate = 60 * requests / max(time.monotonic() - began, 1e-3)
        bar.advance(records - made, replies=requests, a_minute=round(rate))
        made = records

    return told
