"""S-16: where a served model may be, and that what was vetted is what is connected to."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.serving import Answer, echo, fails, serving

from burnish.config import InputError
from burnish.sampling import EndpointError, EndpointSettings, Request, Sampling, ServedSampler
from burnish.sampling.address import KEYS, api_key, parse, resolve

KEY = "canary-7f3a91"
QUICK = EndpointSettings(pause=0.01, timeout=5.0, attempts=2)


def ask(ref: str) -> str:
    request = Request([{"role": "user", "content": "a"}], 0, "p")
    return ServedSampler(ref, QUICK).complete([request], Sampling())[0].text


def named(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Names resolve to these addresses, look-up by look-up; returns the names looked up."""
    queue, asked, real = list(answers), [], socket.getaddrinfo

    def resolver(host: str, *args: Any, **kwargs: Any) -> list[Any]:
        if host[0].isdigit():  # connecting to an address
            return real(host, *args, **kwargs)
        asked.append(host)
        found = queue.pop(0) if len(queue) > 1 else queue[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 0)) for ip in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    return asked


@pytest.mark.parametrize(
    ("ref", "url", "model"),
    [
        ("http://127.0.0.1:8000/v1#m", "http://127.0.0.1:8000/v1", "m"),
        ("HTTPS://API.Example.com/v1/#org/Name-7B", "https://api.example.com/v1", "org/Name-7B"),
        ("http://gpu_01:8000#qwen2.5:7b", "http://gpu_01:8000/v1", "qwen2.5:7b"),
        ("http://[::1]:8000/openai/v1#a#b", "http://[::1]:8000/openai/v1", "a#b"),
    ],
)
def test_addresses_taken_apart(ref: str, url: str, model: str) -> None:
    found = parse(ref)
    assert (found.url, found.model) == (url, model)


@pytest.mark.parametrize(
    "ref",
    [
        # Not plain http, no host, no model.
        "file:///etc/passwd#m", "ftp://host/v1#m", "//host/v1#m", "http://#m", "http:///v1#m",
        "http://host:99999/v1#m", "http://[::1/v1#m", "http://host/v1", "http://host/v1#",
        # Secrets, and what two parsers read differently.
        f"http://user:{KEY}@127.0.0.1/v1#m", f"http://{KEY}@127.0.0.1/v1#m", "http://a\\@b/v1#m",
        "http://host\\.evil/v1#m", "http://host /v1#m", "http://host/v1#m\n",
        f"http://host/v1?key={KEY}#m", "http://ho%73t/v1#m", "http://h\u2460st/v1#m",
        # Spellings of addresses that are no address to everybody: 127.0.0.1 and 169.254.169.254.
        "http://2130706433/v1#m", "http://0x7f000001/v1#m", "http://0177.0.0.1/v1#m",
        "http://127.1/v1#m", "http://2852039166/v1#m", "http://169.254.43518/v1#m",
        # Link-local (cloud metadata), unspecified, multicast, broadcast; also inside IPv6.
        "http://169.254.169.254/v1#m", "http://[fe80::1]/v1#m", "http://[fe80::1%25eth0]/v1#m",
        "http://[::ffff:169.254.169.254]/v1#m", "http://[2002:a9fe:a9fe::]/v1#m",
        "http://[fd00:ec2::254]/v1#m", "http://100.100.100.200/v1#m", "http://0.0.0.0/v1#m",
        "http://[::]/v1#m", "http://224.0.0.1/v1#m", "http://255.255.255.255/v1#m",
    ],
)  # fmt: skip
def test_addresses_that_are_refused(ref: str) -> None:
    # S-16, S-15: and not repeated, as they may hold a secret.
    with pytest.raises(InputError, match="the address of a served model") as error:
        parse(ref)
    assert KEY not in str(error.value)


