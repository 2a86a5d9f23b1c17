"""Made-up English that passes the rules: common words in another order for every seed."""

from __future__ import annotations

import random

_WORDS = """
river mountain window garden kitchen morning evening captain doctor teacher bridge castle forest
island harbour weather summer winter letter paper music history science engine market village
"""
WORDS = _WORDS.split()


def prose(seed: int, count: int = 30) -> str:
    """One paragraph of ``2 * count`` words."""
    said = random.Random(seed).choices(WORDS, k=count)
    return " ".join(f"{('the', 'of')[i % 2]} {word}" for i, word in enumerate(said)) + "."
