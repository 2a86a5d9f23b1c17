from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tests import tiny

from burnish.config import InputError
from burnish.merging.adapter import CONFIG, WEIGHTS
from burnish.merging.merge import merge
from burnish.merging.settings import MergeSettings
from burnish.models.load import load_model, save_model

TOKENS = torch.tensor([[1, 9, 40, 7, 100, 3]])
LINEAR = ["q_proj", "v_proj", "down_proj"]
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"target_modules": LINEAR},
    "rslora": {"target_modules": LINEAR, "use_rslora": True},
    "dora": {"target_modules": LINEAR, "use_dora": True},
    "patterns": {
        "target_modules": LINEAR, "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 3},
    },
    "head": {"target_modules": ["q_proj", "lm_head"]},
    "embeddings": {"target_modules": ["q_proj", "embed_tokens"]},
    "saved": {"target_modules": ["q_proj"], "modules_to_save": ["norm"]},
}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_model(tiny.plain(), tiny.tokenizer(), tmp_path_factory.mktemp("base") / "m"))


def trained(base: str, folder: Path, **settings: Any) -> torch.Tensor:
    """An adapter with random factors, saved by peft; the logits ``[1, T, V]`` it gives."""
    adapted = get_peft_model(tiny.plain(), LoraConfig(r=4, lora_alpha=8, **settings))
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                weight.add_(0.05 * torch.randn(weight.shape, generator=noise))
    adapted.save_pretrained(folder, save_embedding_layers=False)
    with torch.no_grad():
        logits: torch.Tensor = adapted.eval()(input_ids=TOKENS).logits
    return logits


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_merged_logits_are_the_adapters(base: str, tmp_path: Path, kind: str) -> None:  # C-33
    expected = trained(base, tmp_path / "lora", **KINDS[kind])
    merge([str(tmp_path / "lora")], base, MergeSettings(), tmp_path / "out")
    model = load_model(tmp_path / "out").model
    with torch.no_grad():
        found = model(input_ids=TOKENS).logits
        plain = load_model(base).model(input_ids=TOKENS).logits
    assert (found - expected).abs().max() <= 1e-5
    assert (plain - expected).abs().max() > 1e-2
    assert model.config.tie_word_embeddings == (kind not in ("head", "embeddings"))


def test_a_fresh_process_without_burnish_loads_it(base: str, tmp_path: Path) -> None:  # C-33
    expected = trained(base, tmp_path / "lora", target_modules=["lm_head"])
    merge([str(tmp_path / "lora")], base, MergeSettings(), tmp_path / "out")
    script = (
        "import sys, torch; from transformers import AutoModelForCausalLM as M;"
        "m = M.from_pretrained(sys.argv[1]); assert not any('burnish' in n for n in sys.modules);"
        f"print(m(input_ids=torch.tensor({TOKENS.tolist()})).logits.double().sum().item())"
    )
    said = subprocess.run([sys.executable, "-c", script, tmp_path / "out"], check=True,
                          capture_output=True, text=True).stdout  # fmt: skip
    assert float(said) == pytest.approx(expected.double().sum().item(), abs=1e-2)


def test_adapters_of_one_base_by_their_task_vectors(base: str, tmp_path: Path) -> None:
    trained(base, tmp_path / "a", target_modules=["q_proj"])
    trained(base, tmp_path / "b", target_modules=["v_proj"])
    settings = MergeSettings(method="task_arithmetic")
    merge([str(tmp_path / "a"), str(tmp_path / "b")], base, settings, tmp_path / "both")
    made = load_file(tmp_path / "both" / "model.safetensors")
    for side, part in (("a", "q_proj"), ("b", "v_proj")):
        merge([str(tmp_path / side)], base, MergeSettings(), tmp_path / f"{side}-alone")
        alone = load_file(tmp_path / f"{side}-alone" / "model.safetensors")
        name = f"model.layers.1.self_attn.{part}.weight"
        assert made[name].allclose(alone[name], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"peft_type": "IA3"}, "peft_type.*IA3"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out"),
        ({"lora_bias": True}, "lora_bias"),
        ({"bias": "all"}, "bias"),
        ({"lora_alpha": None}, "lora_alpha"),
        ("{", "cannot be read"),
        ("[]", "peft_type"),
    ],
)
def test_other_adapters_are_refused(base: str, tmp_path: Path, change: Any, found: str) -> None:
    trained(base, tmp_path / "lora", target_modules=["q_proj"])
    path = tmp_path / "lora" / CONFIG
    settings = json.loads(path.read_text())
    path.write_text(change if isinstance(change, str) else json.dumps(settings | change))
    with pytest.raises(InputError, match=found):
        merge([str(tmp_path / "lora")], base, MergeSettings(), tmp_path / "out")


def test_an_adapter_of_another_model(base: str, tmp_path: Path) -> None:
    trained(base, tmp_path / "lora", target_modules=["q_proj"])
    path = tmp_path / "lora" / WEIGHTS
    tensors = load_file(path)
    name = next(name for name in tensors if "lora_B" in name)
    save_file(tensors | {name: torch.ones(5, 4)}, path)
    with pytest.raises(InputError, match=r"q_proj.*\[5, 32\].*\[32, 32\]"):
        merge([str(tmp_path / "lora")], base, MergeSettings(), tmp_path / "out")
    save_file({key: t for key, t in tensors.items() if key != name}, path)
    with pytest.raises(InputError, match="only lora_A"):
        merge([str(tmp_path / "lora")], base, MergeSettings(), tmp_path / "out")
