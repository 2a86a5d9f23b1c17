"""Replies of a served model, asked for over its OpenAI-compatible API."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import Any

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from burnish.records import content_id
from burnish.sampling import usage
from burnish.sampling.address import parse
from burnish.sampling.endpoint import REFUSES_ALL, Cap, Endpoint, EndpointError, EndpointSettings
from burnish.sampling.generate import Completion
from burnish.sampling.journal import Journalled, read_replies, reply_key
from burnish.sampling.sampler import Progress, Request
from burnish.sampling.settings import Sampling
from burnish.sampling.stopping import find_stop
from burnish.store.metrics import Metrics

log = logging.getLogger(__name__)

CHAT = "/chat/completions"
REFUSES_FIELD = frozenset({400, 422})
"""Statuses with which servers refuse a field that they do not know."""
TOP, PLACES = 20, 4
"""How many likeliest tokens are asked for (OpenAI's API has no more), and at how many places."""
SEED_BITS = 31
"""Servers keep a seed in as few bits as this."""
MOST_FAILURES = 8
"""More requests than this failing in a row mean that the server is down, not they wrong."""
SHOWN = 5
LISTED = ("id", "root", "parent", "owned_by", "max_model_len", "meta")
"""What is kept of ``/v1/models``; some servers make up ``created`` and ``permission`` each time."""

TopTokens = list[dict[str, float]]
"""At each place of a reply the likeliest tokens' log-probabilities, by the token's text."""


class _Token(TypedDict):
    token: str
    logprob: float


class _Place(TypedDict):
    top_logprobs: list[_Token]


_TEXT = TypeAdapter(str)
_PLACES = TypeAdapter(list[_Place])
_Read = Callable[[Endpoint, Any, Sampling], Completion]


class ServedSampler:
    """A model behind an OpenAI-compatible server: vLLM, SGLang, llama.cpp or a provider.

    Whether a seed gives the same reply again is up to the server, and so is what it does to the
    distribution beside temperature and ``top_p``. Replies have no tokens and no log-probabilities:
    nothing can be trained on their ratio.

    Args:
        ref: ``http://host:8000/v1#model``; see ``address.parse``.
        settings: how it is asked.
        journal: a JSONL file to which every reply is appended as it comes; what is in it, from a
            process that was killed or another server of the same model, is not asked again.
        max_requests: how many requests this object may send in all, retries counted.

    Raises:
        InputError: not such an address.
    """

    def __init__(
        self,
        ref: str,
        settings: EndpointSettings | None = None,
        journal: Path | None = None,
        max_requests: int | None = None,
    ) -> None:
        self.address = parse(ref)
        self.settings = settings or EndpointSettings()
        self._cap = Cap(max_requests)
        self._log = None if journal is None else Metrics(journal)
        self._known = read_replies(self._log)
        self._formless = False

    def listed(self) -> dict[str, Any] | None:
        """What the server's ``/v1/models`` says of the model; None where it does not list it.

        Raises:
            EndpointError: nobody answers.
        """
        with closing(Endpoint(self.address, self.settings)) as server:
            try:
                answer = server.ask("/models")
            except EndpointError as error:
                if error.status is None:
                    raise
                return None
        rows = answer.get("data") if isinstance(answer, dict) else None
        for row in rows if isinstance(rows, list) else []:
            if isinstance(row, dict) and row.get("id") == self.address.model:
                return {name: row[name] for name in LISTED if row.get(name) is not None}
        return None

    def complete(
        self, requests: Sequence[Request], sampling: Sampling, progress: Progress | None = None
    ) -> list[Completion]:
        """One reply to each request. Equal requests with equal seeds are asked once.

        A request that fails does not stop the others, unless every one would fail like it.

        Raises:
            InputError: the API keys are malformed, or the host leads where no model is served.
            EndpointError: requests failed, or the cap is spent; each is named. What came is in the
                journal.
            StorageError: the journal cannot be written.
        """
        return self._each(requests, sampling, _completion, {}, progress or (lambda count: None))

    def top_tokens(self, requests: Sequence[Request]) -> list[TopTokens]:
        """What the likeliest reply to each request begins with: its first places' likeliest tokens.

        Kept in the journal as replies are.

        Raises:
            EndpointError: as ``complete``; with a status of 200, 400 or 422 also where the server
                gives no log-probabilities.
        """
        sampling = Sampling(temperature=0.0, max_new_tokens=PLACES)
        more = {"logprobs": True, "top_logprobs": TOP}
        replies = self._each(requests, sampling, _top_tokens, more, lambda count: None)
        return [json.loads(reply.text) for reply in replies]

    def _each(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        read: _Read,
        more: Mapping[str, Any],
        told: Progress,
    ) -> list[Completion]:
        """What ``read`` makes of the answer to each request, asked with ``more`` fields."""
        asked: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            asked.setdefault(self._key(request, sampling, more), []).append(index)
        if there := sum(len(places) for key, places in asked.items() if key in self._known):
            told(there)
        missing = {
            key: requests[places[0]] for key, places in asked.items() if key not in self._known
        }
        if missing:
            bodies = {key: {**self._body(one, sampling), **more} for key, one in missing.items()}

            def ask(server: Endpoint, key: str) -> tuple[Any, Completion]:
                answer = self._post(server, bodies[key])
                return answer, read(server, answer, sampling)

            self._ask_all(missing, ask, lambda key: told(len(asked[key])))
        replies = {at: self._known[key] for key, places in asked.items() for at in places}
        return [replies[index] for index in range(len(requests))]

    def _post(self, server: Endpoint, body: Mapping[str, Any]) -> Any:
        """The answer to a chat request; a form that this server refuses is not asked for again."""
        form, plain = "response_format", dict(body)
        if plain.pop(form, None) is None or self._formless:
            return server.ask(CHAT, plain)
        try:
            return server.ask(CHAT, body)
        except EndpointError as error:
            if error.status not in REFUSES_FIELD:
                raise
        answer = server.ask(CHAT, plain)  # fails as before where the conversation was refused
        if not self._formless:
            log.warning("%s knows no %s; it is asked without", self.address.url, form)
        self._formless = True
        return answer

    def _ask_all(
        self,
        missing: Mapping[str, Request],
        ask: Callable[[Endpoint, str], tuple[Any, Completion]],
        came: Callable[[str], object],
    ) -> None:
        """Get the reply to each of ``missing`` into ``_known`` and the journal."""
        lock = Lock()
        used = usage.current()  # that of this thread: those of the pool have none

        def keep(server: Endpoint, key: str) -> None:
            answer, reply = ask(server, key)
            asked = "".join(message["content"] for message in missing[key].messages)
            used.reply(self.address.model, *usage.tokens_of(answer, asked, reply.text))
            with lock:
                if self._log is not None:
                    row = Journalled(key=key, text=reply.text, finish=reply.finish)
                    self._log.append(row)
                self._known[key] = reply

        failures: dict[str, EndpointError] = {}
        in_a_row = 0
        with (
            closing(Endpoint(self.address, self.settings, self._cap)) as server,
            ThreadPoolExecutor(self.settings.concurrency) as pool,
        ):
            try:
                futures = {pool.submit(keep, server, key): key for key in missing}
                for future in as_completed(futures):
                    key = futures[future]
                    try:
                        future.result()
                    except EndpointError as error:
                        failures[missing[key].name] = error
                        in_a_row += 1
                        if error.status in REFUSES_ALL or in_a_row > MOST_FAILURES:
                            break
                    else:
                        in_a_row = 0
                        came(key)
            finally:
                # After an error or Ctrl-C nothing new is asked, and nobody waits to try again.
                server.stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
        if failures:
            raise self._failed(failures, missing)

    def _failed(
        self, failures: Mapping[str, EndpointError], missing: Mapping[str, Request]
    ) -> EndpointError:
        left = sum(key not in self._known for key in missing)
        lines = [f"{left} of {len(missing)} replies are missing"]
        if self._log is not None and left < len(missing):
            lines[0] += f"; those that came are kept in {self._log.path}"
        lines += [f"  {name}: {error.reason}" for name, error in list(failures.items())[:SHOWN]]
        if len(failures) > SHOWN:
            lines.append(f"  and {len(failures) - SHOWN} more failed")
        first = next(iter(failures.values()))
        return EndpointError(self.address.url, "\n".join(lines), first.status, failures)

    def _key(self, request: Request, sampling: Sampling, more: Mapping[str, Any]) -> str:
        key = reply_key(self.address.model, request, sampling)
        special = {**more, **({"schema": request.schema} if request.schema else {})}
        return content_id(key, special) if special else key

    def _body(self, request: Request, sampling: Sampling) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.address.model,
            "messages": list(request.messages),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_new_tokens,
            "seed": request.seed % 2**SEED_BITS,
        }
        if sampling.stop:
            body["stop"] = sampling.stop
        if request.schema is not None:
            form = {"name": "reply", "strict": True, "schema": dict(request.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        return body


def _completion(server: Endpoint, answer: Any, sampling: Sampling) -> Completion:
    """The first choice of an answer; an end for any reason but the model's own is "length"."""
    try:
        choice = answer["choices"][0]
        text, finish = choice["message"]["content"], choice.get("finish_reason")
        # A reasoning model that used up its tokens says nothing.
        text = _TEXT.validate_python("" if text is None else text)
    except (LookupError, TypeError, ValueError, AttributeError):
        said = server.excerpt(json.dumps(answer, ensure_ascii=False))
        reason = f"an answer that is no completion: {said}"
        raise EndpointError(server.url, reason, 200) from None
    stop = find_stop(text, sampling.stop)  # some servers do not know stop strings
    ended = finish == "stop" or stop is not None
    return Completion([], [], text[:stop], "stop" if ended else "length")


def _top_tokens(server: Endpoint, answer: Any, sampling: Sampling) -> Completion:
    """``TopTokens`` of an answer, as JSON, since that is what a journal holds."""
    try:
        found = _PLACES.validate_python(answer["choices"][0]["logprobs"]["content"])
    except (LookupError, TypeError, ValueError):
        found = []
    places = [
        {one["token"]: one["logprob"] for one in place["top_logprobs"]
         if math.isfinite(one["logprob"])}
        for place in found
    ]  # fmt: skip
    if not any(places):
        raise EndpointError(server.url, "an answer without log-probabilities", 200)
    return Completion([], [], json.dumps(places, ensure_ascii=False), "stop")
