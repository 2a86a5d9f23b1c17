"""Pictures of the web application for the docs: ``python tools/screenshots.py RUNS RUN``.

Needs playwright and a ``chromium`` on the path. It begins a review of the run, where there is none
yet, and reviews some of it: give it a copy.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SIZE = {"width": 1200, "height": 860}


def main(runs: str, run: str) -> None:
    """Serve ``runs`` and take the pictures."""
    command = [sys.executable, "-m", "burnish", "ui", runs, "--port", "0", "--json"]
    environment = {name: value for name, value in os.environ.items() if name != "BURNISH_UI_TOKEN"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        told = json.loads(server.stdout.readline())
        try:
            with sync_playwright() as playwright:
                # Chromium has no sandbox for root.
                flags = ["--no-sandbox"] if os.geteuid() == 0 else []
                chromium = playwright.chromium.launch(
                    executable_path=shutil.which("chromium"), args=flags
                )
                page = chromium.new_page(viewport=SIZE)
                page.goto(told["link"])
                page.wait_for_url(f"{told['url']}runs")
                for name, path in (("ui-run", f"runs/{run}"), ("ui-models", "models")):
                    page.goto(told["url"] + path)
                    page.screenshot(path=IMAGES / f"{name}.png")
                _compare(page, told["url"])
                _review(page, told["url"], run)
                chromium.close()
        finally:
            server.terminate()


def _compare(page: Page, url: str) -> None:
    """What the newest and the oldest model say, before a vote."""
    page.goto(f"{url}compare")
    page.locator("#second").select_option(index=page.locator("#second option").count() - 1)
    page.locator("#voter").fill("Ann")
    page.locator("#prompt").fill("What is the capital of Bhutan?")
    page.locator("#send").click()
    page.locator("#votes button:enabled").first.wait_for()
    page.screenshot(path=IMAGES / "ui-compare.png")


def _review(page: Page, url: str, run: str) -> None:
    """A pair and a single reply before a reviewer."""
    page.goto(f"{url}review/{run}/desk")
    if page.locator("input[name=singles]").count():
        page.locator("input[name=singles]").fill("0.3")
        page.locator("main button.main").click()
    page.locator("input[name=name]").fill("Ann")
    page.locator("main button.main").click()
    link = page.locator("main a.main").get_attribute("href")
    browser = page.context.browser
    assert link is not None
    assert browser is not None
    page = browser.new_context(viewport=SIZE).new_page()  # hers: with the pass, without the token
    page.goto(link)
    page.wait_for_url(f"{url}review")
    page.goto(f"{url}review/{run}")
    for name, kind in (("ui-review", "pair"), ("ui-review-single", "single")):
        page.locator("#item:not([hidden])").wait_for()
        while not page.locator(f".row[data-for={kind}]").first.is_visible():
            shown = page.locator("#item").get_attribute("data-id")
            page.keyboard.press("1")
            page.locator(f"#item:not([data-id='{shown}'])").wait_for()
        page.screenshot(path=IMAGES / f"{name}.png")


if __name__ == "__main__":
    main(*sys.argv[1:3])
