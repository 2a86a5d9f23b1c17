"""Where a served model is: its reference taken apart, its addresses vetted, its API key found."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from burnish.config import InputError

KEYS = "BURNISH_API_KEYS"
"""The environment variable with the API keys: ``host=key`` items with spaces between them.

A key is bound to its host, so that no recipe, whoever wrote it, can have it sent elsewhere.
"""

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address

_UNSAFE = re.compile(r"[\s\\\x00-\x1f\x7f]")
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_METADATA = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "fd00:ec2::254")))
"""Where clouds hand out credentials, besides the link-local addresses."""


@dataclass(frozen=True)
class Address:
    """A served model: ``url`` up to its ``/v1``, the model's name there, and parts of the url."""

    url: str
    model: str
    scheme: str
    host: str
    netloc: str


def parse(ref: str) -> Address:
    """Take ``http://host:8000/v1#model`` apart; the path is ``/v1`` where there is none.

    Raises:
        InputError: not such an address. What is refused is not repeated: it may hold a secret.
    """
    try:
        parts = urlsplit(ref)
        _ = parts.port
    except ValueError:
        raise _refused("is not an address") from None
    host = (parts.hostname or "").lower()
    if _UNSAFE.search(ref) or parts.scheme not in ("http", "https") or not host:
        raise _refused("must look like https://host/v1#name-of-the-model (http or https)")
    if "@" in parts.netloc:
        raise _refused(f"must not hold a user or password; API keys stand in {KEYS}")
    if parts.query or not parts.fragment:
        raise _refused("must end with /v1#name-of-the-model, without ?")
    literal = _literal(host)
    if literal is not None:
        _vet(literal, host)
    netloc = parts.netloc.lower()
    path = parts.path.rstrip("/") or "/v1"
    url = f"{parts.scheme}://{netloc}{path}"
    return Address(url, parts.fragment, parts.scheme, host, netloc)


def api_key(address: Address) -> str | None:
    """The API key of an address' host (with its port where it has one); None where there is none.

    Raises:
        InputError: the variable does not hold ``host=key`` items; they are not repeated.
    """
    found = None
    for item in os.environ.get(KEYS, "").split():
        host, equals, key = item.partition("=")
        if not (host and equals and key) or not (key.isascii() and key.isprintable()):
            raise InputError(f"the environment variable {KEYS} must hold host=key items")
        if host.lower() == address.netloc:
            found = key
    return found


def transport(address: Address, connections: int) -> httpx2.BaseTransport | None:
    """Connects to vetted addresses only; None where the environment names a proxy that connects."""
    return None if _proxied(address) else _Vetted(address.host, connections)


def async_transport(address: Address, connections: int) -> httpx2.AsyncBaseTransport | None:
    """``transport`` for an event loop."""
    return None if _proxied(address) else _AsyncVetted(address.host, connections)


def _proxied(address: Address) -> bool:
    proxies = getproxies()
    named = address.scheme in proxies or "all" in proxies
    return named and not _is_local(address.host) and not proxy_bypass(address.host)


class _Vetted(httpx2.BaseTransport):
    """Resolves the host anew for each request, and connects to an address that was vetted.

    Between a look-up that is checked and one that is used, a name could come to mean another
    machine (DNS rebinding).
    """

    def __init__(self, host: str, connections: int) -> None:
        self.host = host
        self.inner = httpx2.HTTPTransport(limits=httpx2.Limits(max_connections=connections))

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Try the host's addresses in turn; the Host header and TLS keep the name."""
        failure: Exception = httpx2.ConnectError("the name has no address")
        for ip in resolve(self.host):
            _aim(request, ip, self.host)
            try:
                return self.inner.handle_request(request)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failure = error
        raise failure

    def close(self) -> None:
        """Give the connections back."""
        self.inner.close()


class _AsyncVetted(httpx2.AsyncBaseTransport):
    """``_Vetted`` for an event loop, which a look-up does not hold up."""

    def __init__(self, host: str, connections: int) -> None:
        self.host = host
        self.inner = httpx2.AsyncHTTPTransport(limits=httpx2.Limits(max_connections=connections))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Try the host's addresses in turn; the Host header and TLS keep the name."""
        failure: Exception = httpx2.ConnectError("the name has no address")
        for ip in await asyncio.to_thread(resolve, self.host):
            _aim(request, ip, self.host)
            try:
                return await self.inner.handle_async_request(request)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failure = error
        raise failure

    async def aclose(self) -> None:
        """Give the connections back."""
        await self.inner.aclose()


def _aim(request: httpx2.Request, ip: Ip, host: str) -> None:
    """Send a request to an address under the host's name."""
    request.url = request.url.copy_with(host=str(ip))
    request.extensions["sni_hostname"] = host


def resolve(host: str) -> list[Ip]:
    """The addresses of a host, all of them vetted.

    Raises:
        InputError: one of them is none that a model is served at.
        httpx2.ConnectError: the name cannot be resolved.
    """
    literal = _literal(host)
    if literal is not None:
        return [literal]
    try:
        rows: list[Any] = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpx2.ConnectError("the name cannot be resolved") from error
    found = list(dict.fromkeys(ipaddress.ip_address(row[4][0]) for row in rows))
    for ip in found:
        _vet(ip, host)
        if _inner(ip).is_loopback and not _is_local(host):
            raise _refused(f"names {host}, which is this machine; write http://127.0.0.1 if it is")
    return found


def _literal(host: str) -> Ip | None:
    """The address a host spells out; None for a name.

    Other spellings of addresses (decimal, octal, shortened) are refused: two parsers may read
    them differently.
    """
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        labels = host.split(".")
    if not _NAME.fullmatch(host) or _NUMBER.fullmatch(labels[-1]):
        raise _refused("names no host: expected an ASCII name, or the like of 127.0.0.1 or [::1]")
    return None


def _vet(ip: Ip, host: str) -> None:
    inner = _inner(ip)
    bad = inner.is_link_local or inner.is_multicast or inner.is_unspecified or inner in _METADATA
    if bad or inner == ipaddress.ip_address("255.255.255.255"):
        raise _refused(f"leads to {inner} ({host}), where no model is served")


def _inner(ip: Ip) -> Ip:
    """The IPv4 address inside an IPv6 one (RFC 4291, 2.5.5.2; RFC 3056), else the address."""
    if isinstance(ip, ipaddress.IPv6Address):
        return ip.ipv4_mapped or ip.sixtofour or ip
    return ip


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or _inner(ipaddress.ip_address(host)).is_loopback
    except ValueError:
        return False


def _refused(reason: str) -> InputError:
    return InputError(f"the address of a served model {reason}")
