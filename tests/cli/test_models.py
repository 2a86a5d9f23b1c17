from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from burnish.cli.models_of import resolve_model
from burnish.stages.release.promote import register
from burnish.store.artifacts import ArtifactStore, Origin
from burnish.store.registry import Registry

EXAMPLES = [
    {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
    for q, a in (("Hi", "Hello."), ("你好", "你好！"), ("2 + 2?", "4"), ("Bye", "See you."))
]
ITEM = {
    "messages": [{"role": "user", "content": "2 + 2?"}],
    "verify": {"kind": "number", "answer": 4},
}


def write(name: str, rows: list[dict[str, Any]]) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    Path(name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_a_record_beyond_the_context_is_left_out_and_said(burnish: Any) -> None:
    endless = [{"role": "user", "content": "word " * 3000}, {"role": "assistant", "content": "No"}]
    write("long.jsonl", [*EXAMPLES, {"messages": endless}])
    fit = ["fit", "sft", "--model", "burnish-tiny", "--data", "long.jsonl", "--out", "mine"]
    done = burnish(*fit, "--set", "train.max_steps=1", "--set", "heldout=0")
    assert done.code == 0, done.err
    assert "1 records are longer than the model's context" in done.out


def test_a_group_needs_two_replies(burnish: Any) -> None:  # C-23
    write("items.jsonl", [ITEM])
    fit = ["fit", "grpo", "--model", "burnish-tiny", "--data", "items.jsonl", "--out", "mine"]
    done = burnish(*fit, "--set", "online.per_prompt=1")
    assert done.code == 2
    assert "per_prompt must be at least 2" in done.err


def test_fit_then_use_the_model(burnish: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write("examples.jsonl", EXAMPLES)
    write("items.jsonl", [ITEM])
    fit = ["fit", "sft", "--model", "burnish-tiny", "--data", "examples.jsonl", "--out", "m/mine"]
    done = burnish(*fit, "--set", "train.max_steps=2", "--set", "heldout=0")
    assert done.code == 0, done.err
    assert (Path("m/mine") / "model.safetensors").is_file()
    assert [path.name for path in Path("m").iterdir()] == ["mine"]
    assert burnish(*fit).code == 2  # the folder is there

    asked = ["generate", "--model", "m/mine", "--max-tokens", "4"]
    replies = burnish(*asked, "--prompts", "items.jsonl", "--out", "replies.jsonl")
    assert replies.code == 0, replies.err
    (row,) = map(json.loads, Path("replies.jsonl").read_text().splitlines())
    assert row["prompt"] == ITEM["messages"]
    one = json.loads(burnish(*asked, "--prompt", "2 + 2?", "--json").out)
    assert one["replies"][0]["reply"] == row["reply"]

    measured = burnish("eval", "m/mine", "--tasks", "items.jsonl", "--json")
    assert measured.code == 0, measured.err
    assert json.loads(measured.out)["figures"]["items"]["n"] == 1
    options = {"kind": "choice", "choices": ["4", "5"], "gold": 0}
    write("options.jsonl", [ITEM | {"verify": options}])
    weighed = json.loads(burnish("eval", "m/mine", "--tasks", "options.jsonl", "--json").out)
    kinds = ("sum", "per_token", "per_character", "per_byte", "unconditional")  # C-43
    assert set(weighed["figures"]) == {"options", *(f"options.{kind}" for kind in kinds)}
    assert weighed["figures"]["options"] == weighed["figures"]["options.per_character"]
    compared = burnish("compare", "burnish-tiny", "m/mine", "--tasks", "items.jsonl")
    assert compared.code == 0, compared.err
    assert "items" in compared.out
    itself = burnish("compare", "m/mine", "m/mine", "--tasks", "items.jsonl")
    assert itself.code == 0, itself.err
    assert "noise" in itself.out

    monkeypatch.setattr("sys.stdin", io.StringIO("Hi\n/reset\n\nBye\n/quit\n"))
    talked = burnish("chat", "m/mine", "--max-tokens", "4")
    assert talked.code == 0, talked.err
    monkeypatch.setattr("sys.stdin", io.StringIO("Hi\nHi\nHi\n/quit\n"))
    alone = burnish("chat", "m/mine", "--turns", "0", "--temperature", "0")
    first, second, third, _ = alone.out.split("› ")[1:]
    assert first == second == third != "\n", alone.out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["generate", "--model", "burnish-tiny"], "neither given"),
        (["generate", "--model", "no-such", "--prompt", "x"], "no such model"),
        (["eval", "burnish-tiny", "--tasks", "gone.jsonl"], "gone.jsonl"),
        (["fit", "sft", "--model", "x", "--data", "y", "--out", "z", "--set", "pace=1"], "pace"),
        (["chat", "nothing-here"], "no such model"),
        (["report", "nothing"], "no such run"),
        (["status", "nothing"], "no such run"),
        (["models", "list"], "no registry yet"),
    ],
)
def test_bad_input_is_explained(burnish: Any, args: list[str], said: str) -> None:
    refused = burnish(*args)
    assert refused.code == 2
    assert said in refused.err, refused.err


