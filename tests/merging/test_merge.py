from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests import tiny
from transformers import AutoModelForCausalLM

from burnish.config import InputError
from burnish.merging import merge as streamed
from burnish.merging.merge import merge
from burnish.merging.settings import MergeSettings
from burnish.models.load import load_model, save_model
from burnish.store import atomic, manifest
from burnish.store.errors import CorruptError, StorageError
from burnish.store.shards import SINGLE

Tensors = dict[str, torch.Tensor]
METHODS = ["linear", "slerp", "task_arithmetic", "ties", "dare_linear", "dare_ties",
           "della_linear", "della"]  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A base and two models near it."""
    folder = tmp_path_factory.mktemp("models")
    folders = []
    for place, name in enumerate(("base", "one", "two")):
        model = tiny.model()
        noise = torch.Generator().manual_seed(place)
        with torch.no_grad():
            for weight in model.parameters() if place else ():
                weight.add_(0.1 * torch.randn(weight.shape, generator=noise))
        folders.append(str(save_model(model, tiny.tokenizer(), folder / name)))
    return folders


def changed(folder: str, target: Path, tensors: Tensors | None = None, **config: object) -> str:
    """A copy of a model with other tensors or settings."""
    target.mkdir()
    for path in Path(folder).iterdir():
        if path.name != manifest.MANIFEST:
            (target / path.name).write_bytes(path.read_bytes())
    if tensors is not None:
        save_file(tensors, target / SINGLE, metadata={"format": "pt"})
    written = json.loads((target / "config.json").read_text()) | config
    (target / "config.json").write_text(json.dumps(written))
    return str(target)


def weights(folder: str | Path) -> Tensors:
    return load_file(Path(folder) / SINGLE)


@pytest.mark.parametrize("method", METHODS)
def test_pieces_do_not_change_the_result(
    models: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    settings = MergeSettings.model_validate({"method": method, "weights": [0.7, 0.4]})
    base, *parents = models
    merge(parents, base, settings, tmp_path / "whole", seed=5)
    monkeypatch.setattr(streamed, "PIECE", 100)
    merge(parents, base, settings, tmp_path / "pieces", seed=5)
    whole, pieces = weights(tmp_path / "whole"), weights(tmp_path / "pieces")
    assert whole.keys() == weights(base).keys()
    for name, tensor in whole.items():
        assert tensor.allclose(pieces[name], atol=1e-6), name
    assert not whole["model.norm.weight"].equal(weights(base)["model.norm.weight"])
    manifest.verify(tmp_path / "whole")
    assert load_model(tmp_path / "whole").model.config.tie_word_embeddings


@pytest.mark.parametrize("method", METHODS)
def test_models_that_are_the_same_stay(models: list[str], tmp_path: Path, method: str) -> None:
    own = {"density": 1.0, "spread": 0.0, "normalize": True}
    own = {} if method in ("linear", "slerp") else own
    merge([models[1], models[1]], models[0],
          MergeSettings.model_validate({"method": method, **own}), tmp_path / "out")  # fmt: skip
    for name, tensor in weights(tmp_path / "out").items():
        assert tensor.allclose(weights(models[1])[name], atol=1e-6), name


def test_task_vector_there_and_back(models: list[str], tmp_path: Path) -> None:  # C-31
    base, one, _ = models
    settings = MergeSettings(method="task_arithmetic", weights=[1, -1])
    merge([one, one], base, settings, tmp_path / "out")
    for name, tensor in weights(tmp_path / "out").items():
        assert tensor.equal(weights(base)[name]), name


def test_random_choices_depend_on_the_seed_alone(models: list[str], tmp_path: Path) -> None:
    base, *parents = models
    settings = MergeSettings(method="dare_ties", density=0.5)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        merge(parents, base, settings, tmp_path / name, seed=seed)
    found = [(tmp_path / name / SINGLE).read_bytes() for name in "abc"]
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_weights_by_layer(models: list[str], tmp_path: Path) -> None:
    _, one, two = models
    layers = {"model.layers.0.*": [1.0, 0.0], "*.norm.*": [0.0, 1.0]}
    settings = MergeSettings(weights=[1, 1], layers=layers)
    merge([one, two], None, settings, tmp_path / "out")
    for name, tensor in weights(tmp_path / "out").items():
        mine, theirs = weights(one)[name], weights(two)[name]
        if name.startswith("model.layers.0."):
            assert tensor.equal(mine), name
        elif ".norm." in name:
            assert tensor.equal(theirs), name
        else:
            assert tensor.allclose((mine + theirs) / 2, atol=1e-7), name


def test_dtype_and_shards(models: list[str], tmp_path: Path) -> None:
    settings = MergeSettings(dtype="bfloat16", shard_bytes=20_000)
    merge(models[1:], None, settings, tmp_path / "out")
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) > 1
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    one, two = (weights(folder)["model.norm.weight"] for folder in models[1:])
    expected = (one + two) / 2
    assert model.dtype == torch.bfloat16
    assert model.model.norm.weight.equal(expected.bfloat16())


def test_tied_with_untied_is_untied(models: list[str], tmp_path: Path) -> None:  # C-33
    loose = tiny.model(seed=4, tie_word_embeddings=False)
    other = str(save_model(loose, tiny.tokenizer(), tmp_path / "loose"))
    merge([models[0], other], None, MergeSettings(), tmp_path / "out")
    made, first = weights(tmp_path / "out"), weights(models[0])
    embeddings = first["model.embed_tokens.weight"]
    head = (embeddings + loose.lm_head.weight.detach()) / 2
    assert made["lm_head.weight"].allclose(head, atol=1e-7)
    assert not made["lm_head.weight"].equal(made["model.embed_tokens.weight"])
    model = load_model(tmp_path / "out").model
    assert not model.config.tie_word_embeddings
    assert model.get_output_embeddings().weight.equal(made["lm_head.weight"])


def test_other_tokenizers_are_refused_or_laid_beside(models: list[str], tmp_path: Path) -> None:
    words = tiny.tokenizer(extra=["<|tool|>"])
    wider = tiny.model(seed=0, vocab_size=len(words))
    other = str(save_model(wider, words, tmp_path / "wider"))
    found = r"another tokenizer.*1 tokens more \(such as '<\|tool\|>'\)"
    with pytest.raises(InputError, match=found):
        merge([models[1], other], None, MergeSettings(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    settings = MergeSettings(vocabulary="by_token", weights=[0, 1])
    merge([models[1], other], None, settings, tmp_path / "narrow")
    rows = weights(tmp_path / "narrow")["model.embed_tokens.weight"]
    assert rows.equal(weights(other)["model.embed_tokens.weight"][: len(tiny.tokenizer())])
    merge([other, models[1]], None, settings, tmp_path / "wide")
    rows = weights(tmp_path / "wide")["model.embed_tokens.weight"]
    mine = weights(models[1])["model.embed_tokens.weight"]
    assert rows[:-1].equal(mine)
    assert rows[-1].equal(weights(other)["model.embed_tokens.weight"][-1])


def test_what_does_not_fit_is_named(models: list[str], tmp_path: Path) -> None:
    base, one, _ = models
    heads = changed(one, tmp_path / "heads", num_attention_heads=8, head_dim=8)
    half = changed(one, tmp_path / "half", {n: t.half() for n, t in weights(one).items()})
    fewer = {n: t for n, t in weights(one).items() if n != "model.norm.weight"}
    lost = changed(one, tmp_path / "lost", fewer)
    cut = weights(one) | {"model.norm.weight": torch.ones(7)}
    shape = changed(one, tmp_path / "shape", cut)
    for other, found in (
        (heads, "config.num_attention_heads"),
        (half, "dtype torch.float16"),
        (lost, "1 tensors are missing.*model.norm.weight"),
        (shape, r"model.norm.weight.*\[7\]"),
    ):
        with pytest.raises(InputError, match=found) as error:
            merge([one, other], base, MergeSettings(), tmp_path / "out")
        assert other in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "base", "found"),
    [
        ({"method": "ties"}, None, "ties has none"),
        ({"weights": [1]}, None, "one for each of 2 parents"),
        ({"layers": {"nothing.*": [1, 1]}}, None, "matches no tensor"),
        ({"layers": {"*": [1]}}, None, "one for each of 2 parents"),
    ],
)
def test_bad_settings(
    models: list[str], tmp_path: Path, settings: dict[str, object], base: str | None, found: str
) -> None:
    with pytest.raises(InputError, match=found):
        merge(models[1:], base, MergeSettings.model_validate(settings), tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"method": "della", "density": 0.1, "spread": 0.2}, "expected probabilities"),
        ({"weights": [1, -1]}, "add up to 0"),
        ({"method": "slerp", "layers": {"*": [0, 0]}}, "add up to 0"),
        ({"method": "mean"}, "method"),
    ],
)
def test_impossible_settings(settings: dict[str, object], found: str) -> None:
    with pytest.raises(ValueError, match=found):
        MergeSettings.model_validate(settings)


def test_three_models_have_no_arc(models: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="3 for slerp"):
        merge(models, None, MergeSettings(method="slerp"), tmp_path / "out")


def test_numbers_that_are_not_finite(models: list[str], tmp_path: Path) -> None:
    spoilt = weights(models[1])
    spoilt["model.norm.weight"][3] = torch.nan
    other = changed(models[1], tmp_path / "nan", spoilt)
    with pytest.raises(InputError, match=r"model\.norm\.weight.*not finite"):
        merge([models[0], other], None, MergeSettings(), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["nan"]


def test_a_flipped_byte_is_noticed(models: list[str], tmp_path: Path) -> None:
    folder = save_model(tiny.model(seed=9), tiny.tokenizer(), tmp_path / "model")
    data = bytearray((folder / SINGLE).read_bytes())
    data[-5] ^= 1
    (folder / SINGLE).write_bytes(data)
    with pytest.raises(CorruptError, match="sha256"):
        merge([models[0], str(folder)], None, MergeSettings(), tmp_path / "out")


def test_code_in_a_model_folder_is_not_run(models: list[str], tmp_path: Path) -> None:  # S-03
    canary = tmp_path / "canary"
    code = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    folder = changed(models[1], tmp_path / "hostile", model_type="hostile", auto_map=code)
    (Path(folder) / "evil.py").write_text(f"open({str(canary)!r}, 'w')")
    with pytest.raises(InputError, match="cannot be loaded"):
        merge([folder, models[1]], None, MergeSettings(), tmp_path / "out")
    assert not canary.exists()


def test_a_killed_merge_leaves_old_or_new(models: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    merge([models[0]], None, MergeSettings(), out)
    before = manifest.content_fingerprint(out)
    merge(models[1:], None, MergeSettings(), tmp_path / "new")
    after = manifest.content_fingerprint(tmp_path / "new")
    seen = set()
    for last in range(1, 60, 6):
        child = os.fork()
        if child == 0:
            _merge_and_die(models, out, last)
        _, status = os.waitpid(child, 0)
        atomic.sweep(tmp_path)
        manifest.verify(out)
        seen.add(manifest.content_fingerprint(out))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "out"]
        if os.WIFEXITED(status):
            break
    assert os.WIFEXITED(status)
    assert seen == {before, after}


def _merge_and_die(models: list[str], out: Path, last: int) -> None:
    torch.set_num_threads(1)
    calls = iter(range(1, 1000))

    def kill(_name: str) -> None:
        if next(calls) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    atomic.fault_point = kill
    try:
        merge(models[1:], None, MergeSettings(), out)
    except BaseException:
        os._exit(1)
    os._exit(0)


def test_a_full_disk_leaves_nothing(
    models: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(name: str) -> None:
        if name == "write tensors":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "fault_point", full)
    with pytest.raises(StorageError, match="disk is full"):
        merge(models[1:], None, MergeSettings(), tmp_path / "out")
    assert not list(tmp_path.iterdir())
