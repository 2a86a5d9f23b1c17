"""A mixture of experts made of dense models of one ancestor, a few megabytes of a tensor at a time.

The feed-forward layers of each model become an expert; what is left (attention, norms, embeddings)
there is once, averaged or taken from the ancestor, and a router chooses for each token. Sukhbaatar
et al. 2024, Branch-Train-MiX (arXiv 2403.07816), section 2; with copies of one model it is the
sparse upcycling of Komatsuzaki et al. 2022 (arXiv 2212.05055).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from burnish.config import InputError, Problem
from burnish.merging.layouts import Forward, Layout, divide, layout_of, specs_of
from burnish.merging.merge import merged, write
from burnish.merging.parents import Parent, alike, open_parent
from burnish.merging.settings import ExpertSettings, MergeSettings

Gates = Sequence[Tensor]
"""The router's weights of each layer, ``[E, D]``."""


@dataclass(frozen=True)
class Experts:
    """Models that fit together as the experts of one: checked, their weights not read yet.

    ``shared`` are the names of the tensors outside the feed-forward layers.
    """

    models: Sequence[Parent]
    origin: Parent
    layout: Layout
    config: Any
    forward: Forward
    shared: set[str]

    @property
    def count(self) -> int:
        """How many experts there are."""
        return len(self.models)


def open_experts(refs: Sequence[str], base: str, settings: ExpertSettings) -> Experts:
    """Open models, or adapters over ``base``, and see whether they make a mixture.

    Raises:
        InputError: fewer than two, fewer than ``top_k``, of different shapes, of a family without
            an architecture for it, or with tensors that are missing or have no place there.
        CorruptError: weights are damaged.
    """
    if len(refs) < 2:
        raise InputError(Problem("", None, "parents", f"{len(refs)} expert", "two or more"))
    if settings.top_k > len(refs):
        found = f"{settings.top_k} of {len(refs)} experts"
        raise InputError(Problem("", None, "top_k", found, f"at most {len(refs)}"))
    opened = [open_parent(ref, base) for ref in refs] + [open_parent(base)]
    layout = layout_of(opened[0])
    *models, origin = alike(opened, False, settings.dtype is not None)
    config = layout.config(origin.config, len(models), settings.top_k)
    forward, shared = divide(models[0], layout, config)
    return Experts(models, origin, layout, config, forward, shared)


def assemble(
    experts: Experts,
    gates: Gates,
    settings: ExpertSettings,
    output: Path | str,
    *,
    card: str | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> None:
    """Write the mixture as a model folder, sealed with a manifest; it appears whole or not at all.

    Args:
        gates: of each layer, ``[E, D]``.
        card: text of the model card.
        advance: told how many numbers were written.

    Raises:
        InputError: weights that are not finite.
        StorageError: the disk is full or there is no permission; nothing is left behind.
    """
    first = experts.models[0]
    plain = specs_of(first, experts.layout, experts.forward, experts.count)
    sources = _sources(experts, gates, settings)
    write(
        output, first, experts.config, plain, lambda name: sources[name](), settings, card, advance
    )


def _sources(
    experts: Experts, gates: Gates, settings: ExpertSettings
) -> dict[str, Callable[[], Iterator[Tensor]]]:
    """Where the numbers of each tensor come from."""
    mean, layout = MergeSettings(), experts.layout

    def copied(name: str, models: Sequence[Parent]) -> Callable[[], Iterator[Tensor]]:
        return lambda: merged(name, models, None, mean, 0)

    several = experts.models if settings.shared == "mean" else [experts.origin]
    found = {name: copied(name, several) for name in experts.shared}
    for name, (layer, part) in experts.forward.items():
        for number, model in enumerate(experts.models):
            found[layout.expert(layer, number, part)] = copied(name, [model])
    for layer, gate in enumerate(gates):
        found[layout.gate(layer)] = lambda gate=gate: iter([gate])  # type: ignore[misc]
        for name, shape in layout.zeros(layer, gate.shape[1]).items():
            found[name] = lambda shape=shape: iter([torch.zeros(shape)])  # type: ignore[misc]
    return found
