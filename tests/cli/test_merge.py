from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tests import tiny

from burnish.cli.main import invoke
from burnish.models.load import save_model
from burnish.store import manifest


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("models")
    return [
        str(save_model(tiny.model(seed=seed), tiny.tokenizer(), folder / f"m{seed}"))
        for seed in range(2)
    ]


def test_merge_writes_a_model(
    models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "soup"
    told = ["--weight", "3", "--weight", "1", "--set", 'layers={"model.norm.*": [0, 1]}']
    assert invoke(["merge", *models, "--out", str(out), *told, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["weights"] == [3.0, 1.0]
    made, one, two = (load_file(Path(f) / "model.safetensors") for f in (out, *models))
    name = "model.embed_tokens.weight"
    assert made[name].allclose((3 * one[name] + two[name]) / 4, atol=1e-6)
    assert made["model.norm.weight"].equal(two["model.norm.weight"])
    manifest.verify(out)
    assert [path.name for path in tmp_path.iterdir()] == ["soup"]


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (["--method", "mean"], "expected one of|one of linear"),
        (["--method", "ties"], "missing for ties"),
        (["--search", "greedy"], "given without --tasks"),
        (["--budget", "3"], "given without --search"),
        (["--weight", "1"], "one for each of 2 parents"),
        (["--set", "density=2"], "density"),
    ],
)
def test_bad_requests(
    models: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    told: list[str],
    found: str,
) -> None:
    assert invoke(["merge", *models, "--out", str(tmp_path / "out"), *told]) == 2
    assert re.search(found, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()