@pytest.mark.parametrize(
    ("ips", "said"),
    [
        (["169.254.169.254"], r"leads to 169.254.169.254 \(model.example\)"),
        (["93.184.216.34", "169.254.169.254"], "leads to 169.254.169.254"),
        (["127.0.0.1"], "names model.example, which is this machine"),
    ],
)
def test_names_that_lead_where_no_model_is_served(
    ips: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # S-16: metadata behind a name, one bad address among good ones, a public name for loopback.
    named(monkeypatch, ips)
    with pytest.raises(InputError, match=said):
        ask("http://model.example/v1#m")
    with pytest.raises(InputError, match=said):
        resolve("model.example")


def test_a_name_that_changes_its_meaning_is_looked_up_and_vetted_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # S-16, rebinding: good at first, then the metadata service. It is vetted before each request.
    asked = named(monkeypatch, ["93.184.216.34"], ["169.254.169.254"])
    assert [str(ip) for ip in resolve("model.example")] == ["93.184.216.34"]
    with pytest.raises(InputError, match="leads to"):
        ask("http://model.example/v1#m")
    assert asked == ["model.example", "model.example"]


def test_the_address_that_was_vetted_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    # S-16. A second look-up, to connect, would lead elsewhere.
    connected: list[Any] = []
    real = socket.create_connection

    def note(address: Any, *args: Any, **kwargs: Any) -> Any:
        connected.append(address)
        return real(address, *args, **kwargs)

    with serving(echo) as server:
        port = server.server_port
        asked = named(monkeypatch, ["127.0.0.2", "127.0.0.1"], ["192.0.2.1"])
        monkeypatch.setattr(socket, "create_connection", note)
        assert ask(f"http://localhost:{port}/v1#m") == "a|0"
    # The first address has no listener; the Host header keeps the name.
    assert [address for address, _ in connected] == ["127.0.0.2", "127.0.0.1"]
    assert asked == ["localhost"]
    assert server.hosts == [f"localhost:{port}"]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_tls_is_for_the_name_and_not_for_the_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # S-16: connecting to a vetted address must not lose the check of the name.
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    made += ["-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext"]
    made += ["subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(made, check=True, capture_output=True, cwd=tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with serving(echo) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        assert ask(f"https://localhost:{server.server_port}/v1#m") == "a|0"
        with pytest.raises(EndpointError, match="certificate verify failed"):
            ask(f"https://127.0.0.1:{server.server_port}/v1#m")
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(EndpointError, match="certificate verify failed"):
            ask(f"https://localhost:{server.server_port}/v1#m")
    assert len(server.bodies) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    # S-16
    with serving(echo) as other:
        away: Answer = fails(status, Location=f"{other.url}/chat/completions")
        with (
            serving(away) as server,
            pytest.raises(EndpointError, match=f"status {status}; redirects are not followed"),
        ):
            ask(server.ref)
        assert other.bodies == []


def test_a_name_that_does_not_resolve_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(EndpointError, match="the name cannot be resolved"):
        ask("http://no.example/v1#m")


def test_a_key_goes_to_its_host_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # S-15, S-16: a recipe from elsewhere cannot have it sent to another host or port.
    monkeypatch.setenv(KEYS, f"api.example.com={KEY} GPU01:8000=b=c")
    for ref, key in (
        ("https://api.example.com/v1#m", KEY), ("https://API.example.com/v1#m", KEY),
        ("https://api.example.com.evil.test/v1#m", None), ("https://api-example.com/v1#m", None),
        ("https://api.example.com:444/v1#m", None), ("http://gpu01:8000/v1#m", "b=c"),
        ("http://gpu01/v1#m", None),
    ):  # fmt: skip
        assert api_key(parse(ref)) == key
    monkeypatch.delenv(KEYS)
    assert api_key(parse("https://api.example.com/v1#m")) is None


def test_proxies_of_the_environment_are_for_others_than_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving(echo) as server, serving(fails(418)) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://{proxy.netloc}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        assert ask(server.ref) == "a|0"
        with pytest.raises(EndpointError, match="status 418"):
            ask("http://model.example/v1#m")
    assert proxy.hosts == ["model.example"]
