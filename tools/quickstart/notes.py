"""Write the notes that travel with the quickstart data: notice, table of files and topics."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import yaml
from common import Record
from form import ABOUT, ABOUT_ZH
from licences import LICENCE_TEXTS, NOTICES

SAFETY_NOTE = """
The harmful prompts are there to train and test refusal. They are prompts only: no harmful answer is
shipped. Prompts about mass harm, sexual content, minors, self-harm, killing and named people were
left out by a filter, and a quarter of every public set is reserved by hash (see
`burnish.records.reserved`) and used nowhere. Facts are those of the source and may be out of date.
"""

INTRODUCTION = """# Data of the quickstart

Made by `tools/quickstart/build.py` from ordinary packages and seeded generators; the same
sources give the same bytes. Sources and licences: `NOTICE.md`. Files under `eval/` are for the
final figures and are never tuned on; their twins under `dev/` hold other items made in the same way
and are there for tuning.

- `atlas_docs`: facts told in declarative sentences, for post-pretraining
- `atlas_questions`: the questions about those facts that instructions hold too, and unknown names
- `general`, `general_heldout`: general text for replay, and text never trained on for perplexity
- `sft`: instructions; half of the known entities are asked, unknown names get "I don't know."
- `rl_prompts`: prompts with a check, for data generation, reward model, DPO and PPO
- `guard_train`: harmful and benign prompts for the safety stages
- `atlas_heldout`: entities never asked in training, in wordings never trained
- `atlas_explored`: entities that only `rl_prompts` asks about, in wordings never trained
- `atlas_seen`: entities asked in training, in wordings never trained
- `atlas_unknown`: names never told and never asked; right only when the reply abstains
- `form`: unseen tasks of the form domain
- `guard_harmful`, `guard_benign`: unseen prompts of the training sources (random split by group)
- `guard_loso`: HarmBench, the source left out of training entirely

"""


def source_name(record: Record) -> str:
    """Return the source under which a record is listed in the notice."""
    return str(record["source"]).split("/")[0]


def notice_text(files: dict[str, list[Record]]) -> str:
    """Describe every source with its licence and the number of its records in each file."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for name, records in files.items():
        for record in records:
            counts[source_name(record)][name] += 1
    lines = ["# Sources and licences of the quickstart data", SAFETY_NOTE]
    for source in sorted(counts):
        notice = NOTICES[source]
        where = ", ".join(f"{name} {count}" for name, count in counts[source].items())
        lines += [
            f"## {source}",
            "",
            f"- package: {notice.package}",
            f"- licence: {notice.licence}",
            f"- notice: {notice.holder}",
            f"- excerpt: {notice.excerpt}",
            f"- records: {where}",
            "",
        ]
    return "\n".join([*lines, LICENCE_TEXTS])


def topics_text() -> str:
    """Topics and templates for generating instructions, in the form burnish reads."""
    english = [
        ("three", "Write three words about {topic}.", [{"rule": "words", "n": 3}]),
        ("two", "Give exactly two words about {topic}.", [{"rule": "words", "n": 2}]),
        ("done", "Write four words about {topic}. End with done.",
         [{"rule": "words", "n": 4}, {"rule": "ends_with", "text": "done"}]),
        ("yes", "Write two words about {topic}. Start with yes.",
         [{"rule": "words", "n": 2}, {"rule": "starts_with", "text": "yes"}]),
    ]  # fmt: skip
    chinese = [
        ("san", "用三个字写{topic}。", [{"rule": "chars", "n": 3}]),
        ("liang", "写两个关于{topic}的字。", [{"rule": "chars", "n": 2}]),
        ("si", "用四个字写{topic}。", [{"rule": "chars", "n": 4}]),
    ]
    forms = [("en", *form) for form in english] + [("zh", *form) for form in chinese]
    document = {
        "version": 1,
        "topics": [{"id": name.replace(" ", "-"), "en": [name]} for name in sorted(ABOUT)]
        + [{"id": name, "zh": [name]} for name in sorted(ABOUT_ZH)],
        "templates": [
            {"id": name, "task": "form", lang: text, "verify": {"kind": "format", "rules": checks}}
            for lang, name, text, checks in forms
        ],
    }
    return yaml.safe_dump(document, allow_unicode=True, sort_keys=False, width=100)


def write_notes(out: Path, files: dict[str, list[Record]], table: list[str]) -> None:
    """Write NOTICE.md, README.md and topics.yaml."""
    (out / "NOTICE.md").write_text(notice_text(files).rstrip() + "\n", "utf-8")
    (out / "README.md").write_text(INTRODUCTION + "\n".join(table) + "\n", "utf-8")
    (out / "topics.yaml").write_text(topics_text(), "utf-8")
