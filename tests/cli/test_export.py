from __future__ import annotations

import base64
import hashlib
import json
import tarfile
from pathlib import Path

import pytest
from tests import tiny
from tests.cli.conftest import Burnish
from tests.stages.test_export import files

from burnish.exporting import page, write
from burnish.models.load import save_model
from burnish.store.registry import Registry

QUICK = [
    "--set", "speed={prompt_tokens: 8, new_tokens: 4, repeats: 2}",
    "--set", "sampling={temperature: 0, max_new_tokens: 6}",
]  # fmt: skip
LOOSE = ["--set", "policy.margins={tasks: 0.3, general: 0.5}"]


@pytest.fixture
def model(tmp_path: Path) -> str:
    files(tmp_path)
    return str(save_model(tiny.model(), tiny.tokenizer(), tmp_path / "model"))


def told(tmp_path: Path, *more: str) -> list[str]:
    data = [
        "--tasks",
        str(tmp_path / "items.jsonl"),
        "--heldout",
        str(tmp_path / "documents.jsonl"),
    ]
    return ["--to", "gguf:q8_0", *data, *QUICK, "--out", str(tmp_path / "out"), *more]


def test_export_writes_registers_and_tells(burnish: Burnish, model: str, tmp_path: Path) -> None:
    with Registry(tmp_path / "runs" / "registry.sqlite") as registry:
        registry.register("fit", "model", model, "0" * 64)
    done = burnish("export", model, *told(tmp_path, "--edge", *LOOSE))
    assert done.code == 0, done.err
    assert "✓ fit" in done.out
    assert "wrote" in done.out
    assert (tmp_path / "out" / "gguf-q8_0" / "chat.py").exists()
    with Registry(tmp_path / "runs" / "registry.sqlite") as registry:
        entry = registry.get("fit-gguf-q8-0@1")
        assert (entry.kind, entry.path) == ("export", str(tmp_path / "out" / "gguf-q8_0"))
        assert [one.ref for one in registry.lineage("fit-gguf-q8-0", 1)] == ["fit@1"]
    again = burnish("export", model, *told(tmp_path, *LOOSE))
    assert again.code == 2
    assert "exists already" in again.err


def test_a_page_is_written_and_its_size_told(
    burnish: Burnish, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "part").write_bytes(bytes(10**6))
    with tarfile.open(tmp_path / "own.tgz", "w:gz") as archive:
        for name in ("esm/index.min.js", "esm/wasm/wllama.wasm", "LICENCE"):
            archive.add(tmp_path / "part", f"package/{name}")
    digest = hashlib.sha512((tmp_path / "own.tgz").read_bytes()).digest()
    monkeypatch.setattr(page, "INTEGRITY", f"sha512-{base64.b64encode(digest).decode()}")
    monkeypatch.chdir(tmp_path)
    done = burnish("export", model, *told(tmp_path, "--edge", "--page", "own.tgz", *LOOSE))
    assert done.code == 0, done.err
    assert "python -m http.server --bind 127.0.0.1 --directory" in done.out + done.err
    assert "page 3.0)" in " ".join((done.out + done.err).split())
    folder = tmp_path / "out" / "gguf-q8_0"
    assert (folder / "page" / "wllama.wasm").stat().st_size == 10**6
    assert "3.0 of page" in (folder / "README.md").read_text()
    found = json.loads((tmp_path / "out" / "exports.json").read_text())
    assert found["rows"][1]["details"]["edge_bytes"]["page"] > 3 * 10**6


def test_a_loss_beyond_the_margin_is_exit_4(burnish: Burnish, model: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    strict = ["--set", "policy.margins={general: 0.0}", "--json", "--replace"]
    done = burnish("export", model, *told(tmp_path, *strict))
    assert done.code == 4, done.err
    found = json.loads(done.out)
    assert found["out"] is None
    assert found["rows"][1]["decision"] in ("unfit", "undecided")
    assert "gguf:q8_0" in done.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["old"]


def test_missing_packages_are_named(
    burnish: Burnish, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(write.PACKAGES, "gguf", ("not_there_at_all",))
    done = burnish("export", model, *told(tmp_path))
    assert done.code == 2
    assert "not installed: not_there_at_all" in done.err
    assert 'pip install "burnish[export]"' in done.err
