"""``release.export`` as a stage: written, asked by its runtime, judged."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError
from safetensors import safe_open
from tests import tiny
from tests.stages.fits import context

from burnish.config import InputError
from burnish.models.load import save_model
from burnish.reporting.exports import render
from burnish.stages.base import Inputs, Outcome
from burnish.stages.release import export
from burnish.store import manifest

TASK = {"name": "form", "data": ["items.jsonl"]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("exported")
    return str(save_model(tiny.model(), tiny.tokenizer(), folder / "model"))


def files(folder: Path) -> dict[str, list[str]]:
    """Thirty questions that any reply but a refusal gets right, and thirty documents."""
    items, documents = folder / "items.jsonl", folder / "documents.jsonl"
    rows = [
        {"id": f"q{at}", "messages": [{"role": "user", "content": f"hello {at}"}],
         "verify": {"kind": "comply"}}
        for at in range(30)
    ]  # fmt: skip
    items.write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = [{"id": f"d{at}", "text": f"the an hello {at} 中"} for at in range(30)]
    documents.write_text("".join(json.dumps(row) + "\n" for row in texts))
    return {"tasks.0.data.0": [str(items)], "heldout": [str(documents)]}


def exported(folder: Path, model: str, **settings: object) -> tuple[Outcome, Path]:
    config = export.Config.model_validate(
        {"model": model, "tasks": [TASK], "heldout": "documents.jsonl",
         "sampling": {"temperature": 0, "max_new_tokens": 6},
         "speed": {"prompt_tokens": 8, "new_tokens": 4, "repeats": 2}, **settings}
    )  # fmt: skip
    place = context(folder)
    outcome = export.run(config, Inputs({"model": [model], **files(folder)}), place)
    return outcome, place.output


LOOSE = {"policy": {"margins": {"tasks": 0.3, "general": 0.5}}}


def test_an_export_is_measured_by_its_runtime_and_kept(model: str, tmp_path: Path) -> None:
    outcome, output = exported(tmp_path, model, to=["gguf:q8_0", "torch:bf16"], **LOOSE)
    assert outcome.kind == "report"
    source, gguf, bf16 = outcome.details["rows"]
    assert (gguf["decision"], bf16["decision"]) == ("fit", "fit")
    assert gguf["details"]["pattern"] == "gpt-2"
    manifest.verify(output / "gguf-q8_0")
    manifest.verify(output / "torch-bf16")
    kl = gguf["figures"]["kl"]
    assert 0 < kl["value"] < 0.05
    assert kl["low"] < kl["value"] < kl["high"]
    # The same text has nearly the same perplexity; nothing is that close by chance.
    ratio = gguf["figures"]["general_ppl"]["value"] / source["figures"]["general_ppl"]["value"]
    assert ratio == pytest.approx(gguf["figures"]["general_ppl_ratio"]["value"])
    assert ratio == pytest.approx(1, abs=0.02)
    assert gguf["figures"]["same_answers"]["n"] == 30
    assert (
        gguf["figures"]["size_bytes"]["value"]
        > (output / "gguf-q8_0" / "model.gguf").stat().st_size
    )
    for row in outcome.details["rows"]:
        assert row["figures"]["decode_tokens_per_second"]["value"] > 0
        assert row["figures"]["peak_memory_bytes"]["value"] > 1e7
    assert outcome.figures["gguf_q8_0.kl"].value == kl["value"]
    replies = (output / "measured" / "gguf-q8_0" / "responses.jsonl").read_text().splitlines()
    assert len(replies) == 30
    page = (output / "exports.html").read_text()
    assert "2 of 2 exports fit to release" in page
    assert "2 个导出中 2 个可以发布" in render(outcome.details, "zh")


def test_multiple_choice_is_answered_by_log_probabilities(model: str, tmp_path: Path) -> None:
    given = files(tmp_path)
    rows = [
        {"id": f"c{at}", "messages": [{"role": "user", "content": f"hello {at}"}],
         "verify": {"kind": "choice", "choices": ["the", "an hello", "x"], "gold": at % 3}}
        for at in range(30)
    ]  # fmt: skip
    Path(given["tasks.0.data.0"][0]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = export.Config.model_validate(
        {"model": model, "tasks": [TASK], "to": ["gguf:f16"], "keep_unfit": True,
         "speed": {"prompt_tokens": 8, "new_tokens": 4, "repeats": 2}}
    )  # fmt: skip
    place = context(tmp_path)
    outcome = export.run(config, Inputs({"model": [model], **given}), place)
    scores = [row["figures"]["form"] for row in outcome.details["rows"]]
    assert scores[0]["n"] == 30
    assert scores[1]["value"] == scores[0]["value"]
    assert outcome.details["rows"][1]["figures"]["same_answers"]["value"] == 1


def test_what_lost_too_much_is_left_out(model: str, tmp_path: Path) -> None:
    strict = {"policy": {"margins": {"general": 0.0}}, "to": ["gguf:q4_0"]}
    outcome, output = exported(tmp_path, model, **strict)
    assert outcome.details["rows"][1]["decision"] != "fit"
    assert not (output / "gguf-q4_0").exists()
    assert (output / "exports.json").exists()
    # What was measured is not measured again, and can be kept on demand.
    (tmp_path / "again").mkdir()
    (tmp_path / "scratch").rename(tmp_path / "again" / "scratch")
    _, kept = exported(tmp_path / "again", model, keep_unfit=True, **strict)
    assert (kept / "gguf-q4_0" / "model.gguf").exists()


def test_an_export_may_be_asked_to_be_smaller(model: str, tmp_path: Path) -> None:
    cheaper = {"size_bytes": 1.5}
    loose = {"policy": {"margins": {"tasks": 0.3, "general": 0.5}, "cheaper": cheaper}}
    outcome, output = exported(tmp_path, model, to=["torch:bf16", "gguf:f16"], **loose)
    source, *forms = outcome.details["rows"]
    for row in forms:
        (saved,) = row["saved"]
        sizes = [one["costs"]["size_bytes"][0] for one in (source, row)]
        assert saved["factor"] == sizes[0] / sizes[1]
        # So small a model is little more than its tokenizer, whose size no form changes.
        assert row["decision"] == ("fit" if saved["factor"] >= 1.5 else "unfit")
        assert (output / row["form"].replace(":", "-")).exists() == (row["decision"] == "fit")
    assert len(source["costs"]["decode_tokens_per_second"]) == 2


def test_torchao_rounds_matrices_and_transformers_reads_them(model: str, tmp_path: Path) -> None:
    outcome, output = exported(tmp_path, model, to=["torchao:int8"], **LOOSE)
    (row,) = outcome.details["rows"][1:]
    assert row["decision"] == "fit"
    assert 0 < row["figures"]["kl"]["value"] < 0.05
    with safe_open(output / "torchao-int8" / "model.safetensors", framework="pt") as held:
        tensors = [held.get_tensor(name) for name in held.keys()]  # noqa: SIM118
    matrices = Counter(str(one.dtype) for one in tensors if one.ndim == 2 and one.shape[1] > 1)
    # Seven in each of two layers, and the embedding, which is the head too.
    assert matrices == {"torch.int8": 14, "torch.float32": 1}


def test_an_interrupted_export_goes_on(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = exported(tmp_path, model, to=["torch:bf16"], keep_unfit=True, **LOOSE)
    again = tmp_path / "again"
    again.mkdir()
    (tmp_path / "scratch").rename(again / "scratch")
    (tmp_path / "output" / "torch-bf16").rename(again / "scratch" / "torch-bf16")
    monkeypatch.setattr(export, "RuntimeProcess", None)
    second, output = exported(again, model, to=["torch:bf16"], keep_unfit=True, **LOOSE)
    assert second.details == first.details
    assert (output / "torch-bf16" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"to": ["gguf:q3"]}, "found 'gguf:q3'"),
        ({"to": ["onnx", "onnx:fp32"]}, "named twice"),
        ({"to": ["torch:bf16"], "edge": True}, "needs PyTorch"),
        ({"to": ["torchao"], "edge": True}, "needs PyTorch"),
        ({"to": ["torchao:int4"]}, "found 'torchao:int4'"),
        ({"page": "npm"}, "a part of edge folders"),
        ({"to": ["onnx"], "edge": True, "page": "npm"}, "expected gguf forms only"),
        ({"tasks": [], "heldout": None}, "nothing to measure"),
        ({"sampling": {"temperature": 1}}, "compared greedily"),
    ],
)
def test_bad_configs(settings: dict[str, object], found: str) -> None:
    base = {"model": "m", "tasks": [TASK], "heldout": "documents.jsonl"}
    with pytest.raises((ValidationError, InputError), match=found):
        export.Config.model_validate(base | settings)
