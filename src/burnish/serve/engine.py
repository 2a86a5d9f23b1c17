"""A model that many ask at once: what it is asked, and one whose own thread decodes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Protocol

from burnish.models.load import Loaded
from burnish.records import Message
from burnish.sampling import Batcher, BatchLimits, Draft, Sampling
from burnish.sampling.batcher import Drawn
from burnish.sampling.decoding import Row
from burnish.sampling.generate import Finish, completion
from burnish.sampling.stopping import Increments
from burnish.text.documents import document_marks
from burnish.text.templates import encode_prompt


class DecodingError(Exception):
    """The model gave no reply; ``status``, ``param`` and ``code`` are what a client is told."""

    def __init__(
        self, message: str, status: int = 500, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code


@dataclass(frozen=True)
class Load:
    """Replies that run and wait at a model, and what became of its draft's tokens so far."""

    running: int
    waiting: int = 0
    proposed: int = 0
    accepted: int = 0


@dataclass(frozen=True)
class Worth:
    """A token's text, its log-probability, and texts and log-probabilities of the likeliest."""

    text: str
    logprob: float
    top: list[tuple[str, float]]


@dataclass(frozen=True)
class Piece:
    """What is new of the reply number ``choice``: ``text`` that is certain now, ``count`` tokens.

    ``worth``: of the last of them, where that is asked for; a token that ends the reply has none.
    ``finish``: why the reply has ended, with its last piece.
    """

    choice: int
    text: str
    count: int = 1
    worth: Worth | None = None
    finish: Finish | None = None


class Replies(Protocol):
    """Replies under way; iterate over it once, and ``close`` it in any case."""

    @property
    def count(self) -> int:
        """How many there are."""
        ...

    @property
    def known(self) -> int:
        """Tokens of the prompts that did not have to be read; of all once all have ended."""
        ...

    def __aiter__(self) -> AsyncIterator[list[Piece]]:
        """Pieces in their order, of all replies mixed; those that came meanwhile together.

        Raises:
            DecodingError: the model failed.
        """
        ...

    def close(self) -> None:
        """Give up what has not ended."""
        ...


class Model(Protocol):
    """A model here that many ask at once; use it from one event loop.

    ``ref`` names its weights in the registry, or as they were asked for; ``identity`` is their
    fingerprint; ``size`` counts its tokens. ``alive``: it can still answer.
    """

    ref: str
    identity: str
    size: int

    @property
    def alive(self) -> bool: ...

    def load(self) -> Load:
        """How busy it is."""
        ...

    async def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """Ids of a conversation as the model's template has it. S-06: control tokens inside
        messages are text.

        Raises:
            InputError: the template does not take it.
        """
        ...

    async def encode_text(self, text: str) -> list[int]:
        """Ids of plain text, with bos where documents begin with it. S-06: control tokens in it
        are text."""
        ...

    def ask(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        seeds: Sequence[int],
        top: int | None,
    ) -> Replies:
        """One reply for each prompt and seed, those of a prompt together; all or none.

        ``top``: how many of the likeliest tokens are told of each one; None: no log-probabilities.

        Raises:
            InputError: a prompt is empty or too long.
            QueueFull: too many wait.
        """
        ...

    async def close(self, now: bool = False) -> None:
        """Take nothing more, and wait until all that runs has ended; with ``now`` it ends here."""
        ...


