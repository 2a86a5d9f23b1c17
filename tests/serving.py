"""A real OpenAI-compatible HTTP server on loopback that answers, or misbehaves, as told."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Handler", dict[str, Any]], None]


class Handler(BaseHTTPRequestHandler):
    """Notes what it is asked and lets the server's next answer reply."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """What the server lists as its models."""
        with self.server.lock:
            self.server.gets.append((self.path, self.headers["Authorization"]))
        self.server.listing(self, {})

    def do_POST(self) -> None:
        """One completion."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.bodies.append(body)
            self.server.seen.append((self.path, self.headers["Authorization"], time.monotonic()))
            self.server.hosts.append(self.headers["Host"])
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
            answers = self.server.answers
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
        answer(self, body)
        with self.server.lock:
            self.server.now -= 1

    def give(self, content: bytes, status: int = 200, **headers: str) -> None:
        """Send a whole answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None: ...


@contextmanager
def serving(*answers: Answer, listing: Answer | None = None) -> Iterator[Any]:
    """A server that gives these answers in turn, the last one for ever.

    ``ref`` is the reference of its model ``m``; ``listing`` what it says of ``/v1/models``.
    """
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.answers, server.listing = list(answers), listing or fails(404)
    server.bodies, server.seen, server.hosts, server.gets = [], [], [], []
    server.lock, server.now, server.most = threading.Lock(), 0, 0
    server.netloc = f"127.0.0.1:{server.server_port}"
    server.url = f"http://{server.netloc}/v1"
    server.ref = f"{server.url}#m"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def said(text: str, finish: str = "stop", **choice: Any) -> bytes:
    """A completion."""
    message = {"role": "assistant", "content": text}
    return json.dumps(
        {"id": "one", "choices": [{"message": message, "finish_reason": finish, **choice}]}
    ).encode()


def last(body: dict[str, Any]) -> str:
    """What the user said last."""
    return str(body["messages"][-1]["content"])


def echo(handler: Handler, body: dict[str, Any]) -> None:
    """The user's words again, and the seed; every completion has the same id."""
    handler.give(said(f"{last(body)}|{body['seed']}"))


def fails(status: int, content: bytes = b"{}", **headers: str) -> Answer:
    """An answer with this status."""
    return lambda handler, body: handler.give(content, status, **headers)


def replies(content: bytes) -> Answer:
    """An answer with this body."""
    return lambda handler, body: handler.give(content)


def cut(handler: Handler, body: dict[str, Any]) -> None:
    """The connection ends in the middle of the answer."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(said("half")[:20])
    handler.close_connection = True


def dropped(handler: Handler, body: dict[str, Any]) -> None:
    """The connection ends without an answer."""
    handler.close_connection = True


def drips(handler: Handler, body: dict[str, Any]) -> None:
    """A byte every 50 ms: never a silence, never an end."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    try:
        for _ in range(400):
            handler.wfile.write(b" ")
            time.sleep(0.05)
    except OSError:
        handler.close_connection = True


def key_of(body: dict[str, Any]) -> str:
    return re.findall(r'"key": "([0-9a-f]{16})"', last(body))[-1]


def grades(handler: Handler, body: dict[str, Any]) -> None:
    """Grade 5 for a reply that says good, 1 for others; no verdict where it says odd."""
    shown = last(body).split("REPLY = ")[1].splitlines()[0]
    score = 5 if "good" in shown else 1
    verdict = json.dumps({"key": key_of(body), "score": score})
    handler.give(said("I would not know." if "odd" in shown else f"So:\n{verdict}"))
