"""Take the README's picture: a real report in a headless Chromium.

    python tools/screenshot.py runs/quickstart/report.html docs/images/report.png
    python tools/screenshot.py runs/quickstart/report.zh.html docs/images/report.zh.png --dark

Debian and Ubuntu: ``apt install chromium``.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main() -> int:
    """Read the arguments and take the picture."""
    parser = argparse.ArgumentParser(description="Take a picture of a report.")
    parser.add_argument("report", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1200)
    parser.add_argument("--height", type=int, default=1360)
    parser.add_argument("--dark", action="store_true")
    arguments = parser.parse_args()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"no browser found; looked for {', '.join(BROWSERS)}", file=sys.stderr)
        return 2
    page = arguments.report.read_text(encoding="utf-8")
    theme = "dark" if arguments.dark else "light"
    arguments.picture.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        themed = Path(folder) / "report.html"
        themed.write_text(
            page.replace("<html ", f'<html data-theme="{theme}" ', 1), encoding="utf-8"
        )
        subprocess.run(
            [
                browser,
                "--headless",
                "--no-sandbox",
                "--hide-scrollbars",
                f"--window-size={arguments.width},{arguments.height}",
                f"--screenshot={arguments.picture.absolute()}",
                themed.as_uri(),
            ],
            check=True,
            capture_output=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
