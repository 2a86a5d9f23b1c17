"""What is trained, the optimiser, and the one division of summed gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from burnish.config import InputError, Problem
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
    """Fused AdamW (Loshchilov and Hutter 2019): groups by whether they decay and by ``factor``,
    what the learning rate is multiplied by (``settings.extras.rates``).

    Raises:
        InputError: a name in ``rates`` begins no trained parameter's name.
    """
    rates = settings.extras.rates
    parts: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in trainable.items():
        decay = settings.weight_decay if decays(name, parameter) else 0.0
        parts.setdefault((decay, _factor(name, rates)), []).append(parameter)
    if idle := [name for name in rates if not any(map(_begins(name), trainable))]:
        known = ", ".join(sorted({name.partition(".")[0] for name in trainable}))
        raise InputError(Problem("", None, "train.extras.rates", ", ".join(idle), known))
    return torch.optim.AdamW(
        [
            {"params": parts[key], "weight_decay": key[0], "factor": key[1]}
            for key in sorted(parts, reverse=True)
        ],
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.eps,
        fused=True,
    )


def _begins(prefix: str) -> Callable[[str], bool]:
    return lambda name: name == prefix or name.startswith(prefix + ".")


def _factor(name: str, rates: Mapping[str, float]) -> float:
    """That of the longest beginning of the name; 1 where there is none."""
    own = [prefix for prefix in rates if _begins(prefix)(name)]
    return rates[max(own, key=len)] if own else 1.0


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
