"""The site as an application, and the site on loopback with a browser before it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from burnish.web.app import make_app
from burnish.web.site import Site

TOKEN = "a-token-for-tests-only"
HOST = "localhost:8600"
OWN = {"origin": f"http://{HOST}"}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "runs").mkdir()
    return Site(tmp_path / "runs", TOKEN, 8600)


def client_of(site: Site, **more: Any) -> TestClient:
    app: Any = make_app(site, frozenset({"localhost"}))
    return TestClient(app, base_url=f"http://{HOST}", follow_redirects=False, **more)


@pytest.fixture
def nobody(site: Site) -> Iterator[TestClient]:
    """A browser that has not logged in."""
    with client_of(site) as client:
        yield client


@pytest.fixture
def person(site: Site) -> Iterator[TestClient]:
    """A browser that has."""
    with client_of(site, headers={"accept": "text/html"}) as client:
        answer = client.post("/login", data={"token": TOKEN}, headers=OWN)
        assert answer.status_code == 303
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, without a window."""
    from .browsing import CHROMIUM

    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()
