from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from burnish.cli.run_commands import judged

SMALL = [
    "--set", "prepare.sft.train.max_steps=2",
    "--set", "prepare.sft.train.segments_per_step=4",
    "--set", "prepare.evaluate.tasks=[{name: atlas, data: items.jsonl}]",
]  # fmt: skip
ITEMS = [
    {"messages": [{"role": "user", "content": f"{n} + 1?"}],
     "verify": {"kind": "number", "answer": n + 1}}
    for n in range(4)
]  # fmt: skip


def write_items() -> None:
    Path("items.jsonl").write_text("\n".join(json.dumps(item) for item in ITEMS) + "\n")


def last_json(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    return found


def test_init_check_run_status_report(burnish: Any) -> None:
    write_items()
    assert burnish("init").code == 0
    assert burnish("check", "recipe.yaml").code == 0
    done = burnish("run", "recipe.yaml", "--json", *SMALL)
    assert done.code == 0, done.err
    assert len(done.out.strip().splitlines()) == 1
    summary = last_json(done.out)
    assert summary == json.loads(Path("runs/my-recipe/summary.json").read_text())
    assert {"knowledge", "knowledge_low", "knowledge_high"} <= summary["figures"].keys()
    for name in ("recipe.yaml", "metrics.jsonl", "report.html", "report.zh.html"):
        assert (Path("runs/my-recipe") / name).is_file()

    again = last_json(burnish("run", "recipe.yaml", "--json", *SMALL).out)
    assert [stage["state"] for stage in again["stages"]] == ["reused", "reused"]
    anew = last_json(burnish("run", "recipe.yaml", "--json", *SMALL, "--rerun", "evaluate").out)
    assert [stage["state"] for stage in anew["stages"]] == ["reused", "done"]

    shown = burnish("run", "recipe.yaml", *SMALL)
    assert "knowledge" in shown.out
    assert "report.html" in shown.out
    status = last_json(burnish("status", "my-recipe", "--json").out)
    assert [stage["name"] for stage in status["stages"]] == ["sft", "evaluate"]
    assert "my-recipe" in burnish("status").out
    assert burnish("report", "my-recipe", "--lang", "zh", "--out", "x.html").code == 0
    assert "训练报告" in Path("x.html").read_text(encoding="utf-8")


def test_changed_settings_are_named_and_asked_about(burnish: Any) -> None:
    write_items()
    burnish("init")
    assert burnish("run", "recipe.yaml", "--json", *SMALL).code == 0
    changed = [*SMALL, "--set", "prepare.sft.train.learning_rate=0.5"]
    refused = burnish("run", "recipe.yaml", "--json", *changed)
    assert refused.code == 2
    assert "learning_rate" in refused.err
    assert "--rerun sft" in refused.err
    kept = last_json(burnish("run", "recipe.yaml", "--json", "--keep", *changed).out)
    assert kept["stages"][0]["state"] == "reused"


def test_init_does_not_overwrite(burnish: Any) -> None:
    Path("recipe.yaml").write_text("mine")
    refused = burnish("init")
    assert refused.code == 2
    assert "--force" in refused.err
    assert Path("recipe.yaml").read_text() == "mine"
    assert burnish("init", "--force").code == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("    run: fit.sft", "    run: fit.sft\n    speed: 3"),
            "recipe.yaml:20:prepare.sft.speed",
        ),
        (("burnish:quickstart/sft.jsonl.gz", "gone.jsonl"), "no such file: gone.jsonl"),
        (("model: burnish-tiny", "model: no-such-folder"), "recipe.yaml:12:model"),
        (("@sft", "@stf"), "names no earlier stage"),
        (("epochs: 1", "epochs: two"), "recipe.yaml:24:prepare.sft.train.epochs: found 'two'"),
        (("name: my-recipe", "name: [my"), "not valid YAML"),
    ],
)
def test_bad_recipes_are_explained(burnish: Any, change: tuple[str, str], said: str) -> None:
    burnish("init")
    path = Path("recipe.yaml")
    path.write_text(path.read_text().replace(*change))
    for command in ("check", "run"):
        refused = burnish(command, "recipe.yaml")
        assert refused.code == 2
        assert said in refused.err, refused.err
    assert not Path("runs/my-recipe/artifacts").exists()


