"""Passes for reviewers: a name that only the holder of the site's token can have signed.

Nothing is stored. A new token of the site makes all passes void.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

MARK = "review"


def make_pass(token: str, name: str) -> str:
    """The pass of a reviewer; it opens the review pages and nothing else."""
    text = base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")
    return f"{MARK}.{text}.{_signature(token, name)}"


def holder(token: str, given: str) -> str | None:
    """Whose pass it is; None where it is none, or was made for another site."""
    mark, _, rest = given.partition(".")
    text, _, signature = rest.partition(".")
    if mark != MARK or not given.isascii():
        return None
    try:
        name = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except ValueError:
        return None
    return name if hmac.compare_digest(signature, _signature(token, name)) else None


def _signature(token: str, name: str) -> str:
    return hmac.new(
        token.encode(), f"burnish reviewer\0{name}".encode(), hashlib.sha256
    ).hexdigest()
