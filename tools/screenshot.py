"""Take the README's picture: a real report in a headless Chromium.

    python tools/screenshot.py runs/quickstart/report.html docs/images/report.png
    python tools/screenshot.py runs/quickstart/report.zh.html docs/images/report.zh.png --dark

Debian and Ubuntu: ``apt install chromium``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from burnish.config import InputError
from burnish.reporting.pdf import draw


def main() -> int:
    """Read the arguments and take the picture."""
    parser = argparse.ArgumentParser(description="Take a picture of a report.")
    parser.add_argument("report", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1200)
    parser.add_argument("--height", type=int, default=1360)
    parser.add_argument("--dark", action="store_true")
    arguments = parser.parse_args()
    page = arguments.report.read_text(encoding="utf-8")
    arguments.picture.parent.mkdir(parents=True, exist_ok=True)
    size = f"--window-size={arguments.width},{arguments.height}"
    picture = f"--screenshot={arguments.picture.absolute()}"
    try:
        draw(page, "dark" if arguments.dark else "light", size, picture)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
