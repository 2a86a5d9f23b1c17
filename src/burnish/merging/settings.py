"""How models are merged: a method by name, its numbers, and weights by parent and by layer."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from burnish.config import Settings
from burnish.merging.methods import FORMS

Method = Literal[
    "linear", "slerp", "task_arithmetic", "ties", "dare_linear", "dare_ties", "della_linear",
    "della",
]  # fmt: skip


class MergeSettings(Settings):
    """One ``method``; ``weights`` has a number for each parent, all 1 where it is left empty.

    ``linear`` is the weighted mean of the parents, ``slerp`` a point on the arc between two of
    them, as far from the first as the second's share of the weights. The others add up task
    vectors (what each parent differs in from ``model``), times ``scale``. ``ties`` keeps the
    ``density`` of largest elements of each, ``dare_*`` a random ``density`` of them, ``della*`` a
    random one that prefers large ones by up to ``spread`` either way; ``rescale`` divides what
    ``dare_*`` and ``della*`` keep by its probability. ``ties``, ``dare_ties`` and ``della`` let the
    parents elect a sign for each element. ``normalize`` divides by the weights that went in; left
    empty, as published: for ``linear``, ``ties`` and ``della``.

    ``layers`` gives other weights to tensors by a pattern of their names, such as
    ``{"model.layers.0.*": [1, 0]}``; the first that matches counts.
    """

    method: Method = "linear"
    weights: list[float] = []
    layers: dict[str, list[float]] = {}
    density: float = Field(0.5, gt=0, le=1)
    spread: float = Field(0.1, ge=0, lt=0.5)
    scale: float = 1.0
    normalize: bool | None = None
    rescale: bool = True
    vocabulary: Literal["same", "by_token"] = Field(
        "same", description="by_token lays other tokenizers' rows beside the first parent's"
    )
    dtype: Literal["float32", "bfloat16", "float16"] | None = Field(
        None, description="of the result; parents of different ones need it"
    )
    shard_bytes: int = Field(5_000_000_000, ge=1, description="a file of weights at most")

    @model_validator(mode="after")
    def _possible(self) -> MergeSettings:
        low, high = self.density - self.spread, self.density + self.spread
        if self.method.startswith("della") and (low <= 0 or high > 1):
            found = f"density {self.density} with spread {self.spread}"
            expected = "expected probabilities above 0 and at most 1"
            raise ValueError(f"{found} gives probabilities {low:g} to {high:g}: {expected}")
        for pattern, weights in {"weights": self.weights, **self.layers}.items():
            if self.divides and self.method in ("linear", "slerp") and weights and not sum(weights):
                raise ValueError(f"{pattern}: weights add up to 0 and are divided by their sum")
        return self

    @property
    def needs_base(self) -> bool:
        """Whether the method is one over task vectors."""
        return self.method in FORMS

    @property
    def divides(self) -> bool:
        """Whether sums are divided by weights."""
        if self.normalize is not None:
            return self.normalize
        return self.method not in FORMS or FORMS[self.method].normalize

    def weights_of(self, name: str, parents: int) -> list[float]:
        """The weights of a tensor's parents."""
        for pattern, weights in self.layers.items():
            if fnmatchcase(name, pattern):
                return weights
        return self.weights or [1.0] * parents


class ExpertSettings(Settings):
    """A mixture of experts: each token goes through the ``top_k`` that the router chooses.

    ``shared`` is where attention, norms and embeddings come from: the ``mean`` of the experts, or
    the ``base`` they were trained from. ``gate`` is the router at the start: ``hidden`` needs
    texts of each expert and sends to it what is like them; ``zero`` weighs alike, and of equal
    logits the first experts are taken: with ``top_k`` of all it is a uniform mixture.
    """

    top_k: PositiveInt = 2
    shared: Literal["mean", "base"] = "mean"
    gate: Literal["hidden", "random", "zero"] = "hidden"
    dtype: Literal["float32", "bfloat16", "float16"] | None = Field(
        None, description="of the result; experts of different ones need it"
    )
    shard_bytes: int = Field(5_000_000_000, ge=1, description="a file of weights at most")
