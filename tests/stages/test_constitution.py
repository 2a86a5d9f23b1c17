"""What of a violating reply is written down."""

from __future__ import annotations

import pytest

from burnish.stages.curate.constitution import opening


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Sure. First, take the", "Sure."),
        ("好的，我来说明。首先", "好的，我来说明。"),
        ("No full stop here", "No full stop here"),
        ("", ""),
    ],
)
def test_only_the_opening_of_a_rejected_reply_is_kept(reply: str, expected: str) -> None:
    assert opening(reply) == expected
