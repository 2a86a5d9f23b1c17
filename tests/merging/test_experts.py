"""Mixtures of experts: what they compute at first, how they are stored, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests import tiny
from tests.merging.test_merge import changed, weights
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from burnish.config import InputError
from burnish.merging import merge as streamed
from burnish.merging.experts import assemble, open_experts
from burnish.merging.gates import hidden_gates, random_gates
from burnish.merging.layouts import LAYOUTS
from burnish.merging.settings import ExpertSettings
from burnish.models import routers
from burnish.models.forward import hidden
from burnish.models.load import load_model, save_model
from burnish.store import manifest
from burnish.store.shards import SINGLE
from burnish.text.batches import Segment, pack

LAYERS, WIDTH = 2, 32


def dense(kind: str, seed: int = 0, **changes: object) -> PreTrainedModel:
    """A small dense model of a family, with norms and biases away from where they begin."""
    settings: dict[str, object] = {
        "vocab_size": len(tiny.tokenizer()), "hidden_size": WIDTH, "intermediate_size": 64,
        "num_hidden_layers": LAYERS, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 256, "tie_word_embeddings": kind != "mistral",
        "initializer_range": 0.2, "head_dim": 8,
    }  # fmt: skip
    torch.manual_seed(seed)
    config = AutoConfig.for_model(kind, **(settings | changes))
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A base and two models of its architecture."""
    folder = tmp_path_factory.mktemp("models")
    return [
        str(save_model(dense("llama", seed), tiny.tokenizer(), folder / str(seed)))
        for seed in range(3)
    ]


def made(folder: Path, refs: list[str], base: str, gates: float = 0.5, **told: object) -> str:
    settings = ExpertSettings.model_validate({"gate": "random", **told})
    experts = open_experts(refs, base, settings)
    drawn = random_gates(LAYERS, len(refs), WIDTH, gates, 1)
    assemble(experts, drawn, settings, folder)
    return str(folder)


@torch.no_grad()
def logits(ref: str | Path) -> torch.Tensor:
    tokens = torch.arange(1, 60)[None]
    found: torch.Tensor = load_model(ref, dtype=torch.float32).model(tokens).logits
    return found


@pytest.mark.parametrize("kind", sorted(LAYOUTS))
@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_copies_of_one_model_are_that_model(kind: str, top_k: int, tmp_path: Path) -> None:  # C-32
    ref = str(save_model(dense(kind), tiny.tokenizer(), tmp_path / "dense"))
    mixture = made(tmp_path / "moe", [ref] * 3, ref, top_k=top_k)
    expected = logits(ref)
    assert expected.abs().max() > 1
    assert (logits(mixture) - expected).abs().max().item() < 2e-5
    manifest.verify(mixture)


