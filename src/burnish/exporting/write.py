"""One model into the folders of several forms, each whole or not there."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, TorchAoConfig

from burnish.config import InputError, Problem
from burnish.exporting import gguf_file, gguf_words, modelfile, onnx_file
from burnish.exporting.forms import FILES, PACKAGES, TOLD, Form
from burnish.exporting.process import RuntimeProcess
from burnish.models.load import Loaded
from burnish.records import Message
from burnish.sampling.cache import context_length
from burnish.store import atomic, manifest
from burnish.store.errors import storage_errors
from burnish.text.templates import end_tokens

LONGEST = 4096
"""Tokens of the cache that a runtime is opened with at most."""


def check_packages(forms: Sequence[Form]) -> None:
    """Refuse forms whose packages are not installed.

    Raises:
        InputError: naming them.
    """
    missing = {
        name
        for form in forms
        for name in PACKAGES[form.format]
        if importlib.util.find_spec(name) is None
    }
    if missing:
        found = f"not installed: {', '.join(sorted(missing))}"
        raise InputError(Problem("", None, "to", found, 'pip install "burnish[export]"'))


@dataclass
class Source:
    """The model that is exported, in its folder. What several forms need is made once."""

    loaded: Loaded
    scratch: Path

    @property
    def folder(self) -> Path:
        """Where its weights are.

        Raises:
            InputError: it came from a hub.
        """
        if self.loaded.path is None:
            expected = "a model folder: save it first, for example with burnish merge"
            raise InputError(Problem(self.loaded.ref, None, "", "not a folder", expected))
        return self.loaded.path

    @property
    def context(self) -> int:
        """Tokens that prompt and reply may take together in a runtime."""
        return min(LONGEST, context_length(self.loaded.model))

    @cached_property
    def words(self) -> gguf_words.Words:
        """Its vocabulary for GGUF."""
        size = self.loaded.model.get_input_embeddings().num_embeddings
        return gguf_words.words_of(self.loaded.tokenizer, size, self.loaded.ref)

    @cached_property
    def pattern(self) -> str:
        """The first of llama.cpp's patterns that gives this tokenizer's ids for every probe.

        Raises:
            InputError: there is none.
        """
        texts = gguf_words.probes(self.words)
        wanted = [self.encode(text) for text in texts]
        self.scratch.mkdir(parents=True, exist_ok=True)
        trial = self.scratch / "trial.gguf"
        fewest = len(texts)
        for pattern in gguf_words.PATTERNS:
            gguf_file.write_trial(self.words, pattern, trial)
            with RuntimeProcess("gguf", trial, 64, 1) as runtime:
                wrong = sum(
                    runtime.tokenize(text) != ids for text, ids in zip(texts, wanted, strict=True)
                )
            trial.unlink()
            if not wrong:
                return pattern
            fewest = min(fewest, wrong)
        found = f"llama.cpp cuts at least {fewest} of {len(texts)} texts in another way"
        raise InputError(Problem(self.loaded.ref, None, "gguf", found, "onnx, which takes ids"))

    @cached_property
    def program(self) -> Any:
        """Its ONNX graph in float32."""
        return onnx_file.traced(self.folder)

    def encode(self, text: str) -> list[int]:
        """Ids of a text in which nothing is a control token."""
        ids: list[int] = self.loaded.tokenizer(
            text, add_special_tokens=False, split_special_tokens=True
        )["input_ids"]
        return ids

    def render(self, messages: Sequence[Message], reply: bool) -> str:
        """A conversation as text, by the model's chat template."""
        text: str = self.loaded.tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=reply
        )
        return text


def write(source: Source, form: Form, target: Path) -> dict[str, Any]:
    """Write one form into the new folder ``target``, sealed with a manifest; what is to tell of it.

    Raises:
        InputError: this model has no such form.
        StorageError: the disk is full; ``target`` is then not there.
    """
    makers = {"gguf": _gguf, "onnx": _onnx, "torch": _torch, "torchao": _torchao}
    with atomic.new_folder(target) as folder:
        details = makers[form.format](source, form.precision, folder)
        atomic.write_json(folder / TOLD, _told(source))
        manifest.seal(folder)
    return details


def artifact(form: Form, folder: Path) -> Path:
    """What the runtime of a form is given: a file, or for transformers the folder."""
    return folder / FILES.get(form.format, "")


def _told(source: Source) -> dict[str, Any]:
    tokenizer = source.loaded.tokenizer
    return {
        "context": source.context,
        "ends": sorted(end_tokens(tokenizer)),
        "bos_token": tokenizer.bos_token,
        "eos_token": tokenizer.eos_token,
    }


def _gguf(source: Source, precision: str, folder: Path) -> dict[str, Any]:
    target = folder / FILES["gguf"]
    types = gguf_file.write_gguf(source.folder, source.words, source.pattern, precision, target)
    tokenizer = source.loaded.tokenizer
    pieces = modelfile.pieces_of(source.render) if source.words.template else None
    ends = tokenizer.convert_ids_to_tokens(sorted(end_tokens(tokenizer)))
    text = modelfile.modelfile(target.name, pieces, ends, source.context)
    (folder / "Modelfile").write_text(text, encoding="utf-8")
    return {"types": types, "pattern": source.pattern, "ollama_template": pieces is not None}


def _onnx(source: Source, precision: str, folder: Path) -> dict[str, Any]:
    onnx_file.write_onnx(source.program, precision, folder / FILES["onnx"])
    source.loaded.tokenizer.save_pretrained(folder)
    template = gguf_words.plain_template(source.loaded.tokenizer.chat_template)
    if template is not None:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return {}


def _torch(source: Source, _precision: str, folder: Path) -> dict[str, Any]:
    return _saved(source, folder, dtype=torch.bfloat16)


def _torchao(source: Source, _precision: str, folder: Path) -> dict[str, Any]:
    # Matrices in 8 bits with a scale a row; embedding, head and activations stay as they are.
    torchao: Any = importlib.import_module("torchao.quantization")
    rounding = TorchAoConfig(torchao.Int8WeightOnlyConfig())
    return _saved(source, folder, dtype="auto", quantization_config=rounding)


def _saved(source: Source, folder: Path, **how: Any) -> dict[str, Any]:
    """Write what transformers makes of the model when it is loaded so."""
    model = AutoModelForCausalLM.from_pretrained(
        source.folder, trust_remote_code=False, use_safetensors=True, **how
    )
    with storage_errors(folder):
        model.save_pretrained(folder)
        source.loaded.tokenizer.save_pretrained(folder)
    return {}
