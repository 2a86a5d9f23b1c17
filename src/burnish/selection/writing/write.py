"""Have a writer make records until there are enough, or it has been asked as often as it may be."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import PositiveInt

from burnish.config import Settings
from burnish.records import Example, Message, Prompt, Record, content_id
from burnish.sampling import Completion, EndpointError, Request, Sampler, Sampling
from burnish.sampling.sampler import schema_of
from burnish.selection.shares import divide
from burnish.selection.writing.ask import Ask, question
from burnish.selection.writing.methods import METHODS
from burnish.selection.writing.pool import Pool
from burnish.selection.writing.replies import Refused, fields

REQUESTS_A_RECORD = 4
AT_ONCE = 64
"""Requests between two looks at what came; what is asked next depends on it."""
SHOWN, EXCERPT = 3, 200
TEXT = {"type": "string"}
REFUSES_ONE = frozenset({400, 413, 422})
"""Statuses with which a server refuses a single conversation, for its length or content."""

Origins = Mapping[str, Sequence[Any]]
"""What records are made from, by topic: prompts, examples, passages or ``instructions.Cell``s."""
Fits = Callable[[list[Message]], bool]
"""Whether a conversation leaves the writer room to reply."""
Told = Callable[[int, int], object]
"""Called with how many records and how many requests there are so far."""


class WriteSettings(Settings):
    """How many records are wanted and how a writer is asked for them.

    At most ``max_requests`` replies are asked for, ``4 × count`` where it is None, divided among
    topics as ``count`` is. Replies that an earlier run of the same work left behind count too, so
    that an interrupted run ends as one that was not. A served writer is not sent more requests
    than that either, retries counted: then the run stops, what came is kept, and the same command
    asks for the rest. ``structured`` has a server that can do so hold replies to the JSON object
    asked for.
    """

    count: PositiveInt = 100
    max_requests: PositiveInt | None = None
    sampling: Sampling = Sampling(temperature=0.8, top_p=0.95, max_new_tokens=256)
    structured: bool = False

    @property
    def budget(self) -> int:
        """The most replies that are asked for."""
        return self.max_requests or REQUESTS_A_RECORD * self.count


@dataclass
class Rejected:
    """How many replies were of no use for one reason, with the first of them."""

    count: int = 0
    examples: list[dict[str, str]] = field(default_factory=list)


@dataclass
class Report:
    """What came of the writing.

    ``requests`` are replies asked for, ``usable`` the records made of them. ``stopped`` says why it
    ended: ``enough`` or ``budget``.
    """

    method: str
    wanted: int
    requests: int = 0
    usable: int = 0
    stopped: str = "enough"
    rejected: dict[str, Rejected] = field(default_factory=dict)
    topics: dict[str, dict[str, int]] = field(default_factory=dict)

    def details(self) -> dict[str, Any]:
        """As JSON, the most frequent reasons first."""
        found = asdict(self)
        ranked = sorted(found["rejected"].items(), key=lambda item: -item[1]["count"])
        return found | {"rejected": dict(ranked)}


def write(
    method: str,
    origins: Origins,
    counts: Mapping[str, int],
    sampler: Sampler,
    settings: WriteSettings,
    seed: int,
    *,
    fits: Fits = lambda messages: True,
    told: Told = lambda records, requests: None,
) -> tuple[list[Record], Report]:
    """Ask a writer for records by a method of ``METHODS``.

    The n-th request of a topic depends on the seed and earlier replies alone.

    Args:
        origins: what to start from, by topic; each is used again when all have been.
        counts: records wanted, by topic.
        sampler: the writer.

    Returns:
        The records in the order they came, and the report.

    Raises:
        EndpointError: a served writer cannot be asked further; what came is in its journal.
    """
    work = _Work(method, origins, counts, settings, seed)
    while batch := work.next_batch():
        fitting = [one for one in batch if fits(one.ask.messages())]
        replies = dict(zip(fitting, _replies(sampler, fitting, settings), strict=True))
        for one in batch:
            work.take(one, replies.get(one, "too long for the writer"))
        told(work.report.usable, work.report.requests)
    if work.report.usable < work.report.wanted:
        work.report.stopped = "budget"
    return work.records, work.report


@dataclass(frozen=True, eq=False)
class _Numbered:
    """The n-th thing asked about a topic."""

    topic: str
    number: int
    ask: Ask
    seed: int

    @property
    def name(self) -> str:
        """Says in messages which request it was."""
        return f"{self.topic or self.ask.form} {self.number + 1}"


class _Work:
    """What has been asked, and what came of it."""

    def __init__(
        self,
        method: str,
        origins: Origins,
        counts: Mapping[str, int],
        settings: WriteSettings,
        seed: int,
    ) -> None:
        self.method, self.seed = METHODS[method], seed
        self.counts = {topic: count for topic, count in counts.items() if origins.get(topic)}
        self.budgets = divide(self.counts, settings.budget)
        self.origins = {topic: _shuffled(origins[topic], seed, topic) for topic in self.counts}
        self.texts = [
            question(one)
            for topic in self.counts
            for one in origins[topic]
            if isinstance(one, Prompt | Example)
        ]
        self.pool = Pool(self.texts)
        self.records: list[Record] = []
        self.report = Report(method, sum(self.counts.values()))
        self.report.topics = {
            topic: {"wanted": count, "requests": 0, "usable": 0}
            for topic, count in self.counts.items()
        }

    def next_batch(self) -> list[_Numbered]:
        """What to ask next: what each topic still lacks, while its share of the budget lasts."""
        batch: list[_Numbered] = []
        for topic, stand in self.report.topics.items():
            lacking = min(
                stand["wanted"] - stand["usable"], self.budgets[topic] - stand["requests"]
            )
            taken = min(lacking, AT_ONCE - len(batch))
            batch += [self._numbered(topic, stand["requests"] + n) for n in range(taken)]
            stand["requests"] += taken
        self.report.requests += len(batch)
        return batch

    def _numbered(self, topic: str, number: int) -> _Numbered:
        origins = self.origins[topic]
        seed = int(content_id(self.seed, topic, number), 16) >> 1
        origin = origins[number % len(origins)]
        ask = self.method.ask(origin, number, random.Random(seed), self.texts)
        return _Numbered(topic, number, ask, seed)

    def take(self, one: _Numbered, reply: Completion | str) -> None:
        """Keep the record that a reply makes, or the reason why it makes none."""
        said = "" if isinstance(reply, str) else reply.text
        try:
            if isinstance(reply, str):
                raise Refused(reply)
            record = self.method.make(one.ask, fields(said, one.ask.keys, reply.finish))
            text = question(record)
            known = self.pool.nearly_holds if one.ask.distinct else self.pool.holds
            if known(text):
                raise Refused("nearly as one there is" if one.ask.distinct else "as one there is")
        except Refused as why:
            rejected = self.report.rejected.setdefault(str(why), Rejected())
            rejected.count += 1
            if len(rejected.examples) < SHOWN:
                rejected.examples.append({"asked": one.name, "reply": said[:EXCERPT]})
            return
        self.records.append(record)
        self.texts.append(text)
        self.pool.add(text)
        self.report.usable += 1
        self.report.topics[one.topic]["usable"] += 1


def _shuffled(origins: Sequence[Any], seed: int, topic: str) -> list[Any]:
    order = list(origins)
    random.Random(f"{seed}:{topic}").shuffle(order)
    return order


def _replies(
    sampler: Sampler, asked: Sequence[_Numbered], settings: WriteSettings
) -> list[Completion | str]:
    """A reply to each, or why the server refused this one and no other."""
    requests = {
        one.name: Request(
            one.ask.messages(),
            one.seed,
            one.name,
            schema_of(**dict.fromkeys(one.ask.keys, TEXT)) if settings.structured else None,
        )
        for one in asked
    }
    sampling = settings.sampling
    refused: dict[str, str] = {}
    try:
        replies = sampler.complete(list(requests.values()), sampling)
    except EndpointError as error:
        if not error.failures or any(
            one.status not in REFUSES_ONE for one in error.failures.values()
        ):
            raise
        refused = {n: f"refused with status {one.status}" for n, one in error.failures.items()}
        # The others are in the sampler's journal or memory: nothing is sent again.
        rest = [request for name, request in requests.items() if name not in refused]
        replies = sampler.complete(rest, sampling)
    came = iter(replies)
    return [refused[one.name] if one.name in refused else next(came) for one in asked]