def test_wrong_column_names_file_line_and_field(burnish: Any) -> None:
    burnish("init")
    good = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}
    Path("bad.jsonl").write_text(json.dumps(good) + '\n{"txt": "x"}\n')
    refused = burnish("check", "recipe.yaml", "--set", "prepare.sft.data=[bad.jsonl]")
    assert refused.code == 2
    assert "bad.jsonl:2:" in refused.err


def test_unknown_recipe_names_the_known(burnish: Any) -> None:
    refused = burnish("run", "quickstrat")
    assert refused.code == 2
    assert "quickstart" in refused.err


def test_a_refusing_gate_ends_with_4(burnish: Any) -> None:
    write_items()
    evaluation = {"run": "measure.evaluate", "tasks": [{"name": "sums", "data": "items.jsonl"}]}
    recipe = {
        "name": "gated",
        "model": "burnish-tiny",
        "round": {
            "before": {**evaluation, "model": "@champion"},
            "after": {**evaluation, "model": "@base"},
            "gate": {
                "run": "measure.gate",
                "before": "@before",
                "after": "@after",
                "policy": {"target": ["sums"], "min_items": 4},
            },
        },
    }
    Path("gated.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    done = burnish("run", "gated.yaml", "--json")
    assert done.code == 4, done.err
    verdict = last_json(done.out)["verdicts"][0]
    assert verdict["decision"] in ("kept", "undecided")
    assert verdict["reason"]


def verdict(decision: str, gated: bool = True) -> dict[str, Any]:
    return {"decision": decision, "comparisons": [{}] if gated else []}


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ([], 0),
        ([verdict("undecided", gated=False)], 0),
        ([verdict("promoted"), verdict("kept")], 0),
        ([verdict("kept"), verdict("undecided")], 4),
        ([verdict("failed", gated=False)], 1),
        ([verdict("failed", gated=False), verdict("kept")], 4),
    ],
)
def test_exit_code_of_a_finished_run(verdicts: list[dict[str, Any]], code: int) -> None:
    assert judged({"verdicts": verdicts}) == code


def test_plan_on_devices(burnish: Any) -> None:
    burnish("init")
    found = last_json(burnish("plan", "recipe.yaml", "--devices", "2xH100", "--json").out)
    sft, evaluate = found["estimates"]
    assert (sft["devices"], evaluate["devices"]) == (2, 1)
    assert sft["fits"]
    assert 0 < sft["total_bytes"] < sft["usable_bytes"]
    assert sft["total_bytes"] == sum(sft["need"]["parts"].values())
    assert found["device"]["dtype"] == "bfloat16"
    shown = burnish("plan", "recipe.yaml", "--devices", "2xH100")
    assert shown.code == 0
    for word in ("optimiser", "fits", "KV cache", "tokens/s", "Assumed"):
        assert word in shown.out
    assert burnish("plan", "recipe.yaml", "--devices", "2xH1000").code == 2


def test_plan_says_what_does_not_fit(burnish: Any) -> None:
    burnish("init")
    Path("wide").mkdir()
    wide = {"model_type": "llama", "hidden_size": 32768, "intermediate_size": 98304,
            "num_hidden_layers": 2, "num_attention_heads": 64, "vocab_size": 4096}  # fmt: skip
    Path("wide/config.json").write_text(json.dumps(wide))
    command = ("plan", "recipe.yaml", "--set", "model=wide", "--devices", "1xRTX4090")
    refused = burnish(*command)
    assert refused.code == 2
    assert "does not fit on 1xRTX4090: sft, evaluate" in refused.err
    assert "fits with" in refused.out
    assert not last_json(burnish(*command, "--json").out)["estimates"][0]["fits"]
