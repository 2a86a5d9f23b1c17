"""The records burnish reads and writes: documents, examples, preferences, ..."""

from burnish.records.figures import Figure
from burnish.records.types import (
    KINDS,
    RECORD_VERSION,
    Document,
    Example,
    Feedback,
    Language,
    Message,
    Preference,
    Prompt,
    Record,
    Rollout,
    Tier,
    content_id,
)

__all__ = [
    "KINDS",
    "RECORD_VERSION",
    "Document",
    "Example",
    "Feedback",
    "Figure",
    "Language",
    "Message",
    "Preference",
    "Prompt",
    "Record",
    "Rollout",
    "Tier",
    "content_id",
]
