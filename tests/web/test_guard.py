from __future__ import annotations

import string
from itertools import product

import pytest
from starlette.testclient import TestClient

from burnish.web.app import RULES, bare_app
from burnish.web.i18n import GROUPS, WORDS
from burnish.web.site import HEADERS, Site, own_path

from .conftest import OWN, TOKEN

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY")
OPEN = {
    ("GET", "/login"), ("POST", "/login"), ("POST", "/preferences"), ("GET", "/static/{name}"),
}  # fmt: skip


def routes(site: Site) -> set[tuple[str, str]]:
    """Every route that the application has, from the application itself."""
    found = set()
    pending = list(bare_app(site).routes)
    while pending:
        route = pending.pop()
        inner = getattr(route, "original_router", None)
        pending += inner.routes if inner is not None else []
        for method in getattr(route, "methods", None) or ():
            found.add((method, route.path))  # type: ignore[attr-defined]
    return found


def test_every_route_has_a_rule(site: Site) -> None:  # S-09
    assert routes(site) == set(RULES)
    assert {place for place, access in RULES.items() if access == "open"} == OPEN


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"cookie": f"token={TOKEN}"},
        {"cookie": f"burnish_session_8600={TOKEN}"},
        {"cookie": "burnish_session_8600="},
    ],
)
def test_nothing_without_the_token(
    nobody: TestClient, site: Site, headers: dict[str, str]
) -> None:  # S-09
    for method, path in routes(site) - OPEN:
        address = path.replace("{", "").replace("}", "")
        answer = nobody.request(method, f"{address}?token={TOKEN}", headers=headers | OWN)
        assert answer.status_code == 401, path
        assert TOKEN not in answer.text
    assert nobody.get("/docs", headers=headers).status_code == 401


def test_default_is_no(person: TestClient) -> None:  # S-09
    for path in ("/docs", "/openapi.json", "/runs/", "/static/", "/static/../site.py"):
        assert person.get(path).status_code == 404, path


def test_logging_in(nobody: TestClient, site: Site) -> None:
    wrong = nobody.post("/login", data={"token": "wrong"}, headers=OWN)
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
    right = nobody.post("/login", data={"token": TOKEN}, headers=OWN)
    said = right.headers["set-cookie"].lower()
    assert "httponly" in said
    assert "samesite=strict" in said
    assert TOKEN not in said  # the cookie is no token for the API
    assert nobody.get("/").headers["location"] == "/runs"
    # Another server on this machine, with another token, sees the cookie of another port.
    assert Site(site.runs, "another-token-here", 8600).cookie[1] != site.cookie[1]


@pytest.mark.parametrize("said", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Bearer  {TOKEN}"])
def test_whoever_says_the_token_is_the_owner(nobody: TestClient, said: str) -> None:
    assert nobody.get("/", headers={"authorization": said}).headers["location"] == "/runs"


@pytest.mark.parametrize(
    ("method", "origin"),
    list(
        product(
            [m for m in METHODS if m not in ("GET", "HEAD")],
            [None, "null", "http://evil.test", "http://localhost:1", "http://localhost.evil.test"],
        )
    ),
)
def test_other_pages_change_nothing(
    person: TestClient, site: Site, method: str, origin: str | None
) -> None:  # S-10
    headers = {} if origin is None else {"origin": origin}
    for _, path in routes(site) - OPEN:
        address = path.replace("{", "").replace("}", "")
        assert person.request(method, address, headers=headers).status_code == 403, path
    if origin is not None:
        assert person.request(method, "/login", headers=headers).status_code == 403


def test_reading_has_no_form_behind_it(person: TestClient, site: Site) -> None:  # S-10
    for method, path in routes(site):
        if method == "POST" and (("GET", path) not in routes(site)):
            address = path.replace("{", "").replace("}", "")
            assert person.get(address).status_code == 404, path


def test_other_names_are_refused(person: TestClient) -> None:  # S-11
    for host in ("evil.test", "localhost.evil.test:8600", "127.0.0.1.nip.io", ""):
        assert person.get("/login", headers={"host": host}).status_code == 421, host


def test_headers_of_every_page(person: TestClient, nobody: TestClient) -> None:  # S-14
    answers = [person.get(path) for path in ("/", "/login", "/nothing", "/static/ui.css")]
    answers += [nobody.get("/runs", headers={"accept": "text/html"})]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
    assert person.get("/login").headers["referrer-policy"] == HEADERS["referrer-policy"]


def test_language_and_theme(person: TestClient) -> None:
    assert 'lang="en"' in person.get("/login").text
    said = person.get("/login", headers={"accept-language": "zh-CN,zh;q=0.9"}).text
    assert 'lang="zh"' in said
    chosen = {"language": "zh", "theme": "dark", "back": "/login?a=1"}
    answer = person.post("/preferences", data=chosen, headers=OWN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?a=1")
    page = person.get("/login").text
    assert '<html lang="zh" data-theme="dark">' in page
    assert "登录" in page
    person.post("/preferences", data={"language": "<b>", "theme": "'"}, headers=OWN)
    assert '<html lang="zh" data-theme="dark">' in person.get("/login").text


def test_no_way_leads_out() -> None:
    for path in ("//evil.test", "https://evil.test", "/\\evil.test", "evil", "/a\r\nx: y", ""):
        assert own_path(path) == "/", path
    assert own_path("/runs/a?b=c") == "/runs/a?b=c"


def test_every_word_is_in_both_languages() -> None:
    assert len(WORDS) == sum(len(group) for group in GROUPS)  # no key twice
    for key, (english, chinese) in WORDS.items():
        assert english, key
        # The switch is named in the language it leads to.
        shown = english if key == "language" else chinese
        assert any("一" <= letter <= "鿿" for letter in shown), key


def test_placeholders_are_the_same_in_both_languages() -> None:
    for key, words in WORDS.items():
        fields = [
            {name for _, name, _, _ in string.Formatter().parse(word) if name} for word in words
        ]
        assert fields[0] == fields[1], key