class Decoded:
    """Replies of an ``Engine``, see ``Replies``, ``each`` of one prompt after the other; ``worth``:
    log-probabilities are told."""

    def __init__(self, engine: Engine, rows: list[Row], each: int, worth: bool) -> None:
        self._engine, self._rows, self._each, self._worth = engine, rows, each, worth
        self._drawn: list[Drawn] = []
        self._came = asyncio.Event()
        self._places = {id(row): place for place, row in enumerate(rows)}
        self._texts = [Increments(row.endings) for row in rows]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._rows)

    @property
    def known(self) -> int:
        """See ``Replies``: each prompt's first reply says it."""
        return sum(row.known for row in self._rows[:: self._each])

    def take(self, one: Drawn) -> None:
        """One more token of one of them."""
        self._drawn.append(one)
        self._came.set()

    async def __aiter__(self) -> AsyncIterator[list[Piece]]:
        """See ``Replies``."""
        going = self.count
        while going:
            await self._came.wait()
            self._came.clear()
            drawn, self._drawn = self._drawn, []
            going -= sum(one.last for one in drawn)
            yield [self._piece(one) for one in drawn]

    def _piece(self, one: Drawn) -> Piece:
        if one.error is not None or one.token is None:
            raise DecodingError("the model failed while it replied") from one.error
        place = self._places[id(one.row)]
        done = completion(one.row) if one.last else None
        text = self._texts[place].finish(done.text) if done else self._texts[place].push(one.token)
        told = self._worth and one.token not in self._engine.batcher.ends
        return Piece(
            place,
            text,
            worth=self._worth_of(one.token, one) if told else None,
            finish=done.finish if done else None,
        )

    def _worth_of(self, token: int, one: Drawn) -> Worth:
        word = self._engine.word
        return Worth(word(token), one.logprob, [(word(other), value) for other, value in one.top])

    def close(self) -> None:
        """Give up what has not ended."""
        self._engine.give_up(self._rows)


class Engine:
    """A loaded model with a thread of its own that decodes, see ``Model``; ``draft`` goes ahead
    of it."""

    alive = True

    def __init__(
        self,
        loaded: Loaded,
        ref: str,
        identity: str,
        limits: BatchLimits,
        draft: Draft | None = None,
    ) -> None:
        self.ref, self.identity = ref, identity
        self.tokenizer, self.size = loaded.tokenizer, len(loaded.tokenizer)
        self.batcher = Batcher(loaded.model, loaded.tokenizer, limits, self._tell, draft)
        # A tokenizer that encodes in one thread cannot decode in another.
        self._encoder = deepcopy(loaded.tokenizer)
        self._encoding = threading.Lock()
        self._loop = asyncio.get_running_loop()
        self._watchers: dict[int, Decoded] = {}
        self._thread = threading.Thread(target=self.batcher.run, name=f"decode {ref}", daemon=True)
        self._thread.start()

    def load(self) -> Load:
        """How busy it is."""
        own = self.batcher
        return Load(own.running, own.waiting, own.proposed, own.accepted)

    async def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """See ``Model``."""
        return await asyncio.to_thread(self._locked, lambda: encode_prompt(self._encoder, messages))

    async def encode_text(self, text: str) -> list[int]:
        """See ``Model``."""

        def encode() -> list[int]:
            start, _ = document_marks(self._encoder)
            ids = self._encoder(text, add_special_tokens=False, split_special_tokens=True)
            return [*start, *ids["input_ids"]]

        return await asyncio.to_thread(self._locked, encode)

    def ask(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        seeds: Sequence[int],
        top: int | None,
    ) -> Decoded:
        """See ``Model``."""
        rows: list[Row] = []
        try:
            for prompt in prompts:
                rows += self.batcher.submit(prompt, sampling, seeds, top or 0)
        except BaseException:
            self.batcher.cancel(rows)
            raise
        replies = Decoded(self, rows, len(seeds), worth=top is not None)
        self._watchers |= {id(row): replies for row in rows}
        return replies

    def give_up(self, rows: Sequence[Row]) -> None:
        """Forget these rows, and end those that have not ended."""
        left = [row for row in rows if self._watchers.pop(id(row), None) is not None]
        if left:
            self.batcher.cancel(left)

    async def close(self, now: bool = False) -> None:
        """See ``Model``."""
        self.batcher.close(now)
        await asyncio.to_thread(self._thread.join)

    def word(self, token: int) -> str:
        """The text of one token."""
        text: str = self.tokenizer.decode([token])
        return text

    def _locked(self, encode: Callable[[], list[int]]) -> list[int]:
        with self._encoding:
            return encode()

    def _tell(self, drawn: list[Drawn]) -> None:
        """From the decoding thread: once a step, whatever the number of rows."""
        self._loop.call_soon_threadsafe(self._hand_out, drawn)

    def _hand_out(self, drawn: list[Drawn]) -> None:
        for one in drawn:
            key = id(one.row)
            take = self._watchers.pop if one.last else self._watchers.get
            watcher = take(key, None)
            if watcher is not None:
                watcher.take(one)
