"""What the documentation shows is true: commands run, the reference matches the code."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from burnish.cli.main import invoke

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(?P<slow><!-- slow -->\n)?```bash\n(?P<body>.*?)```", re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


def blocks(slow: bool) -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
            if bool(match["slow"]) == slow:
                yield page.name, match["body"]


def commands(body: str) -> list[str]:
    lines = [line for line in body.replace("\\\n", " ").splitlines() if line.strip()]
    return [line for line in lines if not line.startswith("#")]


QUICK = [pytest.param(body, id=f"{page}-{i}") for i, (page, body) in enumerate(blocks(False))]
SLOW = [pytest.param(body, id=f"{page}-{i}") for i, (page, body) in enumerate(blocks(True))]


@pytest.mark.parametrize("body", QUICK)
def test_quick_commands_run(
    body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for line in commands(body):
        words = shlex.split(line, comments=True)
        if words[0] == "make":
            # make itself would set up a new environment: its plan must name the target.
            done = subprocess.run(["make", "-n", "-C", str(ROOT), *words[1:]], check=False)
            assert done.returncode == 0, line
        elif words[0] == "burnish":
            assert invoke(words[1:]) == 0, (line, capfd.readouterr().err)
        else:
            assert subprocess.run(["bash", "-c", line], check=False).returncode == 0, line


@pytest.mark.parametrize("body", SLOW)
def test_slow_commands_exist_with_their_options(
    body: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in commands(body):
        words = shlex.split(line, comments=True)
        if words[0] == "torchrun":
            words = words[words.index("burnish") :]
        assert words[0] == "burnish", line
        assert invoke([*words[1:], "--help"]) == 0, line
        text = capsys.readouterr().out
        for word in words:
            if word.startswith("--"):
                assert word.split("=")[0] in text, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_recipe_reference_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("make_docs", ROOT / "tools" / "make_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = module.PATH.read_text(encoding="utf-8")
    assert written == module.document(), "run: python tools/make_docs.py"


def test_readme_fits_one_screen_in_both_languages() -> None:
    for page in PAGES[:2]:
        text = page.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 70
        shown = [line.split("#")[0].strip() for line in text.splitlines()
                 if line.startswith("make ")]  # fmt: skip
        assert shown == ["make demo", "make test"]
        assert text.count("```bash") == 2
