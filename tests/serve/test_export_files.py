"""Files of exported models: what is refused, what they say of themselves, ONNX folders."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.exporting import models

from burnish.cli.main import invoke
from burnish.config import InputError
from burnish.exporting import gguf_file, write
from burnish.exporting.forms import parse
from burnish.sampling import BatchLimits, Sampling, generate
from burnish.serve import llama
from burnish.serve.arms import Arms, Place, Served, exported
from burnish.serve.settings import ServeSettings
from burnish.store.errors import CorruptError
from burnish.text.templates import encode_prompt

from .conftest import TOKEN, running, served
from .exported import ATTACK, TEXTS, children, user


def test_broken_files_are_named(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # S-08
    whole = (folders["gguf"] / "model.gguf").read_bytes()
    cut, words = tmp_path / "cut.gguf", tmp_path / "words.gguf"
    cut.write_bytes(whole[: len(whole) // 2])
    words.write_bytes(whole.replace(b"general.architecture", b"general.architectura"))
    runs, before = ["--runs", str(tmp_path), "--port", "0"], children(os.getpid())
    for file, said in ((cut, "tensor"), (words, "architecture"), (tmp_path / "no.gguf", "No such")):
        assert invoke(["serve", str(file), *runs]) == 2
        told = " ".join(capsys.readouterr().err.split())
        assert file.name in told
        assert said in told
    assert children(os.getpid()) == before
    sealed = tmp_path / "sealed"
    sealed.mkdir()
    for file in folders["gguf"].iterdir():
        (sealed / file.name).write_bytes(file.read_bytes())
    (sealed / "model.gguf").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert invoke(["serve", str(sealed), *runs]) == 2
    assert "other content" in " ".join(capsys.readouterr().err.split())


def test_an_onnx_folder_in_our_batching(tmp_path: Path) -> None:
    """Replies of many at once are those of the model it was traced from, seed for seed."""
    source = models.source("llama", tmp_path)
    onnx = tmp_path / "onnx"
    write.write(source, parse("onnx:fp32"), onnx)
    assert exported(str(onnx)) == onnx / "model.onnx"
    loaded = source.loaded
    texts = [*TEXTS, ATTACK]
    prompts = [encode_prompt(loaded.tokenizer, user(text)) for text in texts]
    chosen = Sampling(max_new_tokens=12, top_p=0.9)
    replies = generate(loaded.model, loaded.tokenizer, prompts, chosen, seeds=[7] * len(texts))

    async def ask_all(url: str) -> list[Any]:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=TOKEN) as client:
            asked: Any = {"model": "one", "seed": 7, "top_p": 0.9, "max_tokens": 12}
            create = client.chat.completions.create
            return await asyncio.gather(*(create(messages=user(t), **asked) for t in texts))

    with running([served("one", onnx)], tmp_path, batch=BatchLimits(rows=4)) as there:
        answers = asyncio.run(ask_all(there.url))
    assert [answer.choices[0].message.content for answer in answers] == [r.text for r in replies]
    assert [answer.usage.prompt_tokens for answer in answers] == [len(ids) for ids in prompts]

    data = bytearray((onnx / "model.onnx.data").read_bytes())
    data[100] ^= 1
    (onnx / "model.onnx.data").write_bytes(bytes(data))
    with pytest.raises(CorruptError, match=r"model\.onnx\.data has other content"):
        asyncio.run(Arms([served("m", onnx)], ServeSettings()).start())


def test_a_template_that_never_ends_is_refused(source: write.Source, tmp_path: Path) -> None:
    """S-05: before llama.cpp runs it, which it does when it loads a file."""
    endless = (
        "{% for a in range(10**5) %}{% for b in range(10**5) %}{{ b }}{% endfor %}{% endfor %}"
    )
    file = tmp_path / "endless.gguf"
    words = replace(source.words, template=endless)
    gguf_file.write_gguf(source.folder, words, "gpt-2", "f16", file)
    with pytest.raises(InputError, match=r"endless\.gguf.*chat_template"):
        asyncio.run(llama.opened(file, "m", BatchLimits()))


def test_what_the_template_refuses(source: write.Source, tmp_path: Path) -> None:
    file = tmp_path / "strict.gguf"
    strict = "{% if messages[0]['content'] == 'no' %}{{ raise_exception('no rules') }}{% endif %}"
    words = replace(source.words, template=strict + str(source.words.template))
    gguf_file.write_gguf(source.folder, words, "gpt-2", "f16", file)
    with running([served("strict", file)], tmp_path) as there:
        assert there.chat("x").status_code == 200
        answer = there.chat("no")
        assert answer.status_code == 400
        assert "no rules" in answer.json()["error"]["message"]


def test_without_a_template_only_text_goes_on(tmp_path: Path) -> None:
    source = models.source("llama", tmp_path)
    bare = replace(source.words, template=None)
    file = tmp_path / "bare.gguf"
    gguf_file.write_gguf(source.folder, bare, "gpt-2", "f16", file)
    with running([served("bare", file)], tmp_path) as there:
        answer = there.chat("x")
        assert answer.status_code == 400
        assert "no chat template" in answer.json()["error"]["message"]
        assert there.post("/v1/completions", model="bare", prompt="x").status_code == 200


def test_a_draft_does_not_go_ahead_of_llama_cpp(
    folders: dict[str, Path], folder: Path, tmp_path: Path
) -> None:
    one = Served("m", 1, lambda: Place(str(folders["gguf"]), "m"), str(folder))
    with pytest.raises(InputError, match=r"draft.*decoded by llama\.cpp"):
        asyncio.run(Arms([one], ServeSettings()).start())


def test_what_is_an_export(folders: dict[str, Path], folder: Path) -> None:
    assert exported(str(folders["gguf"])) == folders["gguf"] / "model.gguf"
    assert exported(str(folders["gguf"] / "model.gguf")) == folders["gguf"] / "model.gguf"
    assert exported(str(folder)) is exported("burnish-tiny") is exported("owner/name") is None
