"""Replies of a served model, asked for over its OpenAI-compatible API."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Lock
from typing import Any

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from burnish.config import BurnishError
from burnish.records import Message, content_id
from burnish.sampling.endpoint import Endpoint, EndpointError, RemoteSettings
from burnish.sampling.generate import Completion, Finish
from burnish.sampling.settings import Sampling
from burnish.sampling.stopping import find_stop
from burnish.store.metrics import Metrics

SEED_BITS = 31
"""Servers keep a seed in as few bits as this."""

__all__ = ["EndpointError", "RemoteSettings", "complete"]


class Cached(TypedDict):
    """A line of the cache."""

    key: str
    text: str
    finish: Finish
    logprobs: list[float]


_CACHED = TypeAdapter(Cached)
_TEXT = TypeAdapter(str)


def complete(
    endpoint: RemoteSettings,
    conversations: Sequence[Sequence[Message]],
    sampling: Sampling,
    *,
    seeds: Sequence[int],
    cache: Path | None = None,
    progress: Callable[[int], object] | None = None,
) -> list[Completion]:
    """Ask a served model for one reply to each conversation.

    Equal requests with equal seeds are asked once. Whether a seed gives the same reply again is
    up to the server, and so is what its log-probabilities mean: do not train on their ratio.

    Args:
        conversations: each ends with a user turn.
        seeds: one for each conversation; the server gets the lowest 31 bits.
        cache: a JSONL file to which every reply is appended as it comes; what is in it, from a
            run before or from another endpoint that serves the same model, is not asked again.
        progress: called with the number of replies that came, as they come.

    Returns:
        Completions in the order of the conversations, without tokens.

    Raises:
        InputError: the address or the API key is not usable.
        EndpointError: the server refuses, answers something else than a completion, or fails
            too often. Replies under way are waited for; all that came are in the cache.
        StorageError: the cache cannot be written.
        ValueError: another number of seeds than of conversations.
    """
    if len(seeds) != len(conversations):
        raise ValueError(
            f"{len(conversations)} conversations need as many seeds, found {len(seeds)}"
        )
    asked: dict[str, list[int]] = {}
    for index, (messages, seed) in enumerate(zip(conversations, seeds, strict=True)):
        asked.setdefault(_key(endpoint, messages, sampling, seed), []).append(index)
    log = None if cache is None else Metrics(cache)
    found = {key: reply for key, reply in _read(log).items() if key in asked}
    told = progress or (lambda count: None)
    if found:
        told(sum(len(asked[key]) for key in found))
    bodies = {
        key: _body(endpoint, conversations[at[0]], sampling, seeds[at[0]])
        for key, at in asked.items()
        if key not in found
    }
    server = Endpoint(endpoint)
    try:
        _ask_all(server, bodies, sampling, log, found, lambda key: told(len(asked[key])))
    finally:
        server.close()
    replies = {index: found[key] for key, places in asked.items() for index in places}
    return [replies[index] for index in range(len(conversations))]


def _ask_all(
    server: Endpoint,
    bodies: Mapping[str, dict[str, Any]],
    sampling: Sampling,
    log: Metrics | None,
    found: dict[str, Completion],
    came: Callable[[str], object],
) -> None:
    """Put the reply to each of ``bodies`` into ``found`` and the log, by key."""
    lock = Lock()
    failures: list[BurnishError] = []

    def ask(key: str) -> str:
        try:
            reply = _completion(server, server.ask(bodies[key]), sampling)
        except BurnishError as failure:
            failures.append(failure)
            server.stopped.set()
            raise
        with lock:
            found[key] = reply
            if log is not None:
                row = Cached(key=key, text=reply.text, finish=reply.finish, logprobs=reply.logprobs)
                log.append(row)
        return key

    with ThreadPoolExecutor(server.settings.concurrency) as pool:
        try:
            for future in as_completed([pool.submit(ask, key) for key in bodies]):
                if failures:  # the first is the cause; later ones may be of being stopped
                    raise failures[0]
                came(future.result())
        finally:
            # After an error or Ctrl-C nothing new is asked, and nobody waits to try again.
            server.stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)


def _key(
    endpoint: RemoteSettings, messages: Sequence[Message], sampling: Sampling, seed: int
) -> str:
    drawn = sampling.model_dump(mode="json")
    return content_id("reply", endpoint.model, endpoint.logprobs, list(messages), drawn, seed)


def _body(
    endpoint: RemoteSettings, messages: Sequence[Message], sampling: Sampling, seed: int
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": endpoint.model,
        "messages": list(messages),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_new_tokens,
        "seed": seed % 2**SEED_BITS,
    }
    if sampling.stop:
        body["stop"] = sampling.stop
    if endpoint.logprobs:
        body["logprobs"] = True
    return body


def _completion(server: Endpoint, answer: Any, sampling: Sampling) -> Completion:
    """The first choice of an answer; an end for any reason but the model's own is "length"."""
    try:
        choice = answer["choices"][0]
        text, finish = choice["message"]["content"], choice.get("finish_reason")
        scored = (choice.get("logprobs") or {}).get("content") or []
        logprobs = [float(token["logprob"]) for token in scored]
        # A reasoning model that used up its tokens says nothing.
        text = _TEXT.validate_python("" if text is None else text)
    except (LookupError, TypeError, ValueError, AttributeError):
        said = server.excerpt(json.dumps(answer, ensure_ascii=False))
        raise EndpointError(server.url, f"an answer that is no completion: {said}") from None
    stop = find_stop(text, sampling.stop)  # some servers do not know stop strings
    ended = finish == "stop" or stop is not None
    return Completion([], logprobs, text[:stop], "stop" if ended else "length")


def _read(log: Metrics | None) -> dict[str, Completion]:
    """Replies of earlier runs by key; lines of anything else are left out."""
    found = {}
    for line in [] if log is None else log.read():
        try:
            row = _CACHED.validate_python(line)
        except ValidationError:
            continue
        found[row["key"]] = Completion([], row["logprobs"], row["text"], row["finish"])
    return found
