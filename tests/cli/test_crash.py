from __future__ import annotations

from pathlib import Path

import pytest

from burnish.cli.crash import write_crash_file
from burnish.config.secrets import redact


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: Bearer abc.def", "Authorization: Bearer [hidden]"),
        ("https://me:pw@host/x", "https://[hidden]@host/x"),
        ("?api_key=123456&x=1", "?api_key=[hidden]&x=1"),
        ("sk-0123456789abcdef", "[hidden]"),
        ("token_count = 12", "token_count = 12"),
    ],
)
def test_secret_looking_text_is_hidden(text: str, expected: str) -> None:
    assert redact(text, {}) == expected


def test_only_secret_looking_variables_are_hidden() -> None:
    environment = {"HOME": "/home/somebody", "GITHUB_TOKEN": "abcdef123", "SHORT_TOKEN": "ab"}
    assert redact("/home/somebody abcdef123 ab", environment) == "/home/somebody [hidden] ab"


def test_falls_back_to_a_temporary_folder(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    path = write_crash_file(ValueError("x"), ["run"], blocked / "crashes")
    try:
        assert "ValueError: x" in path.read_text()
    finally:
        path.unlink()
