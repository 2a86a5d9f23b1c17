"""Real texts, and texts that are none: what ``benchmarks.cleaning`` measures on.

Real: English Wikipedia and C4 (data/ in llamafactory's source archive), the Debian Reference in
both languages, the Debian FAQ in Chinese, Chinese instruction answers, the quickstart's poems. Not
text: menus and tables of contents as they stand in those pages, source code, and what is made of
the real texts by a rule: scrambled, decoded wrongly, repeated, cut down to keywords or to numbers.
"""

from __future__ import annotations

import gzip
import html
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from burnish.records.reserved import is_reserved

ROOT = Path(__file__).resolve().parents[1]
LLAMA = "llamafactory-0.9.5/data"
PIECE = 1500
LEAST = 300
_TAG = re.compile(r"<[^>]+>")
_PARAGRAPH = re.compile(r"<p\b[^>]*>(.*?)</p>", re.S)
_LINK = re.compile(r"<a\b[^>]*href[^>]*>(.*?)</a>", re.S)
_ROFF = re.compile(r"\\f(?:\[\w*\]|\(..|.)|\\[&|^%c]|\\\[?-\]?|^[.'].*$", re.M)


def plain(markup: str) -> str:
    """The text of a piece of HTML in one line."""
    return " ".join(html.unescape(_TAG.sub("", markup)).split())


def pieces(paragraphs: list[str], size: int = PIECE) -> Iterator[str]:
    """Paragraphs put together to documents of about ``size`` characters."""
    block: list[str] = []
    for paragraph in paragraphs:
        block.append(paragraph)
        if sum(map(len, block)) >= size:
            yield "\n".join(block)
            block = []


def sentences(text: str) -> list[str]:
    """A text that comes in one line cut into paragraphs of about 400 characters."""
    parts, block = [], ""
    for sentence in re.split(r"(?<=[.!?])\s+", text):
        block = f"{block} {sentence}".strip()
        if len(block) > 400:
            parts.append(block)
            block = ""
    return parts


def english(data: Path) -> dict[str, list[str]]:
    """Real English documents by source."""
    lines = (data / LLAMA / "wiki_demo.txt").read_text(encoding="utf-8").splitlines()
    rows = (data / LLAMA / "c4_demo.jsonl").read_text(encoding="utf-8").splitlines()
    return {
        "Wikipedia": [next(pieces(sentences(line))) for line in lines if len(line) > 2 * PIECE]
        + [list(pieces(sentences(line)))[-1] for line in lines if len(line) > 6 * PIECE],
        "C4": [text for row in rows if len(text := json.loads(row)["text"]) > LEAST],
        "Debian Reference": manual(data, "en"),
    }


def chinese(data: Path) -> dict[str, list[str]]:
    """Real Chinese documents by source."""
    answers = json.loads((data / LLAMA / "alpaca_zh_demo.json").read_text(encoding="utf-8"))
    poems = gzip.decompress((ROOT / "src/burnish/assets/quickstart/general.jsonl.gz").read_bytes())
    rows = [json.loads(line) for line in poems.splitlines()]
    return {
        "answers": [row["output"] for row in answers if len(row["output"]) > 150],
        "Debian Reference, FAQ": manual(data, "zh-cn"),
        "poems": [
            row["text"] for row in rows
            if row["source"].startswith("chinese-poetry") and len(row["text"]) > 100
        ],
    }  # fmt: skip


def pages(data: Path, lang: str) -> list[str]:
    """The Debian pages of a language."""
    files = sorted(data.rglob(f"*.{lang}.html"))
    return [file.read_text(encoding="utf-8") for file in files]


def manual(data: Path, lang: str) -> list[str]:
    """The paragraphs of the Debian pages, put together to documents."""
    size = PIECE if lang == "en" else PIECE // 3
    found = []
    for page in pages(data, lang):
        paragraphs = [plain(part) for part in _PARAGRAPH.findall(page)]
        found += list(pieces([part for part in paragraphs if part], size))
    return found


def others(folder: Path, codes: list[str]) -> dict[str, list[str]]:
    """Manual pages of the system in other languages, without most of their markup.

    Many are translated in part only: those where one word in fifty is "the" are left out.
    """
    found = {}
    for code in codes:
        files = sorted((folder / code).rglob("*.gz"))[:40]
        texts = (gzip.decompress(file.read_bytes()).decode("utf-8", "replace") for file in files)
        clean = [text for raw in texts if len(text := _ROFF.sub("", raw).strip()) > LEAST]
        found[code] = [text for text in clean if 50 * text.count("the ") < len(text.split())]
    return found


def usable(texts: list[str]) -> list[str]:
    """Without the reserved quarter."""
    return [text for text in texts if not is_reserved(text)]


Spoil = Callable[[str, random.Random], str]


def letters(text: str, source: random.Random) -> str:
    """The letters of every word in another order."""
    return " ".join("".join(source.sample(word, len(word))) for word in text.split(" "))


def characters(text: str, source: random.Random) -> str:
    """The characters of every line in another order."""
    return "\n".join("".join(source.sample(line, len(line))) for line in text.split("\n"))


def words(text: str, source: random.Random) -> str:
    """The words of a text in another order."""
    parts = text.split()
    return " ".join(source.sample(parts, len(parts)))


def decoded(text: str, _source: random.Random) -> str:
    """UTF-8 taken for GB18030."""
    return text.encode().decode("gb18030", "replace")


def repeated(text: str, _source: random.Random) -> str:
    """The first 200 characters again and again."""
    return "\n".join([text[:200]] * 8)


def keywords(text: str, source: random.Random) -> str:
    """Long words of an English text, pairs of characters of a Chinese one, side by side."""
    found = re.findall(r"[A-Za-z]{5,}", text)
    if len(found) < 40:
        found = re.findall(r"[\u4e00-\u9fff]{2}", text)
        return " ".join(source.sample(found, len(found)))
    return ", ".join(source.sample(found, len(found)))


def numbers(text: str, source: random.Random) -> str:
    """A table: a label and five numbers a row."""
    labels = [word for word in re.findall(r"\w+", text) if not word.isdigit()][:25]
    rows = ([f"{source.uniform(0, 9999):.2f}" for _ in range(5)] for _ in labels)
    return "\n".join(f"{label} {' '.join(row)}" for label, row in zip(labels, rows, strict=True))


SPOILT: dict[str, dict[str, Spoil]] = {
    "en": {"letters scrambled": letters, "words scrambled": words, "repeated": repeated,
           "keywords": keywords, "tables": numbers},
    "zh": {"characters scrambled": characters, "decoded wrongly": decoded, "repeated": repeated,
           "keywords": keywords, "tables": numbers},
}  # fmt: skip


def menus(data: Path, lang: str) -> list[str]:
    """The links of the Debian pages, one a line, 30 together."""
    found = []
    for page in pages(data, lang):
        links = [plain(part) for part in _LINK.findall(page)]
        links = [link for link in links if link]
        found += ["\n".join(links[i : i + 30]) for i in range(0, len(links) - 29, 30)]
    return found


def code(folders: list[Path]) -> list[str]:
    """Style sheets and scripts of this system, the first 1,500 characters of each."""
    files = sorted(
        f for folder in folders for kind in ("css", "js") for f in folder.rglob(f"*.{kind}")
    )
    texts = (file.read_text(encoding="utf-8", errors="replace")[:PIECE] for file in files[:200])
    return [text for text in texts if len(text) > LEAST]
