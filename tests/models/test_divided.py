"""A model that no process holds whole: loading, computing and saving it by two processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests import tiny
from tests.engine.several import torchrun
from tests.models import several
from transformers import AutoModelForCausalLM

from burnish.models import divided
from burnish.models.load import load_model
from burnish.models.save import save_model
from burnish.store import shards
from burnish.store.errors import CorruptError

ROOT = Path(__file__).parents[2]
ROWS = 269
"""Of the embeddings: not the same number for each of two processes."""


def write(folder: Path) -> None:
    words = tiny.tokenizer(extra=["<|odd|>"])
    for name in several.NAMES:
        model = tiny.model(0, vocab_size=ROWS, tie_word_embeddings=name == "tied")
        model.generation_config.max_new_tokens = 7
        save_model(model, words, folder / name)
    for name in ("renamed", "shape"):
        tiny.plain(vocab_size=ROWS).save_pretrained(folder / name)
        words.save_pretrained(folder / name)
        weights = load_file(folder / name / "model.safetensors")
        if name == "shape":
            weights["model.norm.weight"] = torch.ones(33)
        else:
            # As transformers reads it too: a backbone that was saved alone.
            weights = {key.removeprefix("model."): value for key, value in weights.items()}
        save_file(weights, folder / name / "model.safetensors", {"format": "pt"})
    for name, rows in (("fits", ROWS + 3), ("wider", len(words))):
        save_model(tiny.model(vocab_size=rows), tiny.tokenizer(None), folder / name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("divided")
    write(place)
    torchrun("tests.models.several", str(place), folder=ROOT)
    return place


@pytest.fixture(scope="module")
def both(folder: Path) -> list[dict[str, Any]]:
    """What each of the two processes found."""
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {
        name: tensor
        for path in folder.glob("model*.safetensors")
        for name, tensor in load_file(path).items()
    }


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


@pytest.mark.parametrize("name", several.NAMES)
def test_each_process_reads_and_holds_its_rows(name: str, both: list[dict[str, Any]]) -> None:
    found = [run[name] for run in both]
    assert sum(run["own"] for run in found) == found[0]["whole"]
    # The odd row of the embeddings, and of the head where it is another weight.
    assert found[0]["own"] - found[1]["own"] == 32 * (1 if name == "tied" else 2)


@pytest.mark.parametrize("name", several.NAMES)
def test_it_computes_as_the_whole_model(
    name: str, folder: Path, both: list[dict[str, Any]]
) -> None:
    # C-07, but for what threads sum in another order. Rotary angles, which no file holds, are
    # worked out anew.
    model = load_model(folder / name, divide=True).model
    assert not divided.is_divided(model)  # a process alone
    for run in both:
        torch.testing.assert_close(run[name]["logprobs"], several.logprobs(model))
        assert equal(run[name]["buffers"], dict(model.named_buffers()))


@pytest.mark.parametrize("name", several.NAMES)
def test_it_is_saved_in_files_that_transformers_reads(name: str, folder: Path) -> None:
    saved = folder / f"{name}-saved"
    assert equal(weights(saved), weights(folder / name))
    index = json.loads((saved / shards.INDEX).read_text())
    files = sorted(path.name for path in saved.glob("model-*.safetensors"))
    assert sorted(set(index["weight_map"].values())) == files
    sizes = {n: t.numel() * 4 for n, t in weights(saved).items()}
    assert index["metadata"]["total_size"] == sum(sizes.values())
    # None is larger than the largest tensor, but for its header.
    assert max((saved / file).stat().st_size for file in files) < max(sizes.values()) + 2000
    for file in ("config.json", "generation_config.json", "tokenizer.json"):
        assert (saved / file).read_text() == (folder / name / file).read_text()
    model = AutoModelForCausalLM.from_pretrained(saved)
    assert equal(
        model.state_dict(), AutoModelForCausalLM.from_pretrained(folder / name).state_dict()
    )


def test_an_adapter_over_it_is_saved_merged_bit_for_bit(
    folder: Path, both: list[dict[str, Any]], tmp_path: Path
) -> None:
    one = several.adapted(folder / "tied")
    torch.testing.assert_close(both[0]["adapted"], several.logprobs(one.model))
    assert torch.equal(both[1]["adapted"], both[0]["adapted"])
    save_model(one.model, one.tokenizer, tmp_path / "one")
    assert equal(weights(folder / "adapted"), weights(tmp_path / "one"))
    assert not equal(weights(folder / "adapted"), weights(folder / "tied"))


def test_weights_under_other_names_are_left_to_transformers(both: list[dict[str, Any]]) -> None:
    assert both[0]["renamed"] is False


def test_a_template_is_no_reason_to_load_it_whole_unless_it_needs_more_embeddings(
    both: list[dict[str, Any]],
) -> None:
    assert (both[0]["fits"], both[0]["wider"]) == (True, False)


def test_an_index_of_files_elsewhere_is_refused(tmp_path: Path) -> None:  # S-08
    index = {"weight_map": {"model.norm.weight": "../model.safetensors"}}
    (tmp_path / shards.INDEX).write_text(json.dumps(index))
    with pytest.raises(CorruptError, match="outside the folder"):
        divided.loadable(tiny.model(), tmp_path)


def test_a_weight_of_another_shape_is_named(both: list[dict[str, Any]]) -> None:
    assert both[0]["shape"] == both[1]["shape"]
    assert (
        "model.norm.weight has the shape [33] in model.safetensors, the model [32]"
        in both[0]["shape"]
    )
