"""The reserved quarter: public records that are never trained, tuned or tested on.

One rule for every public data set, so that a later, independent test can rely on records that no
stage of this project ever saw: the key text is normalised, hashed, and reserved when the hash
starts with one of four hexadecimal digits.
"""

from __future__ import annotations

import hashlib
import unicodedata

RESERVED_FIRST_DIGITS = "cdef"


def key_text(text: str) -> str:
    """Return the normal form of a key: NFKC, lower case, white space folded and stripped."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def is_reserved(text: str) -> bool:
    """Tell whether the record with this key text belongs to the reserved quarter.

    Args:
        text: the key of a public record, for example a prompt, an entity name or a poem's title.

    Returns:
        True when the sha256 of the normalised text starts with c, d, e or f.
    """
    digest = hashlib.sha256(key_text(text).encode("utf-8")).hexdigest()
    return digest[0] in RESERVED_FIRST_DIGITS
