"""What replies to conversations, wherever it runs: a model in this process, or a served one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from burnish.records import Message
from burnish.sampling.generate import Completion, generate
from burnish.sampling.settings import Sampling
from burnish.sampling.speculative import Draft
from burnish.text.templates import encode_prompts

Progress = Callable[[int], object]
"""Called with the number of replies that ended, as they end."""


@dataclass(frozen=True)
class Request:
    """One reply asked for. ``messages`` end with a user turn; ``name`` stands in messages.

    ``schema`` is a JSON schema that a server which can is to hold the reply to; others ignore it,
    so that whoever asks reads the reply with care all the same.
    """

    messages: Sequence[Message]
    seed: int
    name: str
    schema: Mapping[str, Any] | None = None


def schema_of(**fields: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema of an object with exactly these fields, in this order."""
    return {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }


class Sampler(Protocol):
    """A model that replies: ``LocalSampler``, or ``served.ServedSampler``."""

    def complete(
        self, requests: Sequence[Request], sampling: Sampling, progress: Progress | None = None
    ) -> list[Completion]:
        """One reply to each request, in their order."""
        ...


@dataclass(frozen=True)
class LocalSampler:
    """A model in this process; see ``generate`` for what a reply depends on and what is raised."""

    model: Any
    tokenizer: Any
    draft: Draft | None = None

    def complete(
        self, requests: Sequence[Request], sampling: Sampling, progress: Progress | None = None
    ) -> list[Completion]:
        """Replies with their tokens and log-probabilities."""
        return generate(
            self.model,
            self.tokenizer,
            encode_prompts(self.tokenizer, [request.messages for request in requests]),
            sampling,
            seeds=[request.seed for request in requests],
            progress=progress,
            draft=self.draft,
        )
