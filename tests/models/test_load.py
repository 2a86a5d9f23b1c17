from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tests import tiny
from torch import nn

from burnish.config import InputError
from burnish.models.adapters import LoraSettings, attach, has_adapter
from burnish.models.forward import token_logprobs
from burnish.models.heads import ScalarHead
from burnish.models.load import load_model, load_tokenizer, pick_device, save_model
from burnish.store.errors import CorruptError
from burnish.text.batches import Segment, pack
from burnish.text.templates import encode, end_tokens

BATCH = pack([Segment([1, 70, 71, 72, 2], [True] * 5)])


def test_a_model_survives_its_folder(tmp_path: Path) -> None:
    model, tokenizer = tiny.model(), tiny.tokenizer()
    head = ScalarHead(32, std=1.0)
    folder = save_model(model, tokenizer, tmp_path / "m", "# card", head)
    loaded = load_model(folder, device="cpu")
    assert loaded.path == folder
    assert loaded.ref == str(folder)
    assert not loaded.model.training
    assert loaded.model.dtype == torch.float32
    expected = token_logprobs(model, BATCH).logprobs
    assert torch.equal(token_logprobs(loaded.model, BATCH).logprobs, expected)
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert encode(loaded.tokenizer, messages) == encode(tokenizer, messages)
    assert torch.equal(ScalarHead.load(folder).linear.weight, head.linear.weight)
    assert (folder / "README.md").read_text() == "# card"
    assert {"model.safetensors", "manifest.json"} <= {p.name for p in folder.iterdir()}
    save_model(tiny.model(seed=1), tokenizer, folder)  # replaces the whole folder
    assert not (folder / "README.md").exists()


def test_saving_merges_an_adapter_and_leaves_the_model_alone(tmp_path: Path) -> None:
    model = attach(tiny.model(), LoraSettings(r=2))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(weight, std=0.1)
    save_model(model, tiny.tokenizer(), tmp_path / "m")
    assert has_adapter(model)
    again = load_model(tmp_path / "m", device="cpu").model
    assert not has_adapter(again)
    expected = token_logprobs(model, BATCH).logprobs
    torch.testing.assert_close(token_logprobs(again, BATCH).logprobs, expected, atol=1e-5, rtol=0)


def test_a_damaged_folder_is_noticed(tmp_path: Path) -> None:
    folder = save_model(tiny.model(), tiny.tokenizer(), tmp_path / "m")
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CorruptError, match=r"model\.safetensors"):
        load_model(folder, device="cpu")


def unsealed(tmp_path: Path, **changes: object) -> Path:
    """A model folder without manifest whose config.json is changed."""
    folder = tmp_path / "m"
    tiny.model().save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


@pytest.mark.parametrize("kind", ["llama", "my_own_kind"])
def test_code_in_a_model_folder_is_never_run(tmp_path: Path, kind: str) -> None:
    """S-03: with a known architecture the code is ignored, with an unknown one refused."""
    auto_map = {
        "AutoConfig": "evil.Config",
        "AutoModelForCausalLM": "evil.Model",
        "AutoTokenizer": ["evil.Tokenizer", "evil.Tokenizer"],
    }
    folder = unsealed(tmp_path, auto_map=auto_map, model_type=kind, surprise={"x": 1})
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["auto_map"] = auto_map
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    canary = tmp_path / "canary"
    (folder / "evil.py").write_text(f"open({str(canary)!r}, 'w').close()\n")
    if kind == "llama":
        assert load_model(folder, device="cpu").model.config.model_type == "llama"
    else:
        with pytest.raises(InputError, match="cannot be loaded"):
            load_model(folder, device="cpu")
    assert not canary.exists()


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder = unsealed(tmp_path)
    weights = tiny.model().state_dict()
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="safetensors"):
        load_model(folder, device="cpu")


def test_dropout_is_off_even_in_train_mode(tmp_path: Path) -> None:
    """C-10: a model whose config asks for dropout .5 gives the same scores twice, ratio 1."""
    folder = save_model(tiny.model(attention_dropout=0.5), tiny.tokenizer(), tmp_path / "m")
    plain = tiny.model(attention_dropout=0.5).train()
    first, second = (token_logprobs(plain, BATCH).logprobs for _ in range(2))
    assert not torch.equal(first, second)  # negative control
    model = load_model(folder, device="cpu").model
    old = token_logprobs(model, BATCH).logprobs
    new = token_logprobs(model.train(), BATCH).logprobs
    assert torch.equal((new - old).exp(), torch.ones_like(old))


@pytest.mark.parametrize(
    ("ref", "match"),
    [
        ("./no/such", "no such model folder"),
        ("nowhere", "no such model folder"),
        (Path("nowhere/else"), "no such model folder"),
    ],
)
def test_missing_models(ref: str | Path, match: str) -> None:
    with pytest.raises(InputError, match=match):
        load_model(ref)


def test_folders_that_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no config\.json"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="model_type"):
        load_model(tmp_path)


def test_an_unreachable_hub_is_an_input_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="cannot be fetched from the hub"):
        load_model("burnish-tests/no-such-model")


def test_a_fallback_template_brings_its_tokens(tmp_path: Path) -> None:
    folder = save_model(tiny.model(), tiny.tokenizer(None), tmp_path / "m")
    loaded = load_model(folder, device="cpu", template="chatml")
    tokenizer = loaded.tokenizer
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert end_tokens(tokenizer) == {2, end}
    assert loaded.model.get_input_embeddings().num_embeddings == len(tokenizer)
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    encoded = encode(tokenizer, messages)
    assert encoded.tokens[-1] == end
    batch = pack([Segment(encoded.tokens, encoded.mask)])
    assert token_logprobs(loaded.model, batch).logprobs.isfinite().all()


def test_devices() -> None:
    assert pick_device("cpu").type == "cpu"
    with pytest.raises(InputError, match="no device is called"):
        pick_device("abacus")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="no CUDA"):
            pick_device("cuda")


def test_the_shipped_model_loads() -> None:
    tokenizer = load_tokenizer("burnish-tiny")
    assert end_tokens(tokenizer) == {tokenizer.eos_token_id}
    model = load_model("burnish-tiny", device="cpu").model
    assert 1e6 < sum(weight.numel() for weight in model.parameters()) < 3e6


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    small = tiny.model(vocab_size=len(tiny.tokenizer()) - 10)
    folder = save_model(small, tiny.tokenizer(), tmp_path / "m")
    with pytest.raises(InputError, match="tokenizer has 268 tokens, the model 258 embeddings"):
        load_model(folder, device="cpu")
    # Added tokens without an embedding are harmless: no text becomes one.
    more = tiny.tokenizer()
    more.add_special_tokens({"additional_special_tokens": ["<|image|>"]})
    assert load_model(save_model(tiny.model(), more, tmp_path / "n"), device="cpu")
