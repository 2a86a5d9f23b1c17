"""Frozen, versioned records. Their columns are those other tools read (TRL, Hugging Face)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from typing_extensions import TypedDict

RECORD_VERSION = 1

Language = Literal["en", "zh"]
Tier = Literal["expert", "selected", "bulk"]


class Message(TypedDict):
    """One turn of a conversation: ``{"role": "user", "content": "Hello"}``."""

    role: str
    content: str


def content_id(*parts: Any) -> str:
    """A stable id of 16 hex digits for any JSON-able content."""
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Record:
    """What every record carries: identity and provenance.

    ``source`` names the data set or stage it came from, ``parents`` the records it was made from
    or the file and line it was imported from, ``tier`` its place in the quality pyramid,
    ``synthetic`` whether a machine wrote it.
    """

    id: str
    source: str = "unknown"
    lang: Language = "en"
    tier: Tier = "bulk"
    synthetic: bool = False
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Document(Record):
    """Plain text for (continued) pre-training.

    Example: ``Document(id="d1", text="Paris is the capital of France.", source="atlas")``.
    """

    text: str


@dataclass(frozen=True, kw_only=True)
class Example(Record):
    """A conversation for supervised fine-tuning; every assistant turn is trained.

    Example: ``messages=[{"role": "user", "content": "Hi"}, {"role": "assistant",
    "content": "Hello."}]``. ``weight`` scales this example's loss.
    """

    messages: list[Message]
    task: str = "chat"
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Prompt(Record):
    """A conversation that ends with a user turn, and how a reply to it is verified.

    ``verify`` is a verifier's settings, such as ``{"kind": "answer", "answers": ["Paris"]}``
    (see ``burnish.rewards.verifiers``); ``None`` where only a judge or reward model can score.
    ``group`` is the unit that intervals are clustered on (an entity, a source document).
    An evaluation item is a Prompt too.
    """

    messages: list[Message]
    task: str = "chat"
    topic: str = ""
    verify: dict[str, Any] | None = None
    group: str = ""
    category: str = ""


@dataclass(frozen=True, kw_only=True)
class Preference(Record):
    """A chosen and a rejected reply to one prompt (TRL's conversational columns).

    ``margin`` is the score difference chosen − rejected, 0 where none is known. ``objectives``
    says the same of single objectives, such as ``{"helpful": 1.0, "harmless": -0.5}``: where the
    number is negative the *rejected* reply is the better one in it. One that is absent or 0 says
    nothing. ``probability`` is the labeller's own that the chosen reply is the better one, a soft
    label; 1 where nobody was in doubt. ``annotators`` are the people who decided so; empty where it
    was a machine.
    """

    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]
    margin: float = 0.0
    probability: float = 1.0
    objectives: dict[str, float] = field(default_factory=dict)
    annotators: tuple[str, ...] = ()
    task: str = "chat"
    topic: str = ""
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class Feedback(Record):
    """One reply to a prompt and whether it was liked (TRL's unpaired preference columns).

    Example: ``prompt=[{"role": "user", "content": "Hi"}], completion=[{"role": "assistant",
    "content": "Hello."}], label=True``. ``label`` is True for a desirable reply. ``annotators`` are
    the people who decided so on a desk.
    """

    prompt: list[Message]
    completion: list[Message]
    label: bool
    annotators: tuple[str, ...] = ()
    task: str = "chat"
    topic: str = ""
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class Rollout(Record):
    """One sampled reply with what is needed to train on it and to repeat it.

    ``tokens: [L]`` are the completion's ids, the last an end token or the one that completed a
    stop string where ``finish == "stop"``; ``logprobs: [L]`` their log-probabilities under the
    sampling distribution's temperature. ``scores`` holds one number per scorer, ``reward`` their
    aggregate.
    """

    prompt_id: str
    prompt: list[Message]
    completion: str
    tokens: list[int]
    logprobs: list[float]
    finish: Literal["stop", "length"]
    temperature: float
    top_p: float
    seed: int
    scores: dict[str, float]
    reward: float = 0.0
    topic: str = ""
    task: str = "chat"
    group: str = ""


KINDS: dict[str, type[Record]] = {
    "rollout": Rollout,
    "preference": Preference,
    "feedback": Feedback,
    "example": Example,
    "prompt": Prompt,
    "document": Document,
}
"""Every kind of record by its name in settings and on the command line. Of kinds that a row fits as
well, the first is taken."""
