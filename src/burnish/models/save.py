"""Writing a model folder that transformers, and burnish, can read."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from burnish.config import process
from burnish.models import divided
from burnish.models.adapters import has_adapter, merge
from burnish.models.heads import ScalarHead
from burnish.store import atomic, manifest


def save_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path | str,
    card: str | None = None,
    head: ScalarHead | None = None,
) -> Path:
    """Write weights (safetensors), tokenizer, model card and head, sealed with a manifest.

    The folder appears whole or not at all; an existing one is replaced. A model with an adapter is
    saved with the adapter merged; the model in memory stays as it is (this takes a copy of it, but
    of a divided one). Of several processes only the first writes; with a divided model all of them
    must call this.

    Args:
        card: text of the model card, written as ``README.md``.
        head: a reward model's or critic's head.

    Raises:
        StorageError: the disk is full or there is no permission.
    """
    if process.rank() > 0:
        if divided.is_divided(model):
            divided.write(model, None)
        return Path(folder)
    with atomic.new_folder(folder, replace=True) as fresh:
        write_model(model, tokenizer, fresh, card, head)
        manifest.seal(fresh)
    return Path(folder)


def write_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    card: str | None = None,
    head: ScalarHead | None = None,
) -> None:
    """What ``save_model`` writes, into a folder that the caller makes and seals."""
    if divided.is_divided(model):
        divided.write(model, folder)
    else:
        plain = merge(deepcopy(model)) if has_adapter(model) else model
        plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if card is not None:
        (folder / "README.md").write_text(card, encoding="utf-8")
    if head is not None:
        head.save(folder)
