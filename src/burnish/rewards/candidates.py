"""What scorers see: one reply to one conversation, whatever kind of record it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.records import Language, Message, Prompt, Rollout, content_id
from burnish.rewards.formats import split_words
from burnish.rewards.matching import normalise
from burnish.rewards.refusal import plain

_HEADINGS = {normalise(text) for text in ("Solution", "Answer", "Thought process", "解答", "答案")}


@dataclass(frozen=True)
class Candidate:
    """A reply. ``name`` is for messages; ``messages`` end with a user turn where there is one.

    ``verify`` is the prompt's specification, ``finished`` whether the reply came to its own end.
    """

    name: str
    messages: Sequence[Message]
    reply: str
    lang: Language = "en"
    verify: Mapping[str, Any] | None = None
    finished: bool = True

    @property
    def content(self) -> str:
        """What a score depends on, as 16 hex digits; the same for equal replies."""
        spec = None if self.verify is None else dict(self.verify)
        return content_id(list(self.messages), self.reply, self.lang, spec, self.finished)

    @property
    def question(self) -> str:
        """The last turn before the reply."""
        return self.messages[-1]["content"] if self.messages else ""


def of_rollout(prompt: Prompt | None, rollout: Rollout) -> Candidate:
    """A rollout with its prompt's specification, where the prompt is known."""
    verify = prompt.verify if prompt is not None else None
    finished = rollout.finish == "stop"
    return Candidate(rollout.id, rollout.prompt, rollout.completion, rollout.lang, verify, finished)


def says_nothing(candidate: Candidate) -> bool:
    """No word, a bare heading, an unfinished "Answer:", or the question again."""
    reply = plain(candidate.reply).strip()
    said = normalise(reply)
    question = normalise(candidate.question)
    return not split_words(reply) or reply.endswith(":") or said in _HEADINGS | {question}
