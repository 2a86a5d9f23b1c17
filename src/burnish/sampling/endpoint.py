"""One served model behind an OpenAI-compatible address: its settings, and asking it once."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Event, Lock
from typing import Any

import httpx2
from pydantic import Field, PositiveFloat, PositiveInt

from burnish.config import EXIT_INPUT, BurnishError, Settings
from burnish.sampling.address import Address, api_key, transport

LARGEST_REPLY = 32 * 2**20
"""Bytes of an answer after which the server is not believed any more."""

RETRIED = frozenset({408, 425, 429})
"""Statuses that may pass by waiting, besides 5xx without 501 (not implemented)."""

REFUSES_ALL = frozenset({401, 403, 404, 405})
"""Statuses that say nothing about one request: every other one would get them too."""


class EndpointSettings(Settings):
    """How a served model is asked; the results do not depend on it.

    ``concurrency`` requests are under way at a time. ``timeout`` is for one whole reply. A request
    is tried ``attempts`` times where waiting may help; pauses double from ``pause`` to
    ``longest_pause``, drawn at random from their upper half, and are at least what the server asks
    for.
    """

    concurrency: PositiveInt = 8
    attempts: PositiveInt = 6
    timeout: PositiveFloat = Field(300.0, description="seconds")
    pause: PositiveFloat = Field(1.0, description="seconds")
    longest_pause: PositiveFloat = Field(60.0, description="seconds")


class EndpointError(BurnishError):
    """A served model gave no usable reply; the message names its address.

    ``status``: the HTTP status of the answer; None where there was no whole one. ``failures``:
    where it stands for several requests, what became of each that failed, by the request's name.
    """

    exit_code = EXIT_INPUT

    def __init__(
        self,
        url: str,
        reason: str,
        status: int | None = None,
        failures: Mapping[str, EndpointError] | None = None,
    ) -> None:
        self.url, self.reason, self.status = url, reason, status
        self.failures = dict(failures or {})
        super().__init__(f"{url}: {reason}")


class _Passing(Exception):
    """A failure that may pass; ``after`` seconds at the earliest."""

    def __init__(self, reason: str, after: float = 0.0, status: int | None = None) -> None:
        self.reason, self.after, self.status = reason, after, status
        super().__init__(reason)


class Cap:
    """How many requests may still be sent, retries counted; without ``most`` any number."""

    def __init__(self, most: int | None = None) -> None:
        self.most = most
        self._sent = 0
        self._lock = Lock()

    def take(self, url: str) -> None:
        """Count one request; raises EndpointError where no more may be sent."""
        with self._lock:
            if self.most is not None and self._sent >= self.most:
                raise EndpointError(url, f"the cap of {self.most} requests is spent")
            self._sent += 1


class Endpoint:
    """Asks one served model; safe to use from several threads. Close it after use.

    Args:
        cap: counts the requests of several endpoints together.

    Raises:
        InputError: the environment variable with the API keys is malformed.
    """

    def __init__(
        self, address: Address, settings: EndpointSettings, cap: Cap | None = None
    ) -> None:
        self.settings = settings
        self.cap = cap or Cap()
        self.url = address.url
        self.stopped = Event()
        self._key = api_key(address)
        self._client = httpx2.Client(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=settings.timeout,
            limits=httpx2.Limits(max_connections=settings.concurrency),
            follow_redirects=False,
            transport=transport(address, settings.concurrency),
        )

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer to a POST of ``body`` to ``path`` (without: a GET), as parsed JSON.

        Raises:
            EndpointError: refused, not JSON, too many attempts, the cap is spent, or ``stopped``
                was set.
            InputError: the host leads to an address where no model is served.
        """
        settings = self.settings
        longest = settings.longest_pause
        for attempt in range(1, settings.attempts + 1):
            if self.stopped.is_set():
                raise EndpointError(self.url, "stopped")
            self.cap.take(self.url)
            try:
                return self._once(path, body)
            except _Passing as failure:
                if attempt == settings.attempts:
                    reason = f"{failure.reason}; gave up after {attempt} attempts"
                    raise EndpointError(self.url, reason, failure.status) from failure
                if failure.after > longest:
                    reason = f"{failure.reason}; it asks to wait {failure.after:.0f} s, which is "
                    reason += f"above longest_pause ({longest:.0f} s)"
                    raise EndpointError(self.url, reason, failure.status) from failure
                doubled = min(longest, settings.pause * 2.0 ** (attempt - 1))
                jitter = random.uniform(doubled / 2, doubled)
                # Those told to wait equally long must not all come back at the same moment.
                self.stopped.wait(failure.after + jitter if failure.after else jitter)
        raise AssertionError("attempts is at least 1")

    def _once(self, path: str, body: Mapping[str, Any] | None) -> Any:
        until = time.monotonic() + self.settings.timeout
        method = "GET" if body is None else "POST"
        try:
            with self._client.stream(method, f"{self.url}{path}", json=body) as response:
                content = self._read(response, until)
        except httpx2.TimeoutException as error:
            raise _Passing(f"no whole reply within {self.settings.timeout:g} s") from error
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            reason = f"{type(error).__name__}: {self.excerpt(str(error))}"
            raise _Passing(f"the connection failed ({reason})") from error
        status = response.status_code
        said = self.excerpt(content.decode(errors="replace"))
        if status in RETRIED or (status >= 500 and status != 501):
            after = _retry_after(response.headers)
            raise _Passing(f"status {status}: {said}", after, status)
        if 300 <= status < 400:
            reason = f"status {status}; redirects are not followed"
            raise EndpointError(self.url, reason, status)
        if status != 200:
            raise EndpointError(self.url, f"status {status}: {said}", status)
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            reason = f"an answer that is not JSON: {said}"
            raise EndpointError(self.url, reason, status) from None

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
