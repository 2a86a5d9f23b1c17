"""The routers of a mixture of experts: found in a model, and what they say heard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

LOGITS = "router_logits"


def routers(model: PreTrainedModel) -> dict[str, nn.Module]:
    """The routers of a model by name, in the order of its layers; none in a dense one.

    They are what transformers itself calls by that name where it gives out router logits.
    """
    found = _recorder(model)
    if found is None:
        return {}
    kind = found.target_class
    return {name: part for name, part in model.named_modules() if isinstance(part, kind)}


def chosen_at_once(model: PreTrainedModel) -> int:
    """How many experts each token goes through."""
    return int(model.config.get_text_config().num_experts_per_tok)


def weighs_to_one(model: PreTrainedModel) -> bool:
    """Whether the weights of the chosen experts are divided by their sum."""
    config = model.config.get_text_config()
    return bool(getattr(config, "norm_topk_prob", config.model_type == "mixtral"))


@contextmanager
def heard(model: PreTrainedModel) -> Iterator[list[Tensor]]:
    """Inside, a forward pass appends each layer's router logits ``[T, E]``, with their gradients.

    What a layer computes again in backward is heard only outside of the block, so not at all.
    """
    recorder, logits = _recorder(model), list[Tensor]()

    def told(_module: nn.Module, _given: Any, output: Any) -> None:
        logits.append(output[recorder.index] if isinstance(output, tuple) else output)

    handles = [part.register_forward_hook(told) for part in routers(model).values()]
    try:
        yield logits
    finally:
        for handle in handles:
            handle.remove()


def _recorder(model: PreTrainedModel) -> Any:
    recorded = getattr(model.base_model, "_can_record_outputs", None) or {}
    return recorded.get(LOGITS)


def belongs(model: PreTrainedModel, experts: bool) -> Callable[[str], bool]:
    """Tells of a parameter's name whether it is a router's, or with ``experts`` in a layer of
    experts (a router's own, each expert's, a shared expert's)."""
    names = list(routers(model))
    places = [name.rpartition(".")[0] if experts else name for name in names]
    return lambda name: any(name.startswith(f"{place}.") for place in places)
