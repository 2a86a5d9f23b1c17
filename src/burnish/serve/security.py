"""What stands before every request: who may ask, from where, for what, and how much at once.

An ASGI middleware without knowledge of what is behind it, so that any application can have it.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Literal

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

Access = Literal["open", "guest", "token"]
SAFE_METHODS = frozenset({"GET", "HEAD"})
LOOPBACK = ("127.0.0.1", "localhost", "::1")
BODY_SECONDS = 30.0
"""In which a request's body has to arrive."""
DISCARDED = 2**20
"""Bytes past the limit that are read and thrown away before a body is refused: a connection that is
closed on a client which is still sending loses the answer."""

HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""On every answer that does not say otherwise itself."""


@dataclass(frozen=True)
class Policy:
    """Who may do what.

    Args:
        rules: (method, path) and what it asks for; whatever is not in it is refused. A path may
            hold one-part placeholders, ``/v1/models/{model}``.
        token: what ``Authorization: Bearer`` must say where a rule asks for it; None: nothing,
            which only a server on loopback may have.
        hosts: names that the ``Host`` header may have, without a port (DNS rebinding).
        body_bytes: the largest body of a request.
        cookie: name and value of the cookie that a browser may show in place of the token. What
            such a browser changes must say from which page, so that no other page can ask for it.
        guests: name of another cookie, and whether its value lets in where a rule says ``guest``.
            The token and ``cookie`` do so as well.
    """

    rules: Mapping[tuple[str, str], Access]
    token: str | None
    hosts: frozenset[str]
    body_bytes: int = 2**20
    cookie: tuple[str, str] | None = None
    guests: tuple[str, Callable[[str], bool]] | None = None


class Refusal(Exception):
    """A request that goes no further."""

    def __init__(self, status: int, reason: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, tuple(headers)


def as_json(refusal: Refusal, headers: Headers) -> tuple[str, str]:
    """Content type and body of an answer that refuses, for programs."""
    return "application/json", json.dumps(error_body(refusal.status, refusal.reason))


Word = Callable[[Refusal, Headers], tuple[str, str]]


class Guard:
    """Holds every HTTP request against a policy before ``app`` sees it.

    ``word`` makes content type and body of a refusal and the headers of its request.
    """

    def __init__(
        self,
        app: App,
        policy: Policy,
        word: Callable[[Refusal, Headers], tuple[str, str]] = as_json,
    ) -> None:
        self.app, self.policy, self.word = app, policy, word
        self._rules = [
            (method, tuple(path.split("/")), access)
            for (method, path), access in policy.rules.items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # no websockets
            await send({"type": "websocket.close", "code": 1008})
            return
        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message = {**message, "headers": _with_headers(message.get("headers", ()))}
            await send(message)

        headers = Headers(scope=scope)
        try:
            self._check(scope["method"], scope["path"], headers)
            body = await self._body(headers, receive)
            await self.app(scope, _given(body, receive), guarded)
        except Refusal as refusal:
            if started:
                raise
            await _answer(refusal, self.word(refusal, headers), guarded)

    def _check(self, method: str, path: str, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or host_name(hosts[0]) not in self.policy.hosts:
            raise Refusal(421, "this server does not go by the name in the Host header")
        if method not in SAFE_METHODS:
            self._check_origin(headers, hosts[0])
        access = self._access(method, path)
        if access != "open" and not (
            self._knows_token(headers) or self._knows_cookie(method, headers, access)
        ):
            challenge = [("www-authenticate", "Bearer")]
            raise Refusal(401, "a token is needed: Authorization: Bearer TOKEN", challenge)
        if access is None:
            raise Refusal(404, "there is nothing here")

    def _check_origin(self, headers: Headers, host: str) -> None:
        """A browser says from which page a request comes; programs say nothing."""
        origins = headers.getlist("origin")
        own = {f"http://{host}", f"https://{host}"}
        if any(origin.lower() not in own for origin in origins):
            raise Refusal(403, "requests from pages of other origins are refused")
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            raise Refusal(403, "requests from other sites are refused")

    def _access(self, method: str, path: str) -> Access | None:
        parts = path.split("/")
        for allowed, pattern, access in self._rules:
            if allowed == method and len(parts) == len(pattern):
                pairs = zip(parts, pattern, strict=True)
                if all(part == own or (own[:1] == "{" and part) for part, own in pairs):
                    return access
        return None

    def _knows_token(self, headers: Headers) -> bool:
        return self.policy.token is None or says_token(headers, self.policy.token)

    def _knows_cookie(self, method: str, headers: Headers, access: Access | None) -> bool:
        given = cookie_parser(headers.get("cookie", ""))
        known = False
        if self.policy.cookie is not None:
            name, value = self.policy.cookie
            known = hmac.compare_digest(given.get(name, "").encode(), value.encode())
        if not known and access == "guest" and self.policy.guests is not None:
            name, lets_in = self.policy.guests
            known = lets_in(given.get(name, ""))
        if known and method not in SAFE_METHODS and not headers.getlist("origin"):
            raise Refusal(403, "a browser's request must say from which page it comes")
        return known

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        """The whole body, neither larger nor slower than allowed."""
        most = self.policy.body_bytes
        told = headers.get("content-length", "0")
        too_large = Refusal(413, f"the body may have {most} bytes")
        if not told.isdecimal() or int(told) > most + DISCARDED:
            raise too_large
        body, size = b"", 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    message = await receive()
                    part = bytes(message.get("body", b""))
                    size += len(part)
                    if size > most + DISCARDED:
                        raise too_large
                    if size <= most:
                        body += part
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            raise Refusal(408, "the body did not arrive in time") from None
        if size > most:
            raise too_large
        return body


def _given(body: bytes, receive: Receive) -> Receive:
    """Gives ``body``, then what comes after it."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def given() -> Message:
        return pending.pop() if pending else await receive()

    return given


def says_token(headers: Headers, token: str) -> bool:
    """Whether ``Authorization: Bearer`` says the token."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    same = hmac.compare_digest(given.strip().encode(), token.encode())
    return scheme.lower() == "bearer" and same


def host_name(host: str) -> str:
    """A ``Host`` header without its port; empty where it is none."""
    name, bracket, port = host.lower().partition("]")
    if bracket and name.startswith("["):
        return name[1:] if not port or (port[0] == ":" and port[1:].isdecimal()) else ""
    name, colon, port = host.lower().partition(":")
    return name if not colon or port.isdecimal() else ""


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def error_body(status: int, message: str, **more: Any) -> dict[str, Any]:
    """An error as OpenAI's API words it."""
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": None, **more}}


async def _answer(refusal: Refusal, said: tuple[str, str], send: Send) -> None:
    kind, body = said[0], said[1].encode()
    plain = [("content-type", kind), ("content-length", str(len(body)))]
    headers = [
        (name.encode(), value.encode())
        for name, value in (*plain, ("connection", "close"), *refusal.headers)
    ]
    start = {"type": "http.response.start", "status": refusal.status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})


def _with_headers(given: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    headers = list(given)
    there = {name.lower() for name, _ in headers}
    more = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
    return headers + [(name, value) for name, value in more if name not in there]
