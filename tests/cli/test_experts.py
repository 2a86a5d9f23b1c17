from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests import tiny

from burnish.cli.main import invoke
from burnish.models.load import load_model, save_model
from burnish.records import Document
from burnish.store import manifest, tables


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("models")
    return [
        str(save_model(tiny.model(seed=seed), tiny.tokenizer(), folder / f"m{seed}"))
        for seed in range(2)
    ]


def test_experts_and_their_router(
    models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for name, text in (("a", "hello the hello "), ("b", "1234 4321 ")):
        files.append(str(tmp_path / f"{name}.jsonl"))
        documents = [Document(id=f"{name}{n}", text=text * 3) for n in range(20)]
        tables.write(Path(files[-1]), documents)
    moe, routed = str(tmp_path / "moe"), str(tmp_path / "routed")
    told = [part for file in files for part in ("--prompts", file)]
    assert invoke(["experts", *models, *told, "--set", "shared=base", "--out", moe, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["experts"], shown["architecture"]) == (2, "mixtral")
    assert shown["settings"]["gate"] == "hidden"
    assert shown["settings"]["shared"] == "base"
    manifest.verify(moe)
    data = [part for file in files for part in ("--data", file)]
    few = ["--set", "train.max_steps=2", "--set", "heldout=0.2"]
    assert invoke(["fit", "router", "--model", moe, *data, *few, "--out", routed, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert {"heldout_nll_before", "heldout_nll_after", "load_min_after"} <= figures.keys()
    assert load_model(routed).model.config.model_type == "mixtral"


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ([], "no experts"),
        (["--adapter", "x"], "missing for adapters"),
        (["M", "--gate", "zero"], "1 expert"),
        (["M", "M", "--gate", "zero", "--top-k", "3"], "3 of 2 experts"),
        (["M", "M", "--gate", "hidden"], "found 0 files"),
    ],
)
def test_bad_requests(
    models: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    told: list[str],
    found: str,
) -> None:
    given = [models[0] if part == "M" else part for part in told]
    assert invoke(["experts", *given, "--out", str(tmp_path / "out")]) == 2
    assert re.search(found, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()
