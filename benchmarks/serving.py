"""Many clients stream from a server on loopback at once: is each answered, with its own reply?

    python -m benchmarks.serving --clients 16 --seconds 30
    python -m benchmarks.serving --clients 200 --seconds 120 --peer none
    python -m benchmarks.serving --clients 16 --seconds 30 --peer llama.cpp --peer transformers

Clients ask one prompt after another at temperature 0. What comes is compared with what
``generate`` says to the same prompt: a reply that is another prompt's was mixed up; one that is
nobody's differs, as it may by a near tie of two tokens. Peers are measured in the same run, in
turn, on the same weights; where one does not start, that is said. With ``llama.cpp`` these are
exported to GGUF, and served by its own server alone, by it behind burnish (``burnish gguf``), and
as they are by burnish. Tokens are those that a server counts, of one that does not those that
``generate`` draws. CPU time is that of the server's processes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import numpy as np
import psutil

from benchmarks.sections import put
from burnish.config import process
from burnish.exporting import write
from burnish.exporting.forms import FILES, TOLD, parse
from burnish.models.load import load_model
from burnish.models.save import save_model
from burnish.sampling import Sampling, generate
from burnish.text.templates import encode_prompts

PAGE = Path(__file__).with_name("RESULTS-serving.md")
INTRODUCTION = """# Servers under many clients

