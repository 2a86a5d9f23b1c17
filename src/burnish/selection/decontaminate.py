"""Find training records that contain evaluation prompts, by shared word 8-grams.

A record is a hit of an evaluation item when the 8-grams they share cover at least half of the
item's words. Items under eight words have no 8-gram; they are hit by a turn that is word for word
the whole item and by nothing less.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from burnish.config import Settings
from burnish.records import Prompt, Record, content_id
from burnish.selection.texts import texts_of, words


class DecontaminateSettings(Settings):
    """``coverage``: share of an item's words inside shared n-grams from which it is a hit."""

    ngram: int = 8
    coverage: float = 0.5


@dataclass(frozen=True)
class Hit:
    """Record ``record_id`` contains item ``item_id`` of the evaluation set ``task``."""

    record_id: str
    task: str
    item_id: str
    coverage: float
    excerpt: str


@dataclass(frozen=True)
class LeakReport:
    """``hits`` of all records; ``per_task``: {task: items hit} with 0 for clean ones."""

    hits: list[Hit]
    per_task: dict[str, int]

    def record_ids(self) -> set[str]:
        """The records to leave out of training."""
        return {hit.record_id for hit in self.hits}


class _Item:
    def __init__(self, task: str, prompt: Prompt) -> None:
        self.task, self.id = task, prompt.id
        self.words = words(prompt.messages[-1]["content"])


class Leaks:
    """Evaluation items, to be looked for in records one by one.

    Every turn of a record is compared with the last user turn of every item.
    """

    def __init__(
        self,
        evaluations: Mapping[str, Sequence[Prompt]],
        settings: DecontaminateSettings | None = None,
    ) -> None:
        self.settings = settings or DecontaminateSettings()
        self._items = [
            _Item(task, prompt) for task, prompts in evaluations.items() for prompt in prompts
        ]
        self._index: dict[tuple[str, ...], list[tuple[int, int]]] = {}
        for number, item in enumerate(self._items):
            for start, gram in enumerate(_grams(item.words, self.settings.ngram)):
                self._index.setdefault(gram, []).append((number, start))

    @property
    def fingerprint(self) -> str:
        """Differs where the items do."""
        return content_id([[item.task, item.id, item.words] for item in self._items])

    def name(self, number: int) -> str:
        """An item's name and that of its set."""
        return f"{self._items[number].id} of {self._items[number].task}"

    def find(self, record: Record) -> list[tuple[int, float]]:
        """The items that a record holds: their numbers, and the shares of their words in it."""
        best: dict[int, float] = {}
        for text in texts_of(record):
            found = _coverage(words(text), self._items, self._index, self.settings.ngram)
            for number, share in found.items():
                best[number] = max(share, best.get(number, 0.0))
        return [pair for pair in sorted(best.items()) if pair[1] >= self.settings.coverage]

    def hit(self, record_id: str, number: int, share: float) -> Hit:
        """One of ``find``, with the item's name."""
        item = self._items[number]
        return Hit(record_id, item.task, item.id, share, " ".join(item.words)[:120])


def find_leaks(
    records: Sequence[Record],
    evaluations: Mapping[str, Sequence[Prompt]],
    settings: DecontaminateSettings | None = None,
) -> LeakReport:
    """Look for the items of evaluation sets, given by their names, in records of any kind."""
    leaks = Leaks(evaluations, settings)
    hits = [leaks.hit(record.id, *found) for record in records for found in leaks.find(record)]
    struck = Counter(task for task, _ in {(hit.task, hit.item_id) for hit in hits})
    return LeakReport(hits, {task: struck[task] for task in evaluations})


def _grams(said: Sequence[str], size: int) -> list[tuple[str, ...]]:
    if len(said) < size:
        return [tuple(said)] if said else []
    return [tuple(said[i : i + size]) for i in range(len(said) - size + 1)]


def _coverage(
    said: list[str],
    items: Sequence[_Item],
    index: Mapping[tuple[str, ...], list[tuple[int, int]]],
    size: int,
) -> dict[int, float]:
    """For each item that shares an n-gram with ``said``: the share of its words covered."""
    covered: dict[int, set[int]] = defaultdict(set)
    for gram in set(_grams(said, size)):
        for number, start in index.get(gram, ()):
            covered[number].update(range(start, start + len(gram)))
    return {number: len(at) / len(items[number].words) for number, at in covered.items()}