def make_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def test_models_are_found_by_run_artifact_and_alias(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    run = runs / "demo"
    first, second = (make_model(run / "artifacts" / name) for name in ("sft@1", "ppo@1"))
    made = [{"name": n, "version": 1, "kind": "model"} for n in ("sft", "ppo")]
    (run / "summary.json").write_text(json.dumps({"champion": None, "artifacts": made}))
    assert resolve_model("demo", runs) == str(second)
    (run / "summary.json").write_text(json.dumps({"champion": "sft@1", "artifacts": made}))
    assert resolve_model("demo", runs) == str(first)
    assert resolve_model("demo/ppo@1", runs) == str(second)
    assert resolve_model(str(first), runs) == str(first)
    assert resolve_model("owner/name", runs) == "owner/name"
    with Registry(runs / "registry.sqlite") as registry:
        registry.register("best", "model", second, "f1")
        registry.set_alias("champion", "best@1")
    assert resolve_model("champion", runs) == str(second)


def test_promote_and_roll_back(burnish: Any) -> None:
    store = ArtifactStore("runs/demo")
    with Registry("runs/registry.sqlite") as registry:
        for number in (1, 2, 3):
            origin = Origin(stage="fit.sft", config={"seed": number})
            with store.create("best", origin) as draft:
                draft.kind = "model"
                (draft.path / "config.json").write_text(f"{number}")
            register(registry, store, f"best@{number}")
        registry.register("data", "data", "d", "f3")
    assert burnish("models", "rollback").code == 2
    assert burnish("models", "promote", "best@1").code == 0
    assert "best@1 → best@2" in burnish("models", "promote", "best@2", "--reason", "why").out
    assert Path("runs/cards/best@2.md").read_text().startswith("---\n")
    listed = json.loads(burnish("models", "list", "--json").out)["artifacts"]
    assert [row["ref"] for row in listed if row["champion"]] == ["best@2"]
    assert "became champion: why" in burnish("models", "show", "best@2").out
    assert burnish("models", "promote", "best@3").code == 0
    # Twice back is two places back, not forth again; then there is nothing earlier.
    assert "best@3 → best@2" in burnish("models", "rollback").out
    assert "best@2 → best@1" in burnish("models", "rollback", "--reason", "worse").out
    assert burnish("models", "rollback").code == 2
    with Registry("runs/registry.sqlite") as registry:
        assert registry.moves("champion")[-1].reason == "worse"
        assert len(registry.moves("champion")) == 5
    assert burnish("models", "promote", "data@1").code == 2
    assert burnish("models", "promote", "best@9").code == 2


def test_a_damaged_model_is_found_and_not_promoted(burnish: Any) -> None:  # R-06, S-27
    test_promote_and_roll_back(burnish)
    assert "data@1: the folder is gone" in burnish("models", "verify").out
    assert burnish("models", "verify", "best@1", "best@2").code == 0
    Path("runs/demo/artifacts/best@2/config.json").write_text("X")
    found = burnish("models", "verify", "best@2", "champion", "--json")
    assert found.code == 2
    assert list(json.loads(found.out)["damaged"]) == ["best@2"]
    refused = burnish("models", "promote", "best@2")
    assert refused.code == 2
    assert "sha256 differs" in refused.err
    # Made anew in the same place: whole, but not what was registered.
    shutil.rmtree("runs/demo/artifacts/best@3")
    with ArtifactStore("runs/demo").create("best", Origin(stage="fit.sft", config={})) as draft:
        draft.kind = "model"
    assert "not what was registered" in burnish("models", "verify", "best@3").out
