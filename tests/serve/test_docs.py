"""What docs/serving.md shows to ask a server works on one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from .conftest import TOKEN, Running

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_what_is_shown_works(up: Running) -> None:
    environment = os.environ | {"BURNISH_SERVE_TOKEN": TOKEN}
    here = f"127.0.0.1:{up.port}"
    asking, voting = blocks("sh")[:2]
    (program,) = blocks("python")

    def run(*command: str) -> str:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    answer = run("bash", "-c", asking.replace("127.0.0.1:8000", here))
    assert '"object":"chat.completion"' in answer
    key = re.findall(r'"id":"(chatcmpl-[0-9a-f]+)"', answer)[0]
    vote = voting.replace("127.0.0.1:8000", here).replace("chatcmpl-...", key)
    assert '"stored":true' in run("bash", "-c", vote)
    assert run(sys.executable, "-c", program.replace("127.0.0.1:8000", here))
