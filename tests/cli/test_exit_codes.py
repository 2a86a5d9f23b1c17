from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from burnish.cli import main as entry
from burnish.cli.main import invoke
from burnish.config import GateRefused, InputError, Interrupted, Problem

COMMANDS = [
    "run", "check", "plan", "init", "fit", "data", "data stats", "data check", "generate", "eval",
    "compare", "report", "models", "models list", "models show", "models promote",
    "models rollback", "chat", "status", "doctor",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke([*command.split(), "--help"]) == 0
    text = capsys.readouterr().out
    if command not in ("models", "data"):
        assert "Example" in text
        assert f"burnish {command}" in text


def with_command(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    app = typer.Typer()

    @app.command()
    def fail() -> None:
        raise error

    @app.command()
    def other() -> None:
        pass

    monkeypatch.setattr(entry, "app", app)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("bad"), 2),
        (Interrupted("stopped"), 3),
        (KeyboardInterrupt(), 3),
        (GateRefused("kept"), 4),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), 2),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), 2),
        (ZeroDivisionError("oops"), 1),
    ],
)
def test_outcomes_have_their_exit_codes(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with_command(monkeypatch, error)
    assert invoke(["fail"]) == code


def test_unknown_command_and_option_are_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["frobnicate"]) == 2
    assert invoke(["run", "quickstart", "--no-such-option"]) == 2
    capsys.readouterr()


def test_storage_errors_name_the_path(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_command(monkeypatch, OSError(errno.ENOSPC, "No space left on device", "/x/y"))
    invoke(["fail"])
    assert "/x/y: no space left on device" in capsys.readouterr().err


def test_all_problems_are_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    problems = [Problem("r.yaml", 3, "seed", "found 'x'"), Problem("r.yaml", 7, "[name]", "gone")]
    with_command(monkeypatch, InputError(problems))
    invoke(["fail"])
    said = capsys.readouterr().err
    assert "r.yaml:3:seed: found 'x'" in said
    assert "r.yaml:7:[name]: gone" in said


def test_crash_file_tells_all_but_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MY_API_KEY", "swordfish-42")
    with_command(monkeypatch, RuntimeError("call with swordfish-42 and hf_abcdefgh12345 failed"))
    assert invoke(["fail"]) == 1
    (path,) = (tmp_path / "runs" / "crashes").iterdir()
    text = path.read_text()
    assert str(path.relative_to(tmp_path)) in capsys.readouterr().err
    assert "RuntimeError: call with [hidden] and [hidden] failed" in text
    assert "Traceback" in text
    assert "torch" in text
    assert "swordfish" not in text


def test_help_does_not_load_torch() -> None:
    code = (
        "import sys; from burnish.cli.main import invoke; invoke(['--help']); "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=dict(os.environ), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
