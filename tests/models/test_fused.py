"""Fused layers say what transformers' own say, keep less, and stay away from what is not known."""

from __future__ import annotations

import copy

import pytest
import torch
from tests import tiny
from torch import Tensor, nn
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.models.llama import modeling_llama as llama

from burnish.models import fused
from burnish.models.adapters import LoraSettings, attach

SMALL = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
}


def made(family: str) -> PreTrainedModel:
    torch.manual_seed(0)
    models: dict[str, PreTrainedModel] = {
        "llama": tiny.plain(vocab_size=60),
        "qwen3": Qwen3ForCausalLM(Qwen3Config(**SMALL)),
        "mixtral": MixtralForCausalLM(MixtralConfig(**SMALL, num_local_experts=2)),
        "gemma2": Gemma2ForCausalLM(Gemma2Config(**SMALL)),
    }
    model = models[family].eval()
    for name, weight in model.named_parameters():
        if "norm" in name:  # all ones would hide a norm without its weight
            nn.init.uniform_(weight, 0.5, 1.5)
    return model


def outcome(model: PreTrainedModel) -> tuple[Tensor, dict[str, Tensor], int]:
    """Logits, gradients by name, and how many numbers autograd kept."""
    kept = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    tokens = torch.randint(1, 60, (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        logits = model(input_ids=tokens, use_cache=False).logits
    logits.log_softmax(-1)[..., 7].sum().backward()
    gradients = {n: w.grad for n, w in model.named_parameters() if w.grad is not None}
    return logits.detach(), gradients, kept


def layers(model: nn.Module) -> set[str]:
    """The layers that were replaced."""
    return {
        type(module).__name__ for module in model.modules() if "forward" in vars(type(module))
        and type(module).__mro__[1].__name__ == type(module).__name__
    }  # fmt: skip


@pytest.mark.parametrize(
    ("family", "replaced"),
    [
        ("llama", {"LlamaRMSNorm", "LlamaMLP", "LlamaAttention"}),
        ("qwen3", {"Qwen3RMSNorm", "Qwen3MLP", "Qwen3Attention"}),
        ("mixtral", {"MixtralRMSNorm", "MixtralAttention"}),
        ("gemma2", {"Gemma2Attention"}),  # its norm adds 1 to the weight, its MLP has a gelu
    ],
)
def test_fused_layers_say_the_same_and_keep_less(family: str, replaced: set[str]) -> None:
    plain, model = made(family), made(family)
    fused.fuse(model)
    assert layers(model) == replaced
    expected, wanted, all_kept = outcome(plain)
    found, got, kept = outcome(model)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert got.keys() == wanted.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(got[name], gradient, atol=2e-5, rtol=1e-4, msg=name)
    assert kept < all_kept or family == "gemma2"  # where a rotation keeps as little as before
    with torch.no_grad():
        tokens = torch.arange(1, 8)[None]
        own = model(input_ids=tokens, use_cache=False).logits
        torch.testing.assert_close(
            own, plain(input_ids=tokens, use_cache=False).logits, atol=1e-5, rtol=1e-5
        )


def test_gradients_are_true() -> None:
    def draw(*shape: int) -> Tensor:
        made = torch.randn(*shape, dtype=torch.float64, generator=source)
        return made.requires_grad_()

    source = torch.Generator().manual_seed(0)
    assert torch.autograd.gradcheck(
        lambda x, w: fused.rms_norm(x, w, 1e-3), (draw(2, 3, 5), draw(5))
    )
    assert torch.autograd.gradcheck(fused.swiglu, (draw(2, 3, 5), draw(2, 3, 5)))
    # sines of the halves may differ: the way back is the transposed map, whatever they are
    cos, sin = draw(1, 3, 4).detach(), draw(1, 3, 4).detach()
    assert torch.autograd.gradcheck(
        lambda q, k: fused.rotate(q, k, cos, sin), (draw(1, 2, 3, 4), draw(1, 1, 3, 4))
    )


def test_swiglu_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, up = torch.randn(2, 7, 5), torch.randn(2, 7, 5)
    found = []
    for size in (1, 2**17):
        monkeypatch.setattr(fused, "CACHED", size)
        a, b = gate.clone().requires_grad_(), up.clone().requires_grad_()
        fused.swiglu(a, b).square().sum().backward()
        found.append((a.grad, b.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)


def test_other_code_is_left_alone() -> None:
    class Doubled(llama.LlamaRMSNorm):
        def forward(self, hidden_states: Tensor) -> Tensor:
            hidden_states = hidden_states.to(torch.float32)
            variance = hidden_states.pow(3).mean(-1, keepdim=True)
            return self.weight * hidden_states * torch.rsqrt(variance + self.variance_epsilon)

    norm, gelu = Doubled(4), tiny.plain(hidden_act="gelu")
    fused.fuse(norm)
    assert type(norm) is Doubled
    fused.fuse(gelu)
    assert "LlamaMLP" not in layers(gelu)
    half = tiny.plain().to(torch.bfloat16)
    fused.fuse(half)
    assert layers(half) == set()
    assert llama.apply_rotary_pos_emb.__module__ == llama.__name__  # transformers is untouched


def test_copies_adapters_and_a_second_time() -> None:
    model = tiny.model(vocab_size=60)
    again = copy.deepcopy(model)
    fused.fuse(again)
    assert isinstance(again.model.norm, llama.LlamaRMSNorm)
    assert [type(one) for one in again.modules()] == [type(one) for one in model.modules()]
    plain, tuned = attach(tiny.plain(vocab_size=60), LoraSettings()), attach(again, LoraSettings())
    for model in (plain, tuned):
        torch.manual_seed(3)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(weight, std=0.1)
            if "lora_A" in name:
                nn.init.normal_(weight, std=0.2)
    expected, wanted, _ = outcome(plain)
    found, got, _ = outcome(tuned)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    for name, gradient in wanted.items():
        torch.testing.assert_close(got[name], gradient, atol=2e-5, rtol=1e-4)
