from __future__ import annotations

import asyncio
import json
import socket
from itertools import product
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from burnish.config import InputError
from burnish.serve.app import RULES, add_routes
from burnish.serve.security import Guard, Policy, host_name
from burnish.serve.server import check_address, listen, read_token

from .conftest import TOKEN, Running, running, served

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY")


def routes(up: Running) -> set[tuple[str, str]]:
    """Every route that the application has, from the application itself."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    add_routes(app, up.service)
    found = set()
    for route in app.routes:
        for method in route.methods:  # type: ignore[attr-defined]
            found.add((method, route.path))  # type: ignore[attr-defined]
    return found


def test_every_route_has_a_rule(up: Running) -> None:  # S-09
    assert routes(up) == set(RULES)
    assert [path for (_, path), access in RULES.items() if access == "open"] == ["/health"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": TOKEN},
        {"cookie": f"token={TOKEN}"},
    ],
)
def test_nothing_without_the_token(up: Running, headers: dict[str, str]) -> None:  # S-09
    with httpx2.Client(base_url=up.url) as nobody:
        for method, path in {*routes(up), ("GET", "/docs"), ("GET", "/openapi.json")}:
            address = path.replace("{model}", "one")
            answer = nobody.request(method, f"{address}?token={TOKEN}", headers=headers)
            assert answer.status_code == (200 if path == "/health" else 401), path
            assert TOKEN not in answer.text


def test_default_is_no(up: Running) -> None:  # S-09
    for path in ("/docs", "/v1", "/v1/models/", "/v1/models/one/x", "//health", "/health/.."):
        assert up.http.get(path).status_code == 404, path
    for method, (_, path) in product(METHODS, RULES):
        if (method, path) not in RULES:
            assert up.http.request(method, path).status_code == 404, (method, path)


def test_a_route_without_a_rule_is_not_reached() -> None:  # S-09
    reached = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["path"])

    guard = Guard(app, Policy({("GET", "/a"): "open"}, None, frozenset({"h"})))
    assert [status(guard, "GET", path) for path in ("/a", "/b")] == [None, 404]
    assert status(guard, "POST", "/a") == 404
    assert reached == ["/a"]


def status(guard: Guard, method: str, path: str, **headers: str) -> int | None:
    """What a guard answers by itself; None where it let the request through."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    given = [(name.encode(), value.encode()) for name, value in ({"host": "h"} | headers).items()]
    scope = {"type": "http", "method": method, "path": path, "headers": given}
    asyncio.run(guard(scope, receive, send))
    return sent[0]["status"] if sent else None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    ("header", "value", "allowed"),
    [
        ("origin", "http://evil.test", False),
        ("origin", "null", False),
        ("origin", "http://h.evil.test", False),
        ("origin", "http://h:1", False),
        ("origin", "", False),
        ("origin", "http://h", True),
        ("sec-fetch-site", "cross-site", False),
        ("sec-fetch-site", "same-site", False),
        ("sec-fetch-site", "same-origin", True),
        ("sec-fetch-site", "none", True),
    ],
)
def test_pages_of_others_change_nothing(
    method: str, header: str, value: str, allowed: bool
) -> None:  # S-10
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    guard = Guard(app, Policy({(method, "/a"): "open"}, None, frozenset({"h"})))
    assert status(guard, method, "/a", **{header: value}) == (None if allowed else 403)


def test_a_get_changes_nothing(up: Running) -> None:  # S-10
    for method, path in routes(up):
        if method == "GET":
            assert up.http.get(path.replace("{model}", "one")).status_code == 200
    assert all(method in ("GET", "POST") for method, _ in RULES)
    answer = up.http.post(
        "/v1/chat/completions", content=b"{}", headers={"content-type": "text/plain"}
    )
    assert answer.status_code == 400


def test_other_names_of_this_machine(up: Running) -> None:  # S-11
    def ask(*hosts: str) -> bytes:
        lines = ["GET /health HTTP/1.1", *(f"Host: {host}" for host in hosts), "Connection: close"]
        with socket.create_connection(("127.0.0.1", up.port)) as plain:
            plain.sendall("\r\n".join([*lines, "", ""]).encode())
            return plain.makefile("rb").readline()

    for host in ("evil.test", "127.0.0.1.evil.test", "localhost.evil.test:80", "", "localhost:x"):
        assert b" 421 " in ask(host), host
    for host in ("127.0.0.1", f"localhost:{up.port}", "[::1]", "LOCALHOST"):
        assert b" 200 " in ask(host), host
    assert b" 400 " in ask("127.0.0.1", "evil.test")  # two of them


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("a:80", "a"),
        ("[::1]:80", "::1"),
        ("[::1]", "::1"),
        ("[::1]x", ""),
        ("a:b", ""),
        ("::1", ""),
    ],
)
def test_host_names(header: str, name: str) -> None:
    assert host_name(header) == name


def test_it_listens_on_loopback_only(up: Running) -> None:  # S-12
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    mine = [row[1] for row in rows if row[1].endswith(f":{up.port:04X}") and row[3] == "0A"]
    assert mine == [f"0100007F:{up.port:04X}"]


def test_other_addresses_need_a_word_and_a_token() -> None:  # S-12
    for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        check_address(host, everywhere=False, token=None)
    for host in ("0.0.0.0", "::", "10.0.0.1", "example.test"):
        with pytest.raises(InputError, match="reached from other machines; say so with --public"):
            check_address(host, everywhere=False, token=TOKEN)
        with pytest.raises(InputError, match="no token"):
            check_address(host, everywhere=True, token=None)
        check_address(host, everywhere=True, token=TOKEN)
    with pytest.raises(InputError, match="guessed"):
        check_address("127.0.0.1", everywhere=False, token="short")


def test_an_address_that_is_taken(up: Running, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"127.0.0.1:{up.port}: address already in use"):
        listen("127.0.0.1", up.port)
    with pytest.raises(InputError, match="--token-file: no such file"):
        read_token(tmp_path / "none")


def test_security_headers_are_on_every_answer(up: Running) -> None:  # S-14
    answers = [
        up.http.get("/health"),
        up.http.get("/nowhere"),
        up.chat("x"),
        up.chat("x", n=0),
        up.chat("x", stream=True),
        httpx2.get(f"{up.url}/metrics"),
    ]
    for answer in answers:
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers


def test_bodies_have_a_size(folder: Path, tmp_path: Path) -> None:  # S-23
    with running([served("one", folder)], tmp_path, body_bytes=2000) as there:
        assert there.chat("x").status_code == 200
        assert there.chat("x" * 2000).status_code == 413

        def drip() -> Any:
            for _ in range(30):
                yield b" " * 100

        headers = {"content-type": "application/json"}
        answer = there.http.post("/v1/chat/completions", content=drip(), headers=headers)
        assert answer.status_code == 413
        assert json.loads(answer.text)["error"]["message"] == "the body may have 2000 bytes"
