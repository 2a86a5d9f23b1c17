"""The runtimes that exported models are for, behind three questions.

A runtime is asked for the log-probabilities of given tokens, for a greedy reply, and for the ids
of a text where it has a tokenizer of its own. Nothing here imports torch unless the artifact is
a model folder for transformers.
"""

from __future__ import annotations

import importlib
import json
import secrets
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

TOP = 32
"""Likeliest tokens told with each position."""


SPARE = 8
"""Connections that llama.cpp's server takes beyond those that it can reply on at once."""
_CERTAIN = 1e4
"""Added to a logit: more than any other can have."""
_ALL = 2**31 - 1
_GREEDY = {"temperature": 0, "cache_prompt": False}


@dataclass(frozen=True)
class Scored:
    """What a runtime says of the last ``N`` tokens: ``logprobs [N]`` in nats, and at each of those
    positions the ``TOP`` likeliest tokens, ``ids, tops [N, TOP]``."""

    logprobs: list[float]
    ids: list[list[int]]
    tops: list[list[float]]


class Runtime(Protocol):
    """A loaded artifact."""

    def score(self, tokens: Sequence[int], first: int = 1) -> Scored:
        """Log-probabilities of ``tokens[first:]``, at temperature 1."""
        ...

    def generate(self, prompt: Sequence[int], limit: int, ends: Sequence[int]) -> list[int]:
        """The greedy reply: at most ``limit`` tokens; one of ``ends`` is the last, if it comes."""
        ...

    def speed(self, prompt: Sequence[int], limit: int) -> tuple[float, float]:
        """Tokens a second: of reading the prompt, and of a reply of ``limit`` tokens after it."""
        ...


