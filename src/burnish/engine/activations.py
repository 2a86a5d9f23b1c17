"""Activation checkpointing: layers computed again in the backward pass instead of kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from transformers import PreTrainedModel

from burnish.config import InputError

RANDOM = ("drop", "jitter")


@contextmanager
def recomputed(model: nn.Module, wanted: bool) -> Iterator[None]:
    """Inside the block, a transformers model in train mode keeps only each layer's input.

    Gradients are the same: random state is put back for the second computation. A model that
    already does so is left as it is.

    Raises:
        InputError: the model cannot.
    """
    if not wanted:
        yield
        return
    if not (isinstance(model, PreTrainedModel) and model.supports_gradient_checkpointing):
        raise InputError(
            f"checkpoint_activations: {type(model).__name__} has no layers to compute again"
        )
    if model.is_activation_checkpointing:
        yield
        return
    model.activation_checkpointing_enable(
        activation_checkpointing_kwargs={"use_reentrant": False, "preserve_rng_state": True}
    )
    try:
        yield
    finally:
        model.activation_checkpointing_disable()
        # Switching on put a hook on the embeddings that switching off leaves there.
        model.disable_input_require_grads()


def train_mode(model: nn.Module, dropout: bool, recompute: bool) -> bool:
    """The mode to train in: with ``dropout``, or with layers to compute again.

    transformers computes layers again in train mode only. A model in which nothing is random says
    the same in either mode, so that it may be in train mode where dropout must be off.

    Raises:
        InputError: layers are to be computed again, dropout must be off, and the model has some.
    """
    if dropout or not recompute:
        return dropout
    found = random_parts(model)
    if found:
        raise InputError(
            "checkpoint_activations does not go with this stage, which needs dropout off, and the "
            f"model has {', '.join(found)}; set it to 0 in the model's config.json"
        )
    return True


def random_parts(model: nn.Module) -> list[str]:
    """What makes the model random in train mode: dropout layers, and settings of its config."""
    layers = {
        f"a {type(module).__name__} layer"
        for module in model.modules()
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
    }
    config = model.config.get_text_config().to_dict() if isinstance(model, PreTrainedModel) else {}
    settings = [
        f"{name} {value}"
        for name, value in config.items()
        if any(part in name for part in RANDOM) and isinstance(value, float) and value > 0
    ]
    return [*sorted(layers), *settings]
