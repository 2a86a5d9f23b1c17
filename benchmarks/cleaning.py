"""How well cleaning tells text from what is none: ``python -m benchmarks.cleaning --data FOLDER``.

FOLDER holds the source archive of llamafactory 0.9.5 and the Debian packages debian-reference-en,
debian-reference-zh-cn and debian-faq-zh-cn, unpacked. Labels come from how a text was made (see
``cleaning_cases``), never from the rules. Half of the texts (by hash) was looked at while limits
were chosen; the figures are of the other half. The result is written to RESULTS-cleaning.md.
"""

from __future__ import annotations

import argparse
import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks import cleaning_cases as cases
from benchmarks.cleaning_pii import planted_and_lookalikes
from burnish.cleaning.language import LanguageSettings, identifier
from burnish.cleaning.normalise import normalise
from burnish.cleaning.pii import scrub
from burnish.cleaning.quality import QualitySettings, flaw
from burnish.evals.statistics import wilson
from burnish.records import Language

MOST = 60
OTHERS = [
    "de",
    "es",
    "fr",
    "it",
    "ja",
    "ko",
    "nl",
    "pl",
    "pt_BR",
    "ru",
    "sv",
    "tr",
    "uk",
    "cs",
    "da",
    "fi",
    "hu",
]
Row = Sequence[object]


def held(texts: list[str], most: int = MOST) -> list[str]:
    """The half that no limit was chosen on, at most this many, without the reserved quarter."""
    kept = [
        text for text in cases.usable(texts)
        if hashlib.sha256(f"split{text}".encode()).hexdigest()[0] >= "8"
    ]  # fmt: skip
    random.Random(0).shuffle(kept)
    return kept[:most]


def table(head: Row, rows: Sequence[Row]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def share(count: int, of: int) -> str:
    """``12 / 60 (20 %)``."""
    return f"{count} / {of} ({100 * count / max(1, of):.0f} %)"


def interval(count: int, of: int) -> str:
    """A share with its 95 % interval (Wilson)."""
    found = wilson(count, of)
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def quality(data: Path, lang: Language, scripts: list[Path]) -> str:
    """What the rules remove, of real texts by source and of other texts by kind."""
    real = cases.english(data) if lang == "en" else cases.chinese(data)
    good = {name: held(texts) for name, texts in real.items()}
    base = [text for texts in good.values() for text in texts]
    bad = {
        name: [spoil(text, random.Random(i)) for i, text in enumerate(base)][::3]
        for name, spoil in cases.SPOILT[lang].items()
    }
    bad["menus"] = held(cases.menus(data, "en" if lang == "en" else "zh-cn"))
    if lang == "en":
        bad["code"] = held(cases.code(scripts))
    settings, rows = QualitySettings(), []
    removed = {"text": 0, "none": 0}
    for kind, groups in (("text", good), ("none", bad)):
        for name, texts in groups.items():
            rules = Counter(flaw(normalise(t), lang, settings).partition(":")[0] for t in texts)
            gone = len(texts) - rules.pop("", 0)
            removed[kind] += gone
            why = ", ".join(f"{rule} {count}" for rule, count in rules.most_common(3))
            rows.append([kind, name, share(gone, len(texts)), why])
    good_count, bad_count = (sum(map(len, groups.values())) for groups in (good, bad))
    precision = interval(removed["none"], removed["none"] + removed["text"])
    return (
        table(["label", "kind", "removed", "most frequent reasons"], rows)
        + f"\nPrecision of removal {precision}, recall {interval(removed['none'], bad_count)}, "
        f"real texts lost {interval(removed['text'], good_count)}.\n"
    )


def languages(data: Path, manuals: Path) -> str:
    """What share of documents is taken for what it is, whole and of 200 characters."""
    identify, rows = identifier(LanguageSettings()), []
    groups = {"en": cases.english(data), "zh": cases.chinese(data)}
    texts = {code: [t for ts in named.values() for t in held(ts)] for code, named in groups.items()}
    foreign = cases.others(manuals, OTHERS)
    texts["other"] = [text for ts in foreign.values() for text in held(ts, 12)]
    for code, found in texts.items():
        row: list[object] = [code, len(found)]
        for size in (None, 200):
            guesses = [identify(normalise(text)[:size]) for text in found]
            named = [guess if guess in ("en", "zh") else "other" for guess in guesses]
            row.append(interval(named.count(code), len(named)))
        rows.append(row)
    return table(["language", "documents", "right", "right, first 200 characters"], rows)


def personal_data(data: Path) -> str:
    """Recall of planted items, and what is replaced of numbers that are none and in real text."""
    rows = []
    planted, lookalikes = planted_and_lookalikes(random.Random(0), 100)
    for (lang, kind), texts in planted.items():
        found = sum(scrub(text, lang)[1][kind] == 1 for text in texts)
        rows.append([lang, kind, share(found, len(texts))])
    out = table(["language", "planted", "found"], rows)
    rows = []
    for (lang, kind), texts in lookalikes.items():
        wrong = sum(bool(scrub(text, lang)[1]) for text in texts)
        rows.append([lang, kind, share(wrong, len(texts))])
    out += "\n" + table(["language", "not personal", "replaced all the same"], rows)
    rows = []
    for lang, named in (("en", cases.english(data)), ("zh", cases.chinese(data))):
        for name, texts in named.items():
            counts: Counter[str] = Counter()
            for text in cases.usable(texts):
                counts += scrub(normalise(text), lang)[1]
            found = ", ".join(f"{kind} {n}" for kind, n in counts.most_common()) or "nothing"
            rows.append([lang, name, len(cases.usable(texts)), found])
    return out + "\n" + table(["language", "real text", "documents", "replaced"], rows)


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--manuals", type=Path, default=Path("/usr/share/man"))
    parser.add_argument("--scripts", type=Path, nargs="*", default=[Path("/usr/share")])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS-cleaning.md"))
    args = parser.parse_args()
    parts = [
        "# Cleaning, measured\n\nWritten by `python -m benchmarks.cleaning`, default settings.\n",
        "## Quality rules, English\n", quality(args.data, "en", args.scripts),
        "## Quality rules, Chinese\n", quality(args.data, "zh", args.scripts),
        "## Language\n", languages(args.data, args.manuals),
        "## Personal data\n", personal_data(args.data),
    ]  # fmt: skip
    args.out.write_text("\n".join(parts), encoding="utf-8")
    print(args.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
