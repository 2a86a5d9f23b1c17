"""What must not be shown: secrets in text that goes to a file, a terminal or a page."""

from __future__ import annotations

import re
from collections.abc import Mapping

HIDDEN = "[hidden]"
SECRET_NAME = re.compile(r"(token|secret|password|passwd|credential|api_?key|_key$)", re.IGNORECASE)
SECRET_TEXT = (
    re.compile(r"\b(?:hf_|sk-|ghp_|gho_|glpat-|xox[abp]-|AKIA)[A-Za-z0-9_-]{8,}"),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),
    re.compile(r"(?<=bearer )\S+", re.IGNORECASE),
    re.compile(r"(?<=token=)[^\s\"'&]+", re.IGNORECASE),
    re.compile(r"(?<=secret=)[^\s\"'&]+", re.IGNORECASE),
    re.compile(r"(?<=password=)[^\s\"'&]+", re.IGNORECASE),
    re.compile(r"(?<=key=)[^\s\"'&]+", re.IGNORECASE),
)
SHORTEST_SECRET = 6


def redact(text: str, environment: Mapping[str, str]) -> str:
    """``text`` without the values of secret-looking variables and secret-looking strings."""
    for name, value in environment.items():
        if SECRET_NAME.search(name):
            # One variable may hold several: "host=key host=key".
            for secret in (value, *(item.partition("=")[2] for item in value.split())):
                if len(secret) >= SHORTEST_SECRET:
                    text = text.replace(secret, HIDDEN)
    for pattern in SECRET_TEXT:
        text = pattern.sub(HIDDEN, text)
    return text
