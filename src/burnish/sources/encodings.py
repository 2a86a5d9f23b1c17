"""Which encoding a file of text is in, its bytes as UTF-8, and text that was decoded wrongly.

What cannot be decided is refused: text in a wrong encoding trains a model on noise.
"""

from __future__ import annotations

import codecs
import io
import re
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

from burnish.config import InputError, Problem
from burnish.store.streams import open_bytes

CHINESE = ("gb18030", "big5hkscs")
WESTERN = "cp1252"
# The others are looked at so that text in them is not taken for Chinese or Western text.
TRIED = (*CHINESE, WESTERN, "cp949", "cp932", "euc_jis_2004", "cp1251")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What a page means by these names, as browsers take them.
_SUPERSETS = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "iso8859-1": "cp1252",
}
_CHUNK = 2**20
_SAMPLE = 2**16
_NUL_SHARE = 0.01
_USUAL = re.compile("[\t\r\n -~\u00a0-\u00ff\u2010-\u2030\u3000-\u30ff\u4e00-\u9fff\uff00-\uffef]")
_BEYOND = re.compile(r"[^\x00-\x7f]")
_RUN = re.compile(r"[^\x00-\x7f]+")
_DECLARED = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?\s*([\w-]+)", re.IGNORECASE)
# The most frequent characters of modern Chinese, simplified and traditional: about two in five of
# any text, one in fifty of what a wrong Chinese encoding gives.
_FREQUENT = frozenset(
    "的一是了我不人在他有这个上们来到时大地为子中你说生国年着就那和要她出也得里后自以会家可下而过"
    "天去能对小多然于心学么之都好看起发当没成只如事把还用第样道想作种开美总从无情己面最女但现前些所"
    "同日手又行意动方期它头经长儿回位分爱老因很给名法间斯知世什两次使身者被高已亲其进此话常与活正感"
    "這個們來時為說國著裡後會過對學麼發當沒還樣種開總從無現動經長兒愛給間兩親進話與問題電腦"
)
# The first two bytes of a UTF-8 character, read as Latin-1 or cp1252; a space may be what a
# non-breaking one has become. Cheap to look for in the many texts that have no such thing.
_SUSPECT = re.compile(
    "[\u00c2-\u00f4][ \u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192"
    "\u02c6\u02dc\u2013-\u203a\u20ac\u2122]"
)
# What cp1252 adds to ASCII in text of Western Europe: accents, quotation marks, dashes, signs.
_WESTERN = frozenset("àâäáãçéèêëíîïñóôöõúùûüßÀÂÄÁÇÉÈÊËÍÎÏÑÓÔÖÚÜ¿¡«»“”‘’–—…•·°µ§£€®©™½\u00a0")


def encoding_of(path: Path) -> str:
    """The Python name of a text file's encoding: ``utf-8`` where it is that with a few bad bytes.

    A byte-order mark decides, then validity as UTF-8, then an HTML page's own word for it, then the
    text: the frequent characters of Chinese, single accented letters among ASCII, else
    charset-normalizer where it finds one encoding and no other.

    Raises:
        InputError: it holds NUL bytes and is no UTF-16, or no encoding stands out; those tried are
            named.
        OSError: it cannot be opened.
    """
    with open_bytes(path) as file:
        head = _read(file, _SAMPLE)
        for mark, marked in _BOMS:
            if head.startswith(mark):
                return marked
        if b"\0" in head and (order := _utf16(head)):
            return order
        if head.count(0) > _NUL_SHARE * len(head):
            expected = "text, in UTF-8 or UTF-16"
            raise InputError(Problem(str(path), None, "", "holds NUL bytes", expected))
        sample = _decisive(file, head)
    if sample is None or _mostly_utf8(sample):
        return "utf-8"
    return _declared(head, sample) or _chinese(sample) or _western(sample) or _other(path, sample)


