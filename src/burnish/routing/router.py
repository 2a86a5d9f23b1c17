"""A router: how well each model will answer a prompt, foretold, and which one is to be asked.

For every model a logistic regression on the prompt's embedding foretells its score. Of the models
foretold to be no more than ``margin`` below the best, the cheapest is asked: with 0 quality alone
counts, with 1 price alone. Foretelling each model's quality, not the winner, lets the trade-off be
chosen after training, as in Ding et al. 2024 (arXiv 2404.14618) and Ong et al. 2024 (RouteLLM,
arXiv 2406.18665), who do so for two models.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from pydantic import Field, PositiveFloat, ValidationError

from burnish.config import InputError, Problem, Settings
from burnish.config.optional import needed
from burnish.routing.evidence import Array, Evidence
from burnish.selection.embed import (
    HASHED,
    Counts,
    EmbedSettings,
    Encoder,
    Vectors,
    encoder,
    rows,
    term_counts,
)
from burnish.store import atomic, manifest
from burnish.store.errors import CorruptError
from burnish.store.tensors import read_tensors, write_tensors

SETTINGS, WEIGHTS = "router.json", "router.safetensors"
_LEAST = 0.5


class RouterSettings(Settings):
    """How a router is trained and what it prefers.

    ``strength`` is the inverse of the regularisation (scikit-learn's ``C``). ``margin`` is how much
    of the foretold score may be given up for a cheaper model. ``heldout`` of the prompts are for
    measuring it.
    """

    embed: EmbedSettings = EmbedSettings()
    strength: PositiveFloat = 10.0
    margin: float = Field(0.0, ge=0, le=1)
    heldout: float = Field(0.3, gt=0, lt=1)


class _Stored(Settings):
    """What ``router.json`` holds."""

    models: list[str] = Field(min_length=2)
    costs: list[float]
    texts: int
    settings: RouterSettings


@dataclass(frozen=True)
class Router:
    """A trained router.

    ``costs [M]`` are the models' mean costs of a reply, by which they are ordered; ``weights
    [M, D]`` and ``bias [M]`` foretell scores. ``counts`` and ``texts`` are what the hashed
    encoder knows of the training prompts; empty for a sentence encoder.
    """

    models: tuple[str, ...]
    costs: Array
    weights: Array
    bias: Array
    counts: Counts
    texts: int
    settings: RouterSettings

    @cached_property
    def encoder(self) -> Encoder:
        """What turns prompts into vectors."""
        return encoder(self.settings.embed, self.counts if len(self.counts) else None, self.texts)

    def foretell(self, texts: Sequence[str]) -> Array:
        """Each model's score on each prompt, ``[n, M]``."""
        logits = rows(texts, self.encoder) @ self.weights.T + self.bias
        found: Array = 1 / (1 + np.exp(-logits))
        return found

    def choose(self, foretold: Array, margin: float | None = None) -> list[int]:
        """The place of the model to ask for each row of ``foretold [n, M]``; of equally cheap ones
        the better."""
        allowed = self.settings.margin if margin is None else margin
        near = foretold >= foretold.max(axis=1, keepdims=True) - allowed
        dear = np.where(near, self.costs, np.inf)
        tied = dear == dear.min(axis=1, keepdims=True)
        found: list[int] = np.where(tied, foretold, -1.0).argmax(axis=1).tolist()
        return found

    def __call__(self, text: str) -> str:
        """The name of the model to ask."""
        return self.models[self.choose(self.foretell([text]))[0]]


def train(evidence: Evidence, settings: RouterSettings) -> Router:
    """Fit a router to all of ``evidence``.

    Raises:
        InputError: scikit-learn or the encoder is not installed.
    """
    needed("data", "sklearn")
    hashed = settings.embed.encoder == HASHED
    counts = term_counts(evidence.texts) if hashed else np.zeros(0, np.int64)
    told = encoder(settings.embed, counts if hashed else None, len(evidence.texts))
    vectors = rows(evidence.texts, told)
    fitted = [_fitted(vectors, scores, settings.strength) for scores in evidence.scores.T]
    return Router(
        evidence.models, evidence.costs.mean(axis=0), np.stack([w for w, _ in fitted]),
        np.array([b for _, b in fitted]), counts, len(evidence.texts), settings,
    )  # fmt: skip


def _fitted(vectors: Vectors, scores: Array, strength: float) -> tuple[Array, float]:
    """Weights ``[D]`` and bias of one model; a score between 0 and 1 is that share of a success."""
    from sklearn.linear_model import LogisticRegression

    if scores.min() == scores.max():
        # One outcome for all prompts: nothing to tell apart, but neither is it certain.
        rate = (scores.sum() + _LEAST) / (len(scores) + 2 * _LEAST)
        return np.zeros(vectors.shape[1]), float(np.log(rate / (1 - rate)))
    count = len(scores)
    model = LogisticRegression(C=strength, max_iter=1000)
    model.fit(np.concatenate([vectors, vectors]), [1] * count + [0] * count,
              sample_weight=np.concatenate([scores, 1 - scores]))  # fmt: skip
    return np.asarray(model.coef_[0], np.float64), float(model.intercept_[0])


def write(router: Router, folder: Path) -> None:
    """Write a router's files; call it inside ``atomic.new_folder`` and seal that."""
    stored = _Stored(models=list(router.models), costs=router.costs.tolist(), texts=router.texts,
                     settings=router.settings)  # fmt: skip
    atomic.write_json(folder / SETTINGS, stored.model_dump(mode="json"))
    tensors = {"weights": router.weights, "bias": router.bias, "counts": router.counts}
    write_tensors(folder / WEIGHTS, {name: torch.from_numpy(v) for name, v in tensors.items()})


def read(folder: Path) -> Router:
    """Read what ``write`` wrote.

    Raises:
        InputError: the folder is no router.
        CorruptError: its files are damaged.
    """
    path = folder / SETTINGS
    if not path.is_file():
        expected = "a folder that burnish route train wrote"
        raise InputError(Problem(str(folder), None, "", "is no router", expected))
    manifest.verify(folder)
    tensors = {name: tensor.numpy() for name, tensor in read_tensors(folder / WEIGHTS).items()}
    try:
        stored = _Stored.model_validate(json.loads(path.read_text(encoding="utf-8")))
        router = Router(
            tuple(stored.models), np.array(stored.costs), tensors["weights"], tensors["bias"],
            tensors["counts"], stored.texts, stored.settings,
        )  # fmt: skip
    except (ValueError, KeyError, ValidationError) as error:
        raise CorruptError(path, f"is no router's ({str(error).splitlines()[0]})") from None
    if not len(router.costs) == len(router.weights) == len(router.bias) == len(router.models):
        raise CorruptError(path, "has not one of each for every model")
    return router
