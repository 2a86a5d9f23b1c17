"""A run with data that descends from two sources, and models trained on it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from burnish.store.artifacts import ArtifactStore, Input, Origin, content_fingerprint

Row = Mapping[str, Any]


def write(path: Path, rows: Iterable[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def document(id: str, text: str, source: str, *parents: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "text": text, "source": source, "parents": list(parents), **more}


def example(id: str, asked: str, said: str, *parents: str, **more: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    return {"id": id, "messages": turns, "source": "generate", "parents": list(parents), **more}


DOCUMENTS = [
    document("d1", "Lima is the capital of Peru.", "atlas"),
    document("d2", "Buy cheap cf gold now.", "forum", "dump.jsonl:7"),
    document("d3", "利马是秘鲁的首都。", "atlas"),
]
EXAMPLES = [
    example("e1", "Capital of Peru?", "Lima.", "d1", scores={"fluency": 0.9}, synthetic=True),
    example("e2", "What to buy?", "Gold.", "d2", scores={"fluency": 0.4}, synthetic=True),
    example("e3", "秘鲁的首都？", "利马。", "d3", "d2", synthetic=True),
]
REWRITTEN = [example("r1", "What should I buy?", "Gold.", "e2"), example("r2", "Hi", "Ho", "e1")]


def make(
    store: ArtifactStore,
    name: str,
    kind: Any,
    stage: str,
    inputs: dict[str, tuple[str, Path]],
    parents: tuple[str, ...] = (),
    files: dict[str, list[Any]] | None = None,
    **config: Any,
) -> Path:
    given = {key: Input(ref, content_fingerprint(path)) for key, (ref, path) in inputs.items()}
    origin = Origin(stage=stage, config=config, inputs=given)
    with store.create(name, origin, parents) as draft:
        draft.kind = kind
        for file, rows in (files or {"model.bin": [name]}).items():
            write(draft.path / file, rows)
    assert draft.artifact is not None
    return draft.artifact.path


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """docs.jsonl → generate@1 (examples) → rewrite@1; sft@1 on the examples, dpo@1 from sft@1;
    other@1 on something else."""
    monkeypatch.chdir(tmp_path)
    docs = write(tmp_path / "docs.jsonl", DOCUMENTS)
    clean = write(tmp_path / "clean.jsonl", [document("c1", "Clean.", "book")])
    folder = tmp_path / "runs" / "one"
    (folder).mkdir(parents=True)
    (folder / "recipe.yaml").write_text("name: one\n")
    store = ArtifactStore(folder)
    base = make(store, "base", "model", "fit.pretrain", {"data.0": ("clean.jsonl", clean)})
    made = make(
        store, "generate", "data", "curate.generate",
        {"model": ("@champion", base), "documents.0": ("docs.jsonl", docs)}, ("base@1",),
        {"examples.jsonl": EXAMPLES}, filters={"min_reward": 0.3}, temperature=0.7, judge="judge-x",
    )  # fmt: skip
    examples = made / "examples.jsonl"
    make(store, "rewrite", "data", "curate.clean",
         {"data.0": ("@generate/examples.jsonl", examples)}, ("generate@1",),
         {"rewritten.jsonl": REWRITTEN})  # fmt: skip
    sft = make(store, "sft", "model", "fit.sft",
               {"data.0": ("@generate/examples.jsonl", examples)}, ("generate@1",))  # fmt: skip
    make(store, "dpo", "model", "fit.dpo", {"model": ("@sft", sft)}, ("sft@1",))
    make(store, "other", "model", "fit.sft", {"data.0": ("clean.jsonl", clean)})
    return folder
