"""GGUF files against llama.cpp itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import gguf
import httpx2
import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests import tiny
from tests.exporting import models

from burnish.config import InputError
from burnish.exporting import gguf_file, gguf_words, modelfile, write
from burnish.exporting.agree import check_words
from burnish.exporting.forms import parse
from burnish.exporting.process import RuntimeProcess
from burnish.exporting.runtimes import TOP
from burnish.models.load import load_model, save_model
from burnish.store.errors import CorruptError, StorageError

TEXT = "hello the an 中文 hé\n\n  x 12"


@pytest.mark.parametrize("kind", models.KINDS)
def test_llama_cpp_computes_the_same_function(kind: str, tmp_path: Path) -> None:  # C-33
    source = models.source(kind, tmp_path)
    write.write(source, parse("gguf:f16"), tmp_path / "out")
    tokens = [1, *source.encode(TEXT)]
    with RuntimeProcess("gguf", tmp_path / "out" / "model.gguf", 256, 1) as runtime:
        told = runtime.score(tokens)
        check_words(source, runtime, tmp_path / "out")
        reply = runtime.generate(tokens, 5, [])
    # float16 weights: the models differ by far more when a tensor is in the wrong place.
    assert told.logprobs == pytest.approx(models.expected(source.folder, tokens), abs=0.02)
    assert len(told.ids) == len(tokens) - 1
    assert {len(row) for row in told.ids} == {TOP}
    assert len(reply) == 5


def test_rows_of_a_head_change_places() -> None:
    rows = torch.arange(8)[:, None].float()  # two heads of four
    assert gguf_file.interleaved(rows, 2).flatten().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_a_tied_head_that_lies_in_the_file_is_left_out(tmp_path: Path) -> None:  # C-33
    source = models.source("llama", tmp_path)
    path = source.folder / "model.safetensors"
    weights = load_file(path)
    weights["lm_head.weight"] = torch.zeros_like(weights["model.embed_tokens.weight"])
    save_file(weights, path, metadata={"format": "pt"})
    types = gguf_file.write_gguf(
        source.folder, source.words, "gpt-2", "q8_0", tmp_path / "model.gguf"
    )
    names = {one.name for one in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    assert "output.weight" not in names
    assert types == {"F32": 5, "Q8_0": 15}


def test_rows_that_blocks_do_not_divide_are_kept_finer(tmp_path: Path) -> None:
    source = models.source("llama", tmp_path)
    types = gguf_file.write_gguf(
        source.folder, source.words, "gpt-2", "q4_k", tmp_path / "model.gguf"
    )
    assert types == {"F32": 5, "Q5_0": 14, "Q8_0": 1}  # rows of 64 and 96, not of 256


def test_the_pattern_is_found_in_llama_cpp(tmp_path: Path) -> None:
    source = write.Source(load_model("burnish-tiny", device="cpu"), tmp_path)
    assert source.pattern == "gpt-2"  # not its own pattern, but the same ids
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}, "linear"),
        ({"hidden_act": "gelu"}, "gelu"),
        ({"model_type": "gpt2"}, "gpt2"),
    ],
)
def test_what_llama_cpp_computes_otherwise_is_refused(
    change: dict[str, object], found: str, tmp_path: Path
) -> None:
    config = tiny.plain().config.to_dict() | change
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=f"{found}.*cannot be exported"):
        gguf_file.read_config(tmp_path)


def test_missing_and_foreign_tensors_are_named(tmp_path: Path) -> None:
    source = models.source("llama", tmp_path)
    path = source.folder / "model.safetensors"
    weights = load_file(path)
    norm = weights.pop("model.norm.weight")
    save_file(weights, path)
    with pytest.raises(CorruptError, match=r"model\.norm\.weight"):
        gguf_file.write_gguf(source.folder, source.words, "gpt-2", "f16", tmp_path / "m.gguf")
    save_file(weights | {"model.norm.weight": norm, "value.weight": norm.clone()}, path)
    with pytest.raises(CorruptError, match=r"value\.weight has no place"):
        gguf_file.write_gguf(source.folder, source.words, "gpt-2", "f16", tmp_path / "m.gguf")


def test_a_full_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = models.source("llama", tmp_path)
    source.__dict__["pattern"] = "gpt-2"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gguf.GGUFWriter, "write_tensor_data", full)
    with pytest.raises(StorageError, match="disk is full"):
        write.write(source, parse("gguf:f16"), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_what_the_runtime_refuses_is_an_input_error(tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF" + b"\xff" * 200)
    with pytest.raises(InputError, match=r"bad\.gguf:llama\.cpp: cannot be loaded"):
        RuntimeProcess("gguf", bad, 64, 1)


def test_no_runtime_outlives_its_parent(tmp_path: Path) -> None:
    source = models.source("llama", tmp_path)
    file = tmp_path / "model.gguf"
    gguf_file.write_gguf(source.folder, source.words, "gpt-2", "f16", file)
    code = (
        "import sys, time; from pathlib import Path\n"
        "from burnish.config.process import tune; tune()\n"
        "from burnish.exporting.process import RuntimeProcess\n"
        f"one = RuntimeProcess('gguf', Path({str(file)!r}), 64, 1, 2)\n"
        "print(one._process.pid, *one.address(), flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid, url, key = parent.stdout.readline().split()
    child = psutil.Process(int(pid))
    assert child.environ()["GOMP_SPINCOUNT"] == "0"
    child.terminate()  # only its parent ends it
    for given, status in ((f"Bearer {key}", 200), ("Bearer wrong", 401)):
        assert httpx2.get(f"{url}/props", headers={"authorization": given}).status_code == status
    parent.kill()
    parent.communicate()
    assert psutil.wait_procs([child], timeout=20)[1] == []


def test_generation_marks_leave_the_template() -> None:
    marked = "a {%- generation -%} b {% endgeneration %} c"
    assert gguf_words.plain_template(marked) == "a {%- if true -%} b {% endif %} c"
    assert gguf_words.plain_template({"default": "x", "tool": "y"}) == "x"


def test_tokenizers_of_other_kinds_are_refused() -> None:
    unigram = tiny.tokenizer()
    text = unigram.backend_tokenizer.to_str().replace('"type":"BPE"', '"type":"WordLevel"')

    class Other:
        class backend_tokenizer:
            to_str = staticmethod(lambda: text)

    with pytest.raises(InputError, match="WordLevel that burnish cannot write"):
        gguf_words.words_of(Other, 300, "x")


def test_ollama_is_told_what_the_template_does() -> None:
    tokenizer = tiny.tokenizer()

    def render(messages: object, reply: bool) -> str:
        return str(tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=reply))  # fmt: skip

    pieces = modelfile.pieces_of(render)
    assert pieces is not None
    assert pieces.around["user"] == ("<|user|>", "<|end|>")
    text = modelfile.modelfile("model.gguf", pieces, ["<|end|>"], 256)
    assert 'PARAMETER stop "<|end|>"' in text
    assert '{{ if eq .Role "user" }}<|user|>{{ .Content }}<|end|>{{ end }}' in text
    tokenizer.chat_template = "{{ messages | length }}" + tiny.TEMPLATE
    assert modelfile.pieces_of(render) is None


def test_a_padded_embedding_has_names_for_all_rows(tmp_path: Path) -> None:
    model = tiny.plain(0, vocab_size=len(tiny.tokenizer()) + 5)
    saved = save_model(model, tiny.tokenizer(), tmp_path / "model")
    words = write.Source(load_model(saved, device="cpu"), tmp_path).words
    assert words.tokens[-1] == f"[PAD{len(words.tokens) - 1}]"
    assert np.array(words.types)[-5:].tolist() == [int(gguf.TokenType.UNUSED)] * 5
