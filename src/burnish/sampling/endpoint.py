"""One served model behind an OpenAI-compatible address: its settings, and asking it once."""

from __future__ import annotations

import ipaddress
import json
import os
import random
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Event
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx2
from pydantic import Field, PositiveFloat, PositiveInt

from burnish.config import EXIT_INPUT, BurnishError, InputError, Settings

LARGEST_REPLY = 32 * 2**20
"""Bytes of an answer after which the server is not believed any more."""

RETRIED = frozenset({408, 425, 429})
"""Statuses besides 5xx that may pass by waiting."""

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_UNSAFE = re.compile(r"[\s\\\x00-\x1f\x7f]")


class RemoteSettings(Settings):
    """A model behind an OpenAI-compatible server: vLLM, SGLang, llama.cpp or a provider.

    ``key_variable`` names the environment variable that holds the API key; the key itself stands
    in no file. ``timeout`` is for one whole reply. A request is tried ``attempts`` times where
    waiting may help; pauses double from ``pause`` to ``longest_pause``, drawn at random from
    their upper half, and are at least what the server asks for.
    """

    url: str = Field(description="such as http://127.0.0.1:8000/v1")
    model: str
    key_variable: str | None = None
    logprobs: bool = Field(False, description="ask for log-probabilities; not every server can")
    concurrency: PositiveInt = 8
    attempts: PositiveInt = 6
    timeout: PositiveFloat = Field(120.0, description="seconds")
    pause: PositiveFloat = Field(1.0, description="seconds")
    longest_pause: PositiveFloat = Field(60.0, description="seconds")


class EndpointError(BurnishError):
    """A served model gave no usable reply; the message names its address."""

    exit_code = EXIT_INPUT

    def __init__(self, url: str, reason: str) -> None:
        self.url, self.reason = url, reason
        super().__init__(f"{url}: {reason}")


class _Passing(Exception):
    """A failure that may pass; ``after`` seconds at the earliest."""

    def __init__(self, reason: str, after: float = 0.0) -> None:
        self.reason, self.after = reason, after
        super().__init__(reason)


class Endpoint:
    """Asks one served model; safe to use from several threads. Close it after use.

    Raises:
        InputError: an address that is not plain http or https, or no API key where one is named.
    """

    def __init__(self, settings: RemoteSettings) -> None:
        self.settings = settings
        parts = _vetted(settings.url)
        path = parts.path.rstrip("/") or "/v1"
        self.url = f"{parts.scheme}://{parts.netloc}{path}/chat/completions"
        self.stopped = Event()
        self._key = _key(settings.key_variable)
        self._client = httpx2.Client(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=settings.timeout,
            limits=httpx2.Limits(max_connections=settings.concurrency),
            follow_redirects=False,
            # A proxy from the environment cannot reach this machine's own servers.
            trust_env=not _is_loopback(parts.hostname or ""),
        )

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def ask(self, body: Mapping[str, Any]) -> Any:
        """The server's answer to one request, as parsed JSON.

        Raises:
            EndpointError: refused, not JSON, too many attempts, or ``stopped`` was set.
        """
        settings = self.settings
        for attempt in range(1, settings.attempts + 1):
            if self.stopped.is_set():
                raise EndpointError(self.url, "stopped")
            try:
                return self._once(body)
            except _Passing as failure:
                if attempt == settings.attempts:
                    reason = f"{failure.reason}; gave up after {attempt} attempts"
                    raise EndpointError(self.url, reason) from failure
                if failure.after > settings.longest_pause:
                    reason = f"{failure.reason}; it asks to wait {failure.after:.0f} s, which is "
                    reason += f"above longest_pause ({settings.longest_pause:.0f} s)"
                    raise EndpointError(self.url, reason) from failure
                doubled = min(settings.longest_pause, settings.pause * 2.0 ** (attempt - 1))
                jitter = random.uniform(doubled / 2, doubled)
                # Those told to wait equally long must not all come back at the same moment.
                self.stopped.wait(failure.after + jitter if failure.after else jitter)
        raise AssertionError("attempts is at least 1")

    def _once(self, body: Mapping[str, Any]) -> Any:
        until = time.monotonic() + self.settings.timeout
        try:
            with self._client.stream("POST", self.url, json=body) as response:
                content = self._read(response, until)
        except httpx2.TimeoutException as error:
            raise _Passing(f"no whole reply within {self.settings.timeout:g} s") from error
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise _Passing(f"the connection failed ({type(error).__name__})") from error
        status = response.status_code
        if status in RETRIED or status >= 500:
            raise _Passing(f"status {status}", _retry_after(response.headers))
        if 300 <= status < 400:
            raise EndpointError(self.url, f"status {status}; redirects are not followed")
        if status != 200:
            raise EndpointError(
                self.url, f"status {status}: {self.excerpt(content.decode(errors='replace'))}"
            )
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            reason = f"an answer that is not JSON: {self.excerpt(content.decode(errors='replace'))}"
            raise EndpointError(self.url, reason) from None

    def _read(self, response: httpx2.Response, until: float) -> bytes:
        """The body; httpx's own timeout starts anew with every piece of it."""
        content = b""
        for piece in response.iter_bytes():
            content += piece
            if len(content) > LARGEST_REPLY:
                raise EndpointError(self.url, f"an answer above {LARGEST_REPLY // 2**20} MiB")
            if time.monotonic() > until:
                raise _Passing(f"no whole reply within {self.settings.timeout:g} s")
        return content

    def excerpt(self, text: str) -> str:
        """The beginning of what the server said, on one line, without the API key."""
        if self._key:
            text = text.replace(self._key, "[hidden]")
        return repr(text[:200])


def _vetted(url: str) -> SplitResult:
    """The parts of an acceptable address. What is refused is not repeated: it may hold a secret."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise InputError("the endpoint's url is not an address") from None
    if _UNSAFE.search(url) or parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError("the endpoint's url must look like https://host/v1 (http or https)")
    if "@" in parts.netloc:
        raise InputError("the endpoint's url must not hold a user or password; see key_variable")
    if parts.query or parts.fragment:
        raise InputError("the endpoint's url must end with its path, without ? or #")
    return parts


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _key(variable: str | None) -> str | None:
    """The API key; a name that cannot be one is not repeated, as it may be the key itself."""
    if variable is None:
        return None
    if not _VARIABLE.fullmatch(variable):
        raise InputError("key_variable must be the name of an environment variable, in capitals")
    key = os.environ.get(variable, "").strip()
    if not key:
        raise InputError(f"the environment variable {variable} (key_variable) is not set")
    if not key.isascii() or not key.isprintable():
        raise InputError(f"the environment variable {variable} holds no API key")
    return key


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds of the Retry-After header (RFC 9110, 10.2.3: a number or a date); 0 without one."""
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError):
        return 0.0
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
