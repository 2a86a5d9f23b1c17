"""A model with fewer layers: a student cut from its teacher."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel

from burnish.config import InputError, Problem


def keep_layers(model: PreTrainedModel, count: int) -> PreTrainedModel:
    """Keep ``count`` layers, spread evenly from the first to the last (in place, and returned).

    The weights that stay are the model's own: what distillation starts from (Sanh et al. 2019,
    arXiv 1910.01108, section 3). Embeddings, last norm and head stay as they are.

    Raises:
        InputError: the model has fewer layers, or none that are known.
    """
    config = model.config.get_text_config()
    total = int(config.num_hidden_layers)
    if count > total:
        found = f"{count}, but the model has {total} layers"
        raise InputError(Problem("", None, "depth", found, f"at most {total}"))
    places = chosen(total, count)
    name, layers = _layers(model, total)
    kept = nn.ModuleList([layers[place] for place in places])
    setattr(model.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2], kept)
    for number, layer in enumerate(kept):
        for part in layer.modules():
            if hasattr(part, "layer_idx"):
                setattr(part, "layer_idx", number)  # noqa: B010 its place in the key-value cache
    config.num_hidden_layers = count
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[place] for place in places]
    return model


def chosen(total: int, count: int) -> list[int]:
    """Which of ``total`` layers are kept: the first and the last, and others evenly between."""
    if count == 1:
        return [0]
    return [round(place * (total - 1) / (count - 1)) for place in range(count)]


def _layers(model: PreTrainedModel, total: int) -> tuple[str, nn.ModuleList]:
    found = [
        (name, part)
        for name, part in model.named_modules()
        if isinstance(part, nn.ModuleList) and len(part) == total
    ]
    if not found:
        kind = model.config.model_type
        raise InputError(
            Problem("", None, "depth", f"no list of layers in a model of type {kind!r}")
        )
    return found[0]
