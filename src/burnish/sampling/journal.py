"""Replies kept as they come, so that what was written is never asked for twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NotRequired

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from burnish.records import content_id
from burnish.sampling.generate import Completion, Finish
from burnish.sampling.sampler import Progress, Request, Sampler
from burnish.sampling.settings import Sampling
from burnish.store.metrics import Metrics

JOURNAL = "replies.jsonl"
AT_ONCE = 32
"""Replies that are lost at most when a process with its own model is killed."""


class Journalled(TypedDict):
    """A line of the journal; ``tokens`` only where a model in this process replied."""

    key: str
    text: str
    finish: Finish
    tokens: NotRequired[list[int]]


_JOURNALLED = TypeAdapter(Journalled)


def reply_key(model: str, request: Request, sampling: Sampling) -> str:
    """What a reply depends on, as an id: model, conversation, how it is drawn, seed.

    Where the likeliest token is taken each time, nothing depends on ``top_p`` or the seed.
    """
    drawn, seed = sampling.model_dump(mode="json"), request.seed
    if sampling.temperature == 0:
        drawn, seed = {**drawn, "top_p": 1.0}, 0
    return content_id("reply", model, list(request.messages), drawn, seed)


def read_replies(log: Metrics | None) -> dict[str, Completion]:
    """Replies of earlier runs by key; lines of anything else are left out."""
    found = {}
    for line in [] if log is None else log.read():
        try:
            row = _JOURNALLED.validate_python(line)
        except ValidationError:
            continue
        found[row["key"]] = Completion(row.get("tokens", []), [], row["text"], row["finish"])
    return found


class JournalledSampler:
    """A sampler whose replies go into a journal, some at a time.

    Replies are without log-probabilities: what is read back has none.

    Args:
        sampler: what replies.
        model: what tells the model from any other, such as a hash of its weights.
        journal: a JSONL file; replies in it are not asked for again.
        at_once: replies that are asked for together.
    """

    def __init__(self, sampler: Sampler, model: str, journal: Path, at_once: int = AT_ONCE) -> None:
        self.sampler, self.model, self.at_once = sampler, model, at_once
        self._log = Metrics(journal)
        self._known = read_replies(self._log)

    def complete(
        self, requests: Sequence[Request], sampling: Sampling, progress: Progress | None = None
    ) -> list[Completion]:
        """One reply to each request; equal requests with equal seeds have one reply.

        Raises:
            StorageError: the journal cannot be written.
        """
        keys = [reply_key(self.model, request, sampling) for request in requests]
        asked = dict(zip(keys, requests, strict=True))
        missing = [key for key in asked if key not in self._known]
        missing.sort(key=lambda key: _length(asked[key]))  # what is decoded together, alike
        for start in range(0, len(missing), self.at_once):
            some = missing[start : start + self.at_once]
            replies = self.sampler.complete([asked[key] for key in some], sampling, progress)
            for key, reply in zip(some, replies, strict=True):
                row = Journalled(key=key, text=reply.text, finish=reply.finish)
                self._log.append({**row, "tokens": reply.tokens} if reply.tokens else row)
                self._known[key] = Completion(reply.tokens, [], reply.text, reply.finish)
        if progress is not None and len(missing) < len(keys):
            progress(len(keys) - len(missing))
        return [self._known[key] for key in keys]


def _length(request: Request) -> int:
    return sum(len(message["content"]) for message in request.messages)
