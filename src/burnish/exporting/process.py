"""A runtime in a process of its own: a file that crashes it takes nothing else along."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from burnish.config import InputError, Problem
from burnish.config.process import SPIN
from burnish.exporting.runtimes import Scored

LINE = "burnish.exporting.child"


class RuntimeProcess:
    """An artifact, loaded by the runtime it is for; use it in a ``with`` block.

    ``peak`` is the most memory that process has had, in bytes; ``baseline`` what it had before
    loading.

    Args:
        format: ``gguf``, ``onnx`` or ``torch``.
        path: the file, or for torch the folder.
        context: tokens of the key-value cache.
        threads: for computing.
        rows: replies at a time of llama.cpp's server; only of a GGUF.

    Raises:
        InputError: the runtime refuses the artifact, or dies of it.
    """

    def __init__(
        self, format: str, path: Path, context: int, threads: int, rows: int | None = None
    ) -> None:
        self.path, self.format = path, format
        self.peak = self.baseline = 0
        # burnish as it is imported here, wherever that is.
        places = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        paths = os.pathsep.join(filter(None, places))
        # When a file makes llama.cpp give up, it starts a debugger to print where: seconds of
        # work, and hundreds of megabytes, for what nobody reads.
        own = {"GGML_NO_BACKTRACE": "1"}
        if format == "gguf" and os.environ.get("GOMP_SPINCOUNT") == SPIN:
            # What suits torch does not suit llama.cpp, whose threads meet many times a token.
            own["GOMP_SPINCOUNT"] = "0"
        numbers = (context, threads) if rows is None else (context, threads, rows)
        command = [sys.executable, "-m", LINE, format, str(path), *map(str, numbers)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **own, "PYTHONPATH": paths},
        )
        try:
            self.baseline = self._hear("cannot be loaded")["value"]
        except BaseException:
            self.close()
            raise

    def score(self, tokens: Sequence[int], first: int = 1) -> Scored:
        """See ``runtimes.Runtime``."""
        return Scored(**self._ask("score", tokens=list(tokens), first=first))

    def generate(self, prompt: Sequence[int], limit: int, ends: Sequence[int]) -> list[int]:
        """See ``runtimes.Runtime``."""
        reply: list[int] = self._ask(
            "generate", prompt=list(prompt), limit=limit, ends=sorted(ends)
        )
        return reply

    def speed(self, prompt: Sequence[int], limit: int) -> tuple[float, float]:
        """See ``runtimes.Runtime``."""
        prefill, decode = self._ask("speed", prompt=list(prompt), limit=limit)
        return prefill, decode

    def tokenize(self, text: str) -> list[int]:
        """Ids by the artifact's own tokenizer; only of a GGUF."""
        ids: list[int] = self._ask("tokenize", text=text)
        return ids

    def render(self, messages: Sequence[Any]) -> str:
        """A conversation by the artifact's own chat template; only of a GGUF."""
        text: str = self._ask("render", messages=list(messages))
        return text

    def address(self) -> tuple[str, str]:
        """Where the artifact is served, and the key for it; only of a GGUF."""
        url, key = self._ask("address")
        return url, key

    @property
    def alive(self) -> bool:
        """Whether the process is still there."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> RuntimeProcess:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, ask: str, **given: Any) -> Any:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"ask": ask, "with": given}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._refused("does not answer any more") from error
        told = self._hear(f"cannot answer ({ask})")
        self.peak = told["peak"]
        return told["value"]

    def _hear(self, otherwise: str) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise self._refused(f"{otherwise}: its process ended with code {code}")
        told: dict[str, Any] = json.loads(line)
        if "error" in told:
            raise self._refused(f"{otherwise}: {told['error']}")
        return told

    def _refused(self, found: str) -> InputError:
        names = {"gguf": "llama.cpp", "onnx": "onnxruntime"}
        name = names.get(self.format, "transformers")
        return InputError(Problem(str(self.path), None, name, found))