def test_each_part_is_where_it_belongs(
    models: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, one, two = models
    monkeypatch.setattr(streamed, "PIECE", 100)
    mean = weights(made(tmp_path / "mean", [one, two], base))
    own = weights(made(tmp_path / "base", [one, two], base, shared="base"))
    start, first, second = weights(base), weights(one), weights(two)
    name = "model.layers.1.self_attn.q_proj.weight"
    assert mean[name].allclose((first[name] + second[name]) / 2, atol=1e-7)
    assert own[name].equal(start[name])
    block = "model.layers.1.block_sparse_moe"
    for part, stored in (("gate_proj", "w1"), ("down_proj", "w2"), ("up_proj", "w3")):
        for number, parent in enumerate((first, second)):
            expert = mean[f"{block}.experts.{number}.{stored}.weight"]
            assert expert.equal(parent[f"model.layers.1.mlp.{part}.weight"]), (part, number)
    assert mean[f"{block}.gate.weight"].equal(random_gates(LAYERS, 2, WIDTH, 0.5, 1)[1])
    assert "lm_head.weight" not in mean  # tied embeddings stay tied
    assert not any(".mlp." in name for name in mean)


def test_shards_and_dtype(models: list[str], tmp_path: Path) -> None:
    out = made(tmp_path / "moe", models[1:], models[0], dtype="bfloat16", shard_bytes=30_000)
    files = sorted(Path(out).glob("model-*.safetensors"))
    assert len(files) > 1
    dtypes = {tensor.dtype for file in files for tensor in load_file(file).values()}
    assert dtypes == {torch.bfloat16}
    assert AutoModelForCausalLM.from_pretrained(out, dtype="auto").dtype == torch.bfloat16


def test_a_router_begun_from_texts_knows_them(models: list[str], tmp_path: Path) -> None:
    base, one, two = models
    loaded = load_model(base)
    texts = [[Segment([1, *([letter] * 20)], [True] * 21)] for letter in (40, 41)]
    gates = hidden_gates(loaded.model, texts)
    assert [tuple(gate.shape) for gate in gates] == [(2, WIDTH)] * LAYERS
    assert gates[0].norm(dim=1).allclose(torch.ones(2))
    assert gates[0].sum(dim=0).abs().max() < 1e-5  # of two, each is the other's opposite
    settings = ExpertSettings(shared="base", top_k=2)
    experts = open_experts([one, two], base, settings)
    assemble(experts, gates, settings, tmp_path / "moe")
    model = load_model(tmp_path / "moe").model
    for expert, text in enumerate(texts):
        with routers.heard(model) as heard, torch.no_grad():
            hidden(model, pack(text))
        # The first layer reads what the dense model read; its state at <bos> is the same in both.
        assert heard[0][1:].argmax(dim=1).eq(expert).all()


def test_routers_are_heard_in_order_and_only_inside(models: list[str], tmp_path: Path) -> None:
    model = load_model(made(tmp_path / "moe", models[1:], models[0])).model
    batch = pack([Segment([1, 50, 60, 70], [True] * 4)])
    with routers.heard(model) as heard:
        hidden(model, batch)
    hidden(model, batch)
    assert len(heard) == LAYERS
    expected = model(batch.tokens[None], output_router_logits=True).router_logits
    for own, theirs in zip(heard, expected, strict=True):
        assert own.allclose(theirs, atol=1e-5)
    assert heard[0].requires_grad
    assert list(routers.routers(model)) == [f"model.layers.{n}.mlp.gate" for n in range(LAYERS)]
    names = [name for name, _ in model.named_parameters()]
    gates = [name for name in names if routers.belongs(model, experts=False)(name)]
    blocks = [name for name in names if routers.belongs(model, experts=True)(name)]
    assert gates == [f"model.layers.{n}.mlp.gate.weight" for n in range(LAYERS)]
    assert len(blocks) == 3 * LAYERS
    assert routers.routers(load_model(models[0]).model) == {}


def test_what_makes_no_mixture_is_named(models: list[str], tmp_path: Path) -> None:
    base, one, two = models
    wide = str(save_model(dense("llama", intermediate_size=96), tiny.tokenizer(), tmp_path / "w"))
    lost = weights(one)
    del lost["model.layers.1.mlp.up_proj.weight"]
    less = changed(one, tmp_path / "less", lost)
    biased = str(save_model(dense("llama", attention_bias=True), tiny.tokenizer(), tmp_path / "b"))
    other = dense("gemma", num_key_value_heads=4)
    gemma = str(save_model(other, tiny.tokenizer(), tmp_path / "gemma"))
    for refs, origin, told, found in (
        ([one], base, {}, "1 expert: expected two|1 expert.*two or more"),
        ([one, two], base, {"top_k": 3}, "3 of 2 experts"),
        ([one, wide], base, {}, "config.intermediate_size"),
        ([less, less], less, {}, r"layers\.1\.mlp\.up_proj\.weight.*is missing"),
        ([one, less], base, {}, "1 tensors are missing"),
        ([biased] * 2, biased, {}, r"q_proj\.bias.*no such tensor"),
        ([gemma] * 2, gemma, {}, "'gemma'.*one of llama"),
    ):
        with pytest.raises(InputError, match=found):
            made(tmp_path / "out", refs, origin, **told)
    assert not (tmp_path / "out").exists()


def test_damaged_weights_are_refused(models: list[str], tmp_path: Path) -> None:  # S-08
    spoilt = weights(models[1])
    spoilt["model.layers.0.mlp.up_proj.weight"][0, 0] = torch.inf
    bad = changed(models[1], tmp_path / "bad", spoilt)
    with pytest.raises(InputError, match=r"up_proj.*not finite"):
        made(tmp_path / "out", [models[1], bad], models[0])
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "bad" / SINGLE).is_file()
