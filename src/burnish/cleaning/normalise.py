"""Unicode and white space in one form, without touching what a reader sees as different."""

from __future__ import annotations

import re
import unicodedata

from burnish.config import Settings
from burnish.config.optional import needed

# Zero-width space, word joiner, byte-order mark, soft hyphen; marks of writing direction, which
# can show a text in another order than it is read in; tag characters, which carry unseen text.
# The joiners U+200C and U+200D stay: Persian, Indic scripts and emoji are written with them.
_UNSEEN = re.compile(
    "[\u00ad\u200b\u200e\u200f\u2060\ufeff\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]"
)
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")
_LINE_ENDS = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
_INDENT = re.compile("(?m)^[\u3000 ]*\u3000[\u3000 ]*")
_LINE_TAIL = re.compile(r"(?m)[ \t]+$")
_GAPS = re.compile(r"\n{3,}")
# Letters and digits only: in Chinese text the full-width comma is the right one.
_WIDE = {wide: wide - 0xFEE0 for start, end in ("０９", "ＡＺ", "ａｚ")
         for wide in range(ord(start), ord(end) + 1)}  # fmt: skip


class NormaliseSettings(Settings):
    """``mojibake`` repairs text that was decoded wrongly (``donâ€™t``); ``width`` turns full-width
    letters and digits (Ａ, １) into ordinary ones. The rest is always done."""

    mojibake: bool = True
    width: bool = True


def normalise(text: str, settings: NormaliseSettings | None = None) -> str:
    """One form of a text: NFC, ``\\n`` as line end, ordinary spaces, no unseen characters.

    Done twice it changes nothing more. Curly quotes, ligatures, full-width punctuation, tabs and
    runs of ordinary spaces stay; at most one blank line stands between paragraphs.

    Raises:
        InputError: ``mojibake`` is on and ftfy is not installed.
    """
    settings = settings or NormaliseSettings()
    if settings.mojibake:
        text = _decoded_rightly(text)
    text = _LINE_ENDS.sub("\n", text)
    text = _CONTROLS.sub("", _UNSEEN.sub("", text))
    if settings.width:
        text = text.translate(_WIDE)
    text = _SPACES.sub(" ", _INDENT.sub("", text))
    text = unicodedata.normalize("NFC", text)
    return _GAPS.sub("\n\n", _LINE_TAIL.sub("", text)).strip("\n ")


def _decoded_rightly(text: str) -> str:
    """The repair of ftfy (Speer 2019) and nothing of its other changes."""
    if text.isascii():
        return text
    needed("data", "ftfy", at="normalise.mojibake")
    import ftfy

    repaired: str = ftfy.fix_encoding(text)
    return repaired