Made by `python -m benchmarks.serving --write` with the options that a heading names; what is done
stands at the top of that program. *Different*: replies that are not what `generate` says, as a near
tie of two tokens makes them, and as those of rounded weights are.
"""
START_SECONDS = 180
WORDS = [
    "capital",
    "river",
    "mountain",
    "language",
    "people",
    "island",
    "history",
    "border",
    "king",
    "trade",
    "food",
    "law",
]
TOKEN = "of-a-benchmark-on-loopback"  # noqa: S105 it guards nothing


Known = dict[str, tuple[str, int]]
"""What is said to each prompt, and in how many tokens."""


@dataclass
class Seen:
    """What the clients of one server saw. Times in seconds. ``mixed`` is None where it cannot be
    told: what rounded weights say to one prompt may be what exact ones say to another."""

    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    tokens: int = 0
    dropped: int = 0
    mixed: int | None = 0
    different: int = 0
    wall: float = 0.0
    cpu: float = 0.0

    def row(self, name: str) -> str:
        """A line of the table."""
        half, most = (np.percentile(self.whole or [np.nan], q) for q in (50, 99))
        first, late = (np.percentile(self.first or [np.nan], q) for q in (50, 99))
        return (
            f"| {name} | {len(self.whole)} | {self.dropped} | "
            f"{'–' if self.mixed is None else self.mixed} | {self.different} | "
            f"{self.tokens / self.wall:.0f} | {self.tokens / max(self.cpu, 1e-9):.0f} | "
            f"{first:.3f} / {late:.3f} | {half:.2f} / {most:.2f} |"
        )


HEAD = (
    "| server | replies | dropped | mixed up | different | tokens/s | tokens/CPU-s "
    "| first token p50 / p99 s | reply p50 / p99 s |\n" + "| --- " * 9 + "|"
)


def questions(count: int) -> list[str]:
    """Prompts of several lengths, no two alike."""
    return [
        f"What about the {WORDS[n % 12]} and the {WORDS[n // 12 % 12]} of place {n}?"
        + " Why?" * (n % 5)
        for n in range(count)
    ]


def known_replies(folder: Path, prompts: list[str], tokens: int) -> Known:
    """What ``generate`` says to each prompt, and in how many tokens."""
    loaded = load_model(folder)
    asked = [[{"role": "user", "content": prompt}] for prompt in prompts]
    replies = generate(
        loaded.model,
        loaded.tokenizer,
        encode_prompts(loaded.tokenizer, asked),  # type: ignore[arg-type]
        Sampling(temperature=0, max_new_tokens=tokens),
        seeds=[0] * len(prompts),
    )
    return {p: (r.text, len(r.tokens)) for p, r in zip(prompts, replies, strict=True)}


async def one_client(
    client: httpx2.AsyncClient, model: str, turn: Iterator[str], until: float,
    known: Known, tokens: int, seen: Seen,
) -> None:  # fmt: skip
    """Ask until the time is over."""
    owners = {text: prompt for prompt, (text, _) in known.items()}
    while time.monotonic() < until:
        prompt = next(turn)
        body = {"model": model, "messages": [{"role": "user", "content": prompt}],
                "temperature": 0, "max_tokens": tokens, "stream": True,
                "stream_options": {"include_usage": True}}  # fmt: skip
        began = time.monotonic()
        text, done, first, told = "", False, None, None
        try:
            async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
                answer.raise_for_status()
                async for line in answer.aiter_lines():
                    if not line.startswith("data: {"):
                        continue
                    event = json.loads(line[6:])
                    told = event.get("usage") or told
                    for choice in event.get("choices", []):
                        piece = choice["delta"].get("content") or ""
                        if piece and first is None:
                            first = time.monotonic() - began
                        text += piece
                        done = done or choice.get("finish_reason") is not None
        except httpx2.HTTPError:
            done = False
        if not done:
            seen.dropped += 1
            continue
        seen.whole.append(time.monotonic() - began)
        if first is not None:
            seen.first.append(first)
        expected, count = known[prompt]
        seen.tokens += told["completion_tokens"] if told else count
        if text != expected and seen.mixed is not None and text in owners:
            seen.mixed += 1
        else:
            seen.different += text != expected


async def load(
    url: str, model: str, clients: int, seconds: float,
    known: Known, tokens: int, exact: bool = True,
) -> Seen:  # fmt: skip
    """``clients`` at once for so long; what is under way then still ends."""
    seen = Seen(mixed=0 if exact else None)
    prompts = list(known)
    limits = httpx2.Limits(max_connections=clients, max_keepalive_connections=clients)
    headers = {"authorization": f"Bearer {TOKEN}"}
    began = time.monotonic()
    async with httpx2.AsyncClient(
        base_url=url, headers=headers, timeout=600, limits=limits
    ) as client:

        def turn(start: int) -> Iterator[str]:
            place = start
            while True:
                yield prompts[place % len(prompts)]
                place += clients

        await asyncio.gather(
            *(
                one_client(client, model, turn(n), began + seconds, known, tokens, seen)
                for n in range(clients)
            )
        )
    seen.wall = time.monotonic() - began
    return seen


@contextmanager
def started(command: list[str], url: str) -> Iterator[subprocess.Popen[bytes] | None]:
    """A server process, once it is healthy; None where it does not get so far."""
    environment = os.environ | {"BURNISH_SERVE_TOKEN": TOKEN, "HF_HUB_OFFLINE": "1"}
    server = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield server if _healthy(server, url) else None
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()


def _healthy(server: subprocess.Popen[bytes], url: str) -> bool:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            if httpx2.get(f"{url}/health", timeout=5).status_code == 200:
                return True
        except httpx2.HTTPError:
            time.sleep(0.2)
    return False


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def commands(folder: Path, gguf: Path, port: int, rows: int) -> dict[str, list[str]]:
    """How each server is started."""
    here = [sys.executable, "-m"]
    rest = [
        "--port",
        str(port),
        "--set",
        f"batch.rows={rows}",
        "--runs",
        str(folder.parent / "runs"),
    ]
    transformers = [str(Path(sys.executable).parent / "transformers"), "serve", str(folder),
                    "--port", str(port), "--host", "127.0.0.1"]  # fmt: skip
    file = gguf / FILES["gguf"]
    context = json.loads((gguf / TOLD).read_text())["context"] if gguf.is_dir() else 0
    return {
        "burnish": [*here, "burnish", "serve", str(folder), *rest],
        "burnish gguf": [*here, "burnish", "serve", str(file), *rest],
        "llama.cpp": [*here, "benchmarks.llama_worker", str(file), str(port), TOKEN, str(rows),
                      str(context)],
        "transformers": transformers,
        "transformers-cb": [*transformers, "--continuous-batching"],
    }  # fmt: skip


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and those below it that still run."""
    root = psutil.Process(pid)
    times = [one.cpu_times() for one in (root, *root.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def measured(name: str, folder: Path, gguf: Path, options: Any, known: Known) -> Seen | None:
    """One server under load."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    model = str(gguf / FILES["gguf"]) if name == "burnish gguf" else str(folder)
    exact = name not in ("burnish gguf", "llama.cpp")
    command = commands(folder, gguf, port, options.rows)[name]
    with started(command, url) as server:
        if server is None:
            return None
        warm = dict(list(known.items())[:2])
        asyncio.run(load(url, model, 2, 0.01, warm, options.tokens))
        began = cpu_seconds(server.pid)
        seen = asyncio.run(
            load(url, model, options.clients, options.seconds, known, options.tokens, exact)
        )
        seen.cpu = cpu_seconds(server.pid) - began
        return seen


def main() -> None:
    """Measure and print a table; exit 1 where burnish dropped or mixed up a reply."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="burnish-tiny")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--tokens", type=int, default=48, help="tokens of the longest reply")
    parser.add_argument("--rows", type=int, default=64, help="rows that are decoded at once")
    parser.add_argument("--prompts", type=int, default=240)
    parser.add_argument("--form", default="gguf:f16", help="what llama.cpp is given")
    choices = ("transformers", "transformers-cb", "llama.cpp", "none")
    parser.add_argument("--peer", choices=choices, action="append", help="(repeatable)")
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name}")
    options = parser.parse_args()
    peers = [peer for peer in options.peer or ["transformers"] if peer != "none"]
    process.tune()
    with TemporaryDirectory() as scratch:
        loaded = load_model(options.model)
        folder = save_model(loaded.model, loaded.tokenizer, Path(scratch) / "model")
        gguf = Path(scratch) / "gguf"
        if "llama.cpp" in peers:
            source = write.Source(load_model(folder), Path(scratch) / "trial")
            write.write(source, parse(options.form), gguf)
        known = known_replies(folder, questions(options.prompts), options.tokens)
        title = f"{options.clients} clients, {options.seconds:g} s, {options.model}"
        print(f"{title}\n\n{HEAD}")
        lines, rates = [HEAD], {}
        for name in ("burnish", *(["burnish gguf"] if gguf.is_dir() else []), *peers):
            seen = measured(name, folder, gguf, options, known)
            lines.append(seen.row(name) if seen else f"| {name} | did not start |")
            print(lines[-1], flush=True)
            if seen and seen.wall:
                rates[name] = seen.tokens / seen.wall
            if name not in peers and (seen is None or seen.dropped or seen.mixed):
                sys.exit(1)
    for peer in filter(rates.get, peers):
        times = rates["burnish"] / rates[peer]
        lines += ["", f"burnish gives {times:.1f} times the tokens a second of {peer}."]
    if options.write:
        put(PAGE, INTRODUCTION, title, "\n".join(lines))


if __name__ == "__main__":
    main()
