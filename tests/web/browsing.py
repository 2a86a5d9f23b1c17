"""The site on loopback with a real browser before it, and what every page of it must keep to."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from burnish.serve.server import listen
from burnish.web.server import make_server
from burnish.web.site import Site

from .conftest import TOKEN

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SECONDS = 20_000


@contextmanager
def served(runs: Path) -> Iterator[str]:
    """The site on loopback; gives the link that logs in."""
    up = threading.Event()
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        server = make_server(Site(runs, TOKEN, port), listener, ready=up.set)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            assert up.wait(30)
            yield f"http://127.0.0.1:{port}/login#{TOKEN}"
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


@contextmanager
def logged_in(
    browser: Any, link: str, locale: str = "en-GB", first: str = "/runs", **more: Any
) -> Iterator[Any]:
    """A page of a browser that opened the link, which leads to ``first``; nothing may fail or leave
    this machine."""
    context = browser.new_context(locale=locale, **more)
    page = context.new_page()
    page.set_default_timeout(SECONDS)
    wrong: list[str] = []
    own = link.partition("/login")[0]
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("request", lambda asked: asked.url.startswith(own) or wrong.append(asked.url))
    page.on("console", lambda said: "Content Security" in said.text and wrong.append(said.text))
    page.goto(link)
    page.wait_for_url(f"{own}{first}")
    page.own = own
    yield page
    assert wrong == []
    context.close()


def only_text(page: Any) -> None:
    """What was said anywhere is text on this page: nothing of it ran, or would."""
    page.wait_for_timeout(150)
    assert page.evaluate("window.__xss") is None, page.url
    odd = "main script, main img, main iframe, main style, main a[href^=javascript]"
    assert page.locator(odd).count() == 0, page.url
    handlers = "[...document.querySelectorAll('main *')].filter(one => "
    handlers += "[...one.attributes].some(a => a.name.startsWith('on'))).length"
    assert page.evaluate(handlers) == 0, page.url


def width_on_a_phone(page: Any, path: str) -> int:
    """How wide a page is for a browser 360 pixels wide: more means that it scrolls sideways."""
    page.goto(page.own + path)
    return int(page.evaluate("document.documentElement.scrollWidth"))


def seriously_wrong(page: Any, path: str) -> list[tuple[str, str, list[str]]]:
    """What axe finds serious or critical on the page of a path."""
    page.goto(page.own + path)
    return serious_here(page)


def serious_here(page: Any) -> list[tuple[str, str, list[str]]]:
    """What axe finds serious or critical on a page as it stands."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    return [
        (page.url, one["id"], [node["html"] for node in one["nodes"]])
        for one in axe.run(page).response["violations"]
        if one["impact"] in ("serious", "critical")
    ]
