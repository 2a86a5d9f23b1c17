"""The stage in which a writer makes instructions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.loop.mini import write_rows
from tests.serving import Handler, said, serving

from burnish.api import PostTrainingDataPipeline
from burnish.config import InputError
from burnish.loop.recipe import from_value
from burnish.loop.run import run
from burnish.records import Example, Prompt
from burnish.store import tables

SEEDS = [
    {"messages": [{"role": "user", "content": f"How old is tree number {n}?"}], "topic": t}
    for n, t in ((1, "oak"), (2, "oak"), (3, "elm"))
]


def stage(folder: Path, ref: str, **settings: Any) -> Any:
    prepare = {"write": {"run": "curate.write", "model": ref, **settings}}
    value = {"name": "x", "model": "burnish-tiny", "prepare": prepare}
    return run(from_value(value, folder / "recipe.yaml", {}), folder / "runs").artifact("write")


def writes(**keys: str) -> Any:
    def answer(handler: Handler, body: dict[str, Any]) -> None:
        n = body["seed"]
        text = {key: form.format(n=n) for key, form in keys.items()}
        handler.give(said(json.dumps(text, ensure_ascii=False)))

    return answer


def test_prompts_with_a_plan_and_a_report(tmp_path: Path) -> None:
    write_rows(tmp_path / "seeds.jsonl", SEEDS)
    (tmp_path / "scores.json").write_text('{"oak": 1.0, "elm": 0.0}')
    with serving(writes(instruction="a{n} b{n} c{n} d{n}")) as server:
        made = stage(
            tmp_path, server.ref, method="self_instruct", prompts=["seeds.jsonl"],
            adapt_to="scores.json", write={"count": 8},
        )  # fmt: skip
    prompts = tables.read(made.path / "prompts.jsonl", Prompt)
    # 8 * (1/4, 3/4)
    assert [prompt.topic for prompt in prompts].count("elm") == 6
    assert [prompt.topic for prompt in prompts].count("oak") == 2
    assert (made.figures["usable"].value, made.figures["usable"].n) == (1.0, 8)
    report = json.loads((made.path / "report.json").read_text())
    assert (report["usable"], report["stopped"], report["writer"]) == (8, "enough", "m")
    assert [row["count"] for row in report["plan"]] == [6, 2]
    assert not list((tmp_path / "runs" / "x" / "scratch").glob("*"))


def test_examples_out_of_documents(tmp_path: Path) -> None:
    (tmp_path / "doc.txt").write_text("Oaks grow slowly.\n\nElms were hit by a disease.\n")
    with serving(writes(instruction="Tell me about the {n} trees.")) as server:
        made = stage(
            tmp_path, server.ref, method="back_translation", documents=["doc.txt"],
            write={"count": 1},
        )  # fmt: skip
    [example] = tables.read(made.path / "examples.jsonl", Example)
    assert example.messages[1]["content"] in ("Oaks grow slowly.", "Elms were hit by a disease.")
    assert not (made.path / "prompts.jsonl").exists()


def test_a_model_too_small_is_measured_as_one(tmp_path: Path) -> None:
    write_rows(tmp_path / "seeds.jsonl", SEEDS)
    made = stage(
        tmp_path, "@base", method="evolve", prompts=["seeds.jsonl"],
        write={"count": 2, "max_requests": 3, "sampling": {"max_new_tokens": 4}},
    )  # fmt: skip
    assert (made.figures["usable"].value, made.figures["usable"].n) == (0.0, 3)
    assert made.details["stopped"] == "budget"
    assert sum(row["count"] for row in made.details["rejected"].values()) == 3
    assert not (made.path / "prompts.jsonl").exists()


def test_a_method_without_its_source_is_refused_before_anything_runs(tmp_path: Path) -> None:
    write_rows(tmp_path / "seeds.jsonl", SEEDS)
    served = "http://127.0.0.1:9/v1#m"  # nobody is there
    with pytest.raises(InputError, match=r"prepare.write: .*grounded starts from documents"):
        stage(tmp_path, served, method="grounded", prompts=["seeds.jsonl"])
    with pytest.raises(InputError, match="evolve: found prompts; expected prompts in zh"):
        stage(tmp_path, served, method="evolve", prompts=["seeds.jsonl"], langs=["zh"])


def test_from_python(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.jsonl"
    write_rows(seeds, SEEDS)
    with serving(writes(instruction="a{n} b{n} c{n} d{n}")) as server:
        pipeline = PostTrainingDataPipeline(server.ref, tmp_path / "runs", "face")
        made = pipeline.write_instructions("evolve", 2, prompts=[str(seeds)])
    assert len(tables.read(made.folder / "prompts.jsonl", Prompt)) == 2
    assert made.figures["usable"].value == 1.0
