"""What the tests of the measuring stages share: two tiny models and questions to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests import tiny
from tests.loop.mini import CITIES, question, write_rows

from burnish.models.load import save_model

REPLIES = {"temperature": 0, "max_new_tokens": 4}
ROWS = [question(country, number) for country in CITIES for number in range(8)]


def prepared(folder: Path) -> Path:
    """Two models, and files of questions about them."""
    for name, seed in (("one", 0), ("two", 1)):
        save_model(tiny.model(seed), tiny.tokenizer(), folder / name)
    write_rows(folder / "items.jsonl", ROWS)
    answered = [row | {"verify": {"kind": "format", "rules": [{"rule": "lowercase"}]}}
                for row in ROWS]  # fmt: skip
    write_rows(folder / "rules.jsonl", answered)
    turns = [row["messages"] + [{"role": "assistant", "content": "no"}] for row in ROWS]
    write_rows(folder / "sft.jsonl", [{"id": str(at), "messages": m} for at, m in enumerate(turns)])
    return folder


def evaluation(model: str, file: str = "items.jsonl", **more: Any) -> dict[str, Any]:
    tasks = [{"name": "capitals", "data": file}]
    return {"run": "measure.evaluate", "model": model, "tasks": tasks, "sampling": REPLIES, **more}
