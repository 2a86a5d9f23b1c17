"""What is trained, the optimiser, and the one division of summed gradients."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from burnish.engine.settings import TrainSettings

EMBEDDINGS = ("embed", "wte", "wpe")
Trainable = Mapping[str, nn.Parameter]


def named_trainable(**modules: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters with ``requires_grad`` of several modules, by ``"<keyword>.<name>"``.

    Example: ``named_trainable(model=model, head=head)``. A tied weight appears once.
    """
    found: dict[str, nn.Parameter] = {}
    seen: set[int] = set()
    for prefix, module in modules.items():
        for name, parameter in module.named_parameters():
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                found[f"{prefix}.{name}"] = parameter
    return found


def decays(name: str, parameter: Tensor) -> bool:
    """Weight decay is for matrices only; norms, biases and embeddings are left out.

    Decaying an embedding shrinks the rows of rare tokens, which get no gradient to hold them.
    """
    return parameter.ndim >= 2 and not any(part in name for part in EMBEDDINGS)


def build_optimizer(trainable: Trainable, settings: TrainSettings) -> torch.optim.AdamW:
    """Fused AdamW (Loshchilov and Hutter 2019): one group that decays and one that does not."""
    with_decay = [p for name, p in trainable.items() if decays(name, p)]
    without = [p for name, p in trainable.items() if not decays(name, p)]
    groups = [
        {"params": params, "weight_decay": amount}
        for params, amount in ((with_decay, settings.weight_decay), (without, 0.0))
        if params
    ]
    return torch.optim.AdamW(
        groups,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.eps,
        fused=True,
    )


def gradient_norm(trainable: Trainable, count: float) -> Tensor:
    """The joint 2-norm of the summed gradients divided by ``count``, a scalar; 0 without any."""
    gradients = [p.grad for p in trainable.values() if p.grad is not None]
    return torch.nn.utils.get_total_norm(gradients) / count if gradients else torch.zeros(())


def step(optimizer: torch.optim.AdamW, count: float, norm: Tensor, limit: float) -> None:
    """One step on the summed gradients divided by ``count``, and scaled down to a joint norm of
    ``limit`` where ``norm``, theirs after the division, is above it.

    The optimiser's kernel divides as it reads them, which saves two passes over all gradients;
    it leaves them divided.
    """
    optimizer.grad_scale = count * (norm / limit).clamp(min=1.0)  # type: ignore[attr-defined]
    optimizer.step()


def forget_momentum(optimizer: torch.optim.AdamW) -> None:
    """Set every mean of gradients to zero; those of their squares, the scales, stay."""
    for moments in optimizer.state.values():
        moments["exp_avg"].zero_()
