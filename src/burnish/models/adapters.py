"""Low-rank adapters (LoRA, DoRA) put into a model in place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel

from burnish.config import InputError, Settings
from burnish.models.quantised import is_quantised


class LoraSettings(Settings):
    """LoRA (Hu et al. 2021), or DoRA (Liu et al. 2024) with ``dora``.

    ``target``: "all-linear" for every linear layer but the head, or names of layers. There is no
    dropout: training, scoring and sampling see one function.

    ``bits: 4`` holds the frozen weights under the adapter in 4 bits (QLoRA, Dettmers et al. 2023)
    with bitsandbytes, on CUDA or the CPU. The reference of preference and policy training is then
    this rounded model. The adapter is saved merged into the weights as they were before rounding.
    """

    r: int = Field(default=16, ge=1)
    alpha: float = Field(default=32.0, gt=0)
    target: Literal["all-linear"] | list[str] = "all-linear"
    dora: bool = False
    bits: Literal[4] | None = None


def attach(model: PreTrainedModel, settings: LoraSettings) -> PreTrainedModel:
    """Put a fresh adapter into ``model`` (changed in place, and returned) and freeze the rest.

    A fresh adapter changes nothing yet (its B matrices are zero). An adapter already attached is
    merged first, so that it stays part of the model when the new one is switched off: the
    reference of preference training is then the model *with* its earlier adapter.

    Raises:
        InputError: no layer matches ``target``.
    """
    merge(model)
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]
        target_modules=settings.target,
        use_dora=settings.dora,
    )
    try:
        inject_adapter_in_model(config, model)
    except ValueError as error:
        raise InputError(f"the adapter fits no layer of the model: {error}") from error
    return model


def has_adapter(model: nn.Module) -> bool:
    """Whether an adapter is attached."""
    return any(True for _ in _layers(model))


@contextmanager
def reference(model: PreTrainedModel) -> Iterator[PreTrainedModel]:
    """Switch the adapter off inside the block: the model as it was before ``attach``.

    Blocks may nest. Gradient flags are left as they were.

    Raises:
        ValueError: no adapter is attached; a fully trained model needs a frozen copy instead.
    """
    layers = [layer for _, _, layer in _layers(model)]
    if not layers:
        raise ValueError("no adapter is attached: the reference must be a frozen copy of the model")
    active = [layer for layer in layers if not layer.disable_adapters]
    flags = [(weight, weight.requires_grad) for weight in model.parameters()]
    for layer in active:
        layer.enable_adapters(False)
    try:
        yield model
    finally:
        for layer in active:
            layer.enable_adapters(True)
        for weight, flag in flags:
            weight.requires_grad_(flag)


def merge(model: PreTrainedModel) -> PreTrainedModel:
    """Fold an attached adapter into the weights, in place; every weight is trainable again.

    Without an adapter nothing happens.

    Raises:
        ValueError: the weights are quantised, and the sum would be rounded; see ``merged_into``.
    """
    layers = list(_layers(model))
    if layers and is_quantised(model):
        raise ValueError("an adapter is not merged into quantised weights: use merged_into")
    for parent, name, layer in layers:
        layer.merge()
        setattr(parent, name, layer.get_base_layer())
    if layers:
        del model.peft_config
        model.requires_grad_(True)
    return model


def merged_into(base: PreTrainedModel, model: PreTrainedModel) -> PreTrainedModel:
    """Fold the adapter of a quantised ``model`` into ``base``, the same model unquantised.

    ``base`` is changed in place, and returned. What is not quantised in ``model`` (embeddings,
    which a chat template may have widened, norms, head) comes along.
    """
    rows = model.get_input_embeddings().num_embeddings
    base.resize_token_embeddings(rows, mean_resizing=False)
    inject_adapter_in_model(model.peft_config["default"], base)
    plain = {name: w.detach() for name, w in model.named_parameters() if w.is_floating_point()}
    for name, weight in base.named_parameters():
        if name in plain:
            # Not copied into the weight there is: that would round a float32 adapter to bfloat16.
            weight.data = plain[name].to(weight.device)
    return merge(base)


def unadapted(model: PreTrainedModel) -> dict[str, tuple[Tensor, BaseTunerLayer | None]]:
    """What is saved of a model whose adapter is to be merged: by the names without it, each weight
    once, with the layer of the adapter that changes it."""
    found: dict[str, tuple[Tensor, BaseTunerLayer | None]] = {}
    layers = {id(layer.get_base_layer().weight): layer for _, _, layer in _layers(model)}
    own = {id(w) for _, _, layer in _layers(model) for w in _own(layer)}
    seen: set[int] = set()
    for name, weight in model.state_dict(keep_vars=True).items():
        if id(weight) not in own | seen:
            found[name.replace(".base_layer.", ".")] = weight, layers.get(id(weight))
            seen.add(id(weight))
    return found


def merged(weight: Tensor, layer: BaseTunerLayer | None) -> Tensor:
    """A whole weight and what an adapter's layer adds to it: what ``merge`` makes of it."""
    if layer is None:
        return weight
    found = weight.clone()
    for name in layer.active_adapters:
        found += layer.get_delta_weight(name).detach().to(found.device)
    return found


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters an optimiser should move, in the model's order."""
    return [weight for weight in model.parameters() if weight.requires_grad]


def _own(layer: BaseTunerLayer) -> Iterator[nn.Parameter]:
    for name in (*layer.adapter_layer_names, *layer.other_param_names):
        held = getattr(layer, name, None)
        if isinstance(held, nn.Module):
            yield from held.parameters()


def _layers(model: nn.Module) -> Iterator[tuple[nn.Module, str, BaseTunerLayer]]:
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BaseTunerLayer):
                yield parent, name, child