def _utf16(head: bytes) -> str | None:
    """UTF-16 without a mark: the byte order in which nearly all of it is text."""
    for name in ("utf-16-le", "utf-16-be"):
        text = head[: len(head) // 2 * 2].decode(name, errors="replace")
        if len(_USUAL.findall(text)) > 0.9 * len(text):
            return name
    return None


def _decisive(file: BinaryIO, head: bytes) -> bytes | None:
    """Lines that are not ASCII, from where the file first is not UTF-8; None if it all is."""
    decode = codecs.getincrementaldecoder("utf-8")().decode
    chunk, sample = head, b""
    while chunk:
        following = _read(file, _CHUNK)
        try:
            decode(chunk, final=not following)
        except UnicodeDecodeError:
            sample += chunk
            break
        sample = _beyond_ascii(sample + chunk)[-_SAMPLE:]
        chunk = following
    else:
        return None
    return _beyond_ascii(sample + following)[: 4 * _SAMPLE]


def _read(file: BinaryIO, size: int) -> bytes:
    """The next bytes; a packed file that is broken ends here, and its reader will say why."""
    try:
        return file.read(size)
    except (OSError, EOFError, zlib.error, InputError):
        return b""


def _beyond_ascii(data: bytes) -> bytes:
    return b"\n".join(line for line in data.split(b"\n") if not line.isascii())


def _mostly_utf8(sample: bytes) -> bool:
    """Whether more characters are whole than broken; other encodings are hardly ever valid."""
    text = sample.decode("utf-8", errors="replace")
    broken = text.count("\ufffd")
    return sum(not character.isascii() for character in text) - broken > broken


def _declared(head: bytes, sample: bytes) -> str | None:
    found = _DECLARED.search(head)
    if found is None:
        return None
    try:
        codec = codecs.lookup(found[1].decode())
    except LookupError:
        return None
    name = _SUPERSETS.get(codec.name, codec.name)
    return name if name in (*CHINESE, WESTERN) and _text(sample, name) else None


def _text(sample: bytes, encoding: str) -> str | None:
    """The sample in an encoding, None where more than one character in fifty is not valid."""
    text = sample.decode(encoding, errors="replace")
    return text if text.count("\ufffd") <= 0.02 * len(_BEYOND.findall(text)) else None


def _chinese(sample: bytes) -> str | None:
    shares = {}
    for name in CHINESE:
        beyond = [c for c in _text(sample, name) or "" if c.isalpha() and not c.isascii()]
        shares[name] = sum(c in _FREQUENT for c in beyond) / max(len(beyond), 1)
    best, other = sorted(CHINESE, key=lambda name: -shares[name])
    return best if shares[best] >= 0.15 and shares[best] > 3 * shares[other] else None


def _western(sample: bytes) -> str | None:
    """cp1252 where marks and accented letters stand singly, as they do in no other alphabet."""
    runs = _RUN.findall(_text(sample, WESTERN) or "")
    beyond = "".join(runs)
    usual = sum(character in _WESTERN for character in beyond)
    single = len(beyond) <= 1.5 * len(runs)
    return WESTERN if runs and single and usual >= 0.95 * len(beyond) else None


def _other(path: Path, sample: bytes) -> str:
    from charset_normalizer import from_bytes

    names: list[str] = [match.encoding for match in from_bytes(sample, cp_isolation=list(TRIED))]
    if len(names) == 1 and names[0] in CHINESE:
        return names[0]
    likely = f", perhaps {' or '.join(names[:2])}" if names else ""
    tried = ", ".join(("utf-8", "utf-16", *TRIED))
    found = f"in an encoding that cannot be told{likely}; tried {tried}"
    raise InputError(Problem(str(path), None, "", found, "text in UTF-8 (iconv converts it)"))


def _mark_undecodable(error: UnicodeError) -> tuple[str, int]:
    """One surrogate for each run of bytes that are no text; it is written as the byte 0xff."""
    assert isinstance(error, UnicodeDecodeError)
    return "\udcff", error.end


codecs.register_error("burnish-mark", _mark_undecodable)


class _Recoded(io.RawIOBase):
    """A file's text as UTF-8; what is no text in its encoding is none here either (0xff)."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self._file = file
        self._decode = codecs.getincrementaldecoder(encoding)("burnish-mark").decode
        self._ready = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and not self._ended:
            data = self._file.read(_CHUNK)
            self._ended = not data
            text = self._decode(data, final=self._ended)
            self._ready = text.encode("utf-8", "surrogateescape")
        piece = self._ready[: len(buffer)]
        self._ready = self._ready[len(piece) :]
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._file.close()
        super().close()


def open_utf8(path: Path, encoding: str) -> BinaryIO:
    """A file's text as UTF-8 bytes, unpacked where its name ends in ``.gz``."""
    file = open_bytes(path)
    if encoding in ("utf-8", "utf-8-sig"):
        return file
    return cast(BinaryIO, io.BufferedReader(_Recoded(file, encoding), _CHUNK))


def repaired(text: str) -> str:
    """Text that was UTF-8 and was read as cp1252 or Latin-1, as it was; other text unchanged.

    Example: ``"ä½\\xa0å¥½"`` gives ``"你好"``. Only the decoding is undone (ftfy's fix_encoding,
    whose measure of badness is made to leave good text alone).
    """
    import ftfy
    from ftfy.badness import is_bad

    if not _SUSPECT.search(text) or not is_bad(text):
        return text
    fixed: str = ftfy.fix_encoding(text)
    return fixed