class LlamaCpp:
    """A GGUF file in llama.cpp (the package xllamacpp).

    The questions of ``Runtime`` come one at a time. Its server, on a loopback port and behind a
    key, answers ``rows`` requests at once, each with a ``context`` of its own.
    """

    def __init__(self, path: Path, context: int, threads: int, rows: int = 1) -> None:
        llama = importlib.import_module("xllamacpp")
        params = llama.CommonParams()
        params.model.path = str(path)
        params.n_ctx = context * rows
        params.n_parallel = rows
        # A connection that is kept open has a thread of its own, busy or not.
        params.n_threads_http = rows + SPARE
        params.cache_ram_mib = 0  # prompts of rows that ended stay in their cells, nowhere else
        self._key = secrets.token_urlsafe()
        params.api_keys = [self._key]
        params.n_gpu_layers = 0
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.warmup = False
        params.verbosity = 0
        params.ui = False
        self._server = llama.Server(params)
        self._plain = self.tokenize("a")[0]

    def score(self, tokens: Sequence[int], first: int = 1) -> Scored:
        """One request a token, of which the cache leaves one token to compute."""
        told = [self._next(tokens[:at], tokens[at]) for at in range(first, len(tokens))]
        return Scored(
            [logprob for logprob, _ in told],
            [[top["id"] for top in tops] for _, tops in told],
            [[top["logprob"] for top in tops] for _, tops in told],
        )

    def _next(self, before: Sequence[int], wanted: int) -> tuple[float, list[dict[str, Any]]]:
        """The log-probability of ``wanted`` after ``before``, and the likeliest tokens there.

        A bias makes the wanted token the reply; what is told of it is before the bias. Of a token
        that is part of a character nothing is told: then a plain one is the reply, and the wanted
        one is looked up among all.
        """
        told = self._told(before, wanted, TOP)
        if told is not None:
            return told["logprob"], told["top_logprobs"]
        told = self._told(before, self._plain, _ALL)
        everything = [] if told is None else told["top_logprobs"]
        logprob = next(one["logprob"] for one in everything if one["id"] == wanted)
        return logprob, everything[:TOP]

    def _told(self, before: Sequence[int], reply: int, top: int) -> dict[str, Any] | None:
        asked = {
            **_GREEDY, "prompt": list(before), "n_predict": 1, "n_probs": top,
            "cache_prompt": True, "logit_bias": [[reply, _CERTAIN]],
        }  # fmt: skip
        (choice,) = self._server_says(self._server.handle_completions(asked))["choices"]
        content = (choice["logprobs"] or {"content": []})["content"]
        return content[0] if content else None

    def generate(self, prompt: Sequence[int], limit: int, ends: Sequence[int]) -> list[int]:
        """llama.cpp stops at end tokens that it knows; others are looked for."""
        asked = {"prompt": list(prompt), "n_predict": limit, "return_tokens": True, **_GREEDY}
        told: list[int] = self._server_says(self._post("/completion", asked))["tokens"]
        stop = next((place for place, token in enumerate(told) if token in ends), len(told))
        reply = told[: stop + 1]
        return reply if len(reply) == limit or stop < len(told) else [*reply, min(ends)]

    def speed(self, prompt: Sequence[int], limit: int) -> tuple[float, float]:
        """By llama.cpp's own clock."""
        asked = {"prompt": list(prompt), "n_predict": limit, "ignore_eos": True, **_GREEDY}
        times = self._server.handle_completions(asked)["timings"]
        return times["prompt_per_second"], times["predicted_per_second"]

    def address(self) -> tuple[str, str]:
        """Where its server listens, and the key that it asks for."""
        return self._server.listening_address, self._key

    def tokenize(self, text: str) -> list[int]:
        """Ids of a text in which nothing is a control token."""
        plain = {"content": text, "add_special": False, "parse_special": False}
        found: list[int] = self._post("/tokenize", plain)["tokens"]
        return found

    def render(self, messages: Sequence[dict[str, Any]]) -> str:
        """A conversation through the file's own chat template, up to the reply."""
        found: str = self._post("/apply-template", {"messages": list(messages)})["prompt"]
        return found

    def _server_says(self, answer: dict[str, Any]) -> dict[str, Any]:
        if "error" in answer:
            raise ValueError(f"llama.cpp says: {json.dumps(answer)[:300]}")
        return answer

    def _post(self, route: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(  # noqa: S310 - the runtime's own loopback address
            self._server.listening_address + route,
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)


class Onnx:
    """A folder's ``model.onnx`` in onnxruntime, with its key-value cache."""

    def __init__(self, path: Path, _context: int, threads: int) -> None:
        runtime = importlib.import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = runtime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = {one.name: one.shape for one in self._session.get_inputs()}
        self._caches = [name for name in self._inputs if name.startswith("past_key_values")]

    def score(self, tokens: Sequence[int], first: int = 1) -> Scored:
        """One pass over all tokens."""
        logits, _ = self.forward(tokens[:-1], None)
        return told_by(logits[first - 1 :], tokens[first:])

    def generate(self, prompt: Sequence[int], limit: int, ends: Sequence[int]) -> list[int]:
        """One pass over the prompt, then one a token."""
        return _greedy(self.forward, prompt, limit, ends)

    def speed(self, prompt: Sequence[int], limit: int) -> tuple[float, float]:
        """By the clock, with nothing that ends the reply."""
        return _timed(self, prompt, limit)

    @property
    def empty(self) -> list[np.ndarray[Any, Any]]:
        """The cache before any token: keys and values ``[1, H, 0, D]`` of each layer in turn."""
        shape = [int(size) if str(size).isdigit() else 0 for size in self._inputs[self._caches[0]]]
        return [np.zeros(shape, np.float32)] * len(self._caches)

    def forward(
        self, tokens: Sequence[int], cache: list[Any] | None
    ) -> tuple[np.ndarray[Any, Any], list[Any]]:
        """Logits ``[T, V]`` of the new tokens, and the cache with them."""
        cache = cache or self.empty
        before = cache[0].shape[2]
        places = np.arange(before, before + len(tokens), dtype=np.int64)[None]
        feed = dict(zip(self._caches, cache, strict=True)) | {
            "input_ids": np.array([tokens], dtype=np.int64),
            "position_ids": places,
            "attention_mask": np.ones((1, before + len(tokens)), dtype=np.int64),
        }
        logits, *cache = self._session.run(
            None, {name: value for name, value in feed.items() if name in self._inputs}
        )
        return logits[0], cache


class Transformers:
    """A model folder in transformers, as a user without burnish would load it."""

    def __init__(self, path: Path, _context: int, threads: int) -> None:
        self._torch = importlib.import_module("torch")
        library = importlib.import_module("transformers")
        self._torch.set_num_threads(threads)
        self._torch.set_grad_enabled(False)
        self._model = library.AutoModelForCausalLM.from_pretrained(
            path, trust_remote_code=False, dtype="auto"
        ).eval()

    def score(self, tokens: Sequence[int], first: int = 1) -> Scored:
        """One pass over all tokens."""
        logits = self._model(self._torch.tensor([tokens[:-1]])).logits[0].float().numpy()
        return told_by(logits[first - 1 :], tokens[first:])

    def generate(self, prompt: Sequence[int], limit: int, ends: Sequence[int]) -> list[int]:
        """A greedy loop over the model's own cache."""
        return _greedy(self._forward, prompt, limit, ends)

    def speed(self, prompt: Sequence[int], limit: int) -> tuple[float, float]:
        """By the clock, with nothing that ends the reply."""
        return _timed(self, prompt, limit)

    def _forward(self, tokens: Sequence[int], cache: Any) -> tuple[Any, Any]:
        output = self._model(self._torch.tensor([tokens]), past_key_values=cache, use_cache=True)
        return output.logits[0], output.past_key_values


RUNTIMES: dict[str, type[LlamaCpp | Onnx | Transformers]] = {
    "gguf": LlamaCpp, "onnx": Onnx, "torch": Transformers, "torchao": Transformers,
}  # fmt: skip
"""The runtime of each format."""


def _greedy(
    forward: Callable[[Sequence[int], Any], tuple[Any, Any]],
    prompt: Sequence[int],
    limit: int,
    ends: Sequence[int],
) -> list[int]:
    """``forward`` gives the logits ``[T, V]`` of new tokens and the cache with them."""
    reply: list[int] = []
    step, cache = list(prompt), None
    while len(reply) < limit and (not reply or reply[-1] not in ends):
        logits, cache = forward(step, cache)
        step = [int(logits[-1].argmax())]
        reply += step
    return reply


def _timed(runtime: Runtime, prompt: Sequence[int], limit: int) -> tuple[float, float]:
    began = time.perf_counter()
    runtime.generate(prompt, 1, ())
    first = time.perf_counter() - began
    runtime.generate(prompt, limit + 1, ())
    rest = time.perf_counter() - began - 2 * first
    return len(prompt) / first, limit / max(rest, 1e-9)


def told_by(logits: np.ndarray[Any, Any], wanted: Sequence[int]) -> Scored:
    """``Scored`` of logits ``[N, V]`` at the tokens ``wanted [N]``."""
    scores = logits.astype(np.float64)
    scores -= scores.max(1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(1, keepdims=True))
    count = min(TOP, scores.shape[1])
    ids = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    return Scored(
        scores[np.arange(len(wanted)), np.array(wanted)].tolist(),
        ids.tolist(),
        np.take_along_axis(scores, ids, axis=1).tolist(),
    )
