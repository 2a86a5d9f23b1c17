"""Models merged into a new folder, a few megabytes of each tensor at a time."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from burnish.config import InputError, Problem
from burnish.merging import methods
from burnish.merging.methods import FORMS
from burnish.merging.parents import Parent, alike, grid, open_parent
from burnish.merging.settings import ExpertSettings, MergeSettings
from burnish.store import atomic, manifest
from burnish.store.shards import ShardWriter, Spec

PIECE = 1 << 20
"""Numbers of one tensor that are in memory at a time, of each model (a row at least)."""
_GENERATION = "generation_config.json"


def merge(
    refs: Sequence[str],
    base: str | None,
    settings: MergeSettings,
    output: Path | str,
    *,
    seed: int = 0,
    card: str | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> None:
    """Merge models (or adapters over ``base``) and write a model folder, sealed with a manifest.

    The folder appears whole or not at all. Configuration and tokenizer are the first parent's.
    Computed in float32 (float64 where a parent has it), rounded once to the result's dtype.

    Args:
        base: what task vectors are measured from; only methods over them read its weights.
        seed: of what is dropped at random; each tensor of each parent draws for itself.
        card: text of the model card.
        advance: told how many numbers were written.

    Raises:
        InputError: the models do not fit each other or the method; each difference is named.
        CorruptError: weights are damaged.
        StorageError: the disk is full or there is no permission; nothing is left behind.
    """
    models, origin = opened(refs, base, settings)
    first = models[0]
    write(
        output, first, first.config, first.specs,
        lambda name: merged(name, models, origin, settings, seed), settings, card, advance,
    )  # fmt: skip


def write(
    output: Path | str,
    first: Parent,
    config: Any,
    plain: Mapping[str, Spec],
    pieces: Callable[[str], Iterator[Tensor]],
    settings: MergeSettings | ExpertSettings,
    card: str | None,
    advance: Callable[[int], None],
) -> None:
    """Write a model folder tensor by tensor, with the tokenizer of the ``first`` parent.

    Args:
        plain: the tensors by name; floating-point ones get the settings' ``dtype``.
        pieces: the numbers of a tensor, in order.
        settings: their ``dtype`` and ``shard_bytes``.
    """
    specs = {name: _result(spec, settings.dtype) for name, spec in plain.items()}
    with atomic.new_folder(output, replace=True) as fresh:
        with ShardWriter(fresh, specs, settings.shard_bytes) as out:
            for name in out.order:
                for piece in pieces(name):
                    out.write(name, piece)
                advance(specs[name].size)
        _describe(first, config, specs[first.embedding].dtype, fresh)
        if card is not None:
            (fresh / "README.md").write_text(card, encoding="utf-8")
        manifest.seal(fresh)


def opened(
    refs: Sequence[str], base: str | None, settings: MergeSettings
) -> tuple[list[Parent], Parent | None]:
    """The parents, fitted to the first, and the base where the method needs one.

    Raises:
        InputError: as ``merge``.
    """
    count = len(refs)
    if settings.needs_base and base is None:
        expected = "the model that all parents were trained from"
        raise InputError(Problem("", None, "base", f"{settings.method} has none", expected))
    if settings.method == "slerp" and count != 2:
        raise InputError(Problem("", None, "parents", f"{count} for slerp", "two"))
    for key, weights in {"weights": settings.weights, **settings.layers}.items():
        if len(weights) != count and not (key == "weights" and not weights):
            found, expected = f"{len(weights)} weights", f"one for each of {count} parents"
            raise InputError(Problem("", None, key, found, expected))
    models = [open_parent(ref, base) for ref in refs]
    if settings.needs_base and base is not None:
        models.append(open_parent(base))
    models = alike(models, settings.vocabulary == "by_token", settings.dtype is not None)
    _check_patterns(models[0], settings)
    return models[:count], models[count] if len(models) > count else None


def _check_patterns(first: Parent, settings: MergeSettings) -> None:
    for pattern in settings.layers:
        only = MergeSettings(layers={pattern: [0.0]}, normalize=False)
        if all(only.weights_of(name, 0) == [] for name in first.specs):
            found = "matches no tensor"
            raise InputError(Problem("", None, f"layers.{pattern}", found, "a name such as "
                                     f"{next(iter(first.specs))}"))  # fmt: skip


def _result(spec: Spec, dtype: str | None) -> Spec:
    if dtype is None or not spec.dtype.is_floating_point:
        return spec
    return Spec(getattr(torch, dtype), spec.shape)


def merged(
    name: str, models: Sequence[Parent], origin: Parent | None, settings: MergeSettings, seed: int
) -> Iterator[Tensor]:
    """One tensor of the result in pieces ``[R, C]``."""
    spec = models[0].specs[name]
    if not spec.dtype.is_floating_point:
        return _same(name, models)
    dtypes = {model.specs[name].dtype for model in models}
    dtype = torch.float64 if torch.float64 in dtypes else torch.float32
    weights = settings.weights_of(name, len(models))
    if settings.method == "linear":
        pieces = _linear(name, models, weights, settings, dtype)
    elif settings.method == "slerp":
        pieces = _slerp(name, models, weights, dtype)
    else:
        assert origin is not None
        pieces = _task(name, models, origin, weights, settings, seed, dtype)
    return _finite(name, pieces)


def _finite(name: str, pieces: Iterator[Tensor]) -> Iterator[Tensor]:
    for piece in pieces:
        if not piece.isfinite().all():
            raise InputError(Problem("", None, name, "numbers that are not finite", "other weights,"
                                     " or models that are whole"))  # fmt: skip
        yield piece


def _same(name: str, models: Sequence[Parent]) -> Iterator[Tensor]:
    """Whole numbers and flags are no weights: they must be the same everywhere."""
    dtype = models[0].specs[name].dtype
    for start, stop in _spans(models[0].specs[name]):
        piece = models[0].rows(name, start, stop, dtype)
        for other in models[1:]:
            if not piece.equal(other.rows(name, start, stop, dtype)):
                found = f"other {dtype} numbers than {models[0].name}"
                raise InputError(Problem(other.name, None, name, found, "the same: no weights"))
        yield piece


def _spans(spec: Spec) -> Iterator[tuple[int, int]]:
    rows, columns = grid(spec)
    step = max(1, PIECE // columns)
    return ((start, min(start + step, rows)) for start in range(0, rows, step))


def _linear(
    name: str,
    models: Sequence[Parent],
    weights: Sequence[float],
    settings: MergeSettings,
    dtype: torch.dtype,
) -> Iterator[Tensor]:
    for span in _spans(models[0].specs[name]):
        pieces = [model.rows(name, *span, dtype) for model in models]
        yield methods.linear(pieces, weights, settings.divides)


def _slerp(
    name: str, models: Sequence[Parent], weights: Sequence[float], dtype: torch.dtype
) -> Iterator[Tensor]:
    spec, at = models[0].specs[name], weights[1] / (weights[0] + weights[1])
    squares = torch.zeros(3, dtype=torch.float64)
    for span in _spans(spec):
        one, two = (model.rows(name, *span, torch.float64).view(-1) for model in models)
        squares += torch.stack([one @ one, two @ two, one @ two])
    lengths = (squares[0] * squares[1]).sqrt()
    cosine = (squares[2] / lengths).clamp(-1, 1).item() if lengths > 0 else 1.0
    shares = methods.slerp_shares(cosine, at)
    for span in _spans(spec):
        yield methods.linear([m.rows(name, *span, dtype) for m in models], shares, normalize=False)


def _task(
    name: str,
    models: Sequence[Parent],
    origin: Parent,
    weights: Sequence[float],
    settings: MergeSettings,
    seed: int,
    dtype: torch.dtype,
) -> Iterator[Tensor]:
    form, spec = FORMS[settings.method], models[0].specs[name]
    sparse = form.keep != "all" and settings.density < 1
    keepers = []
    for place, model in enumerate(models if sparse else ()):

        def vector(span: tuple[int, int], model: Parent = model) -> Tensor:
            return model.rows(name, *span, dtype).sub_(origin.rows(name, *span, dtype))

        keepers.append(_keeper(vector, spec, settings, _drawer(seed, name, place)))
    for span in _spans(spec):
        start = origin.rows(name, *span, dtype)
        deltas = [model.rows(name, *span, dtype).sub_(start) for model in models]
        kept = [keep(d) for keep, d in zip(keepers, deltas, strict=True)] if sparse else deltas
        change = methods.combine(kept, weights, form.elect, settings.divides)
        yield start.add_(change, alpha=settings.scale)


def _keeper(
    vector: Callable[[tuple[int, int]], Tensor],
    spec: Spec,
    settings: MergeSettings,
    generator: torch.Generator,
) -> Callable[[Tensor], Tensor]:
    """What is kept of a task vector, to be given its pieces in order."""
    keep, density = FORMS[settings.method].keep, settings.density
    if keep == "largest":
        cut = methods.find_cut(lambda: map(vector, _spans(spec)), spec.size, density)

        def largest(delta: Tensor) -> Tensor:
            nonlocal cut
            kept, cut = methods.keep_largest(delta, cut)
            return kept

        return largest

    def drawn(delta: Tensor) -> Tensor:
        chance = torch.rand(delta.shape, generator=generator)
        if keep == "random":
            return methods.keep_random(delta, density, chance, settings.rescale)
        return methods.keep_ranked(delta, density, settings.spread, chance, settings.rescale)

    return drawn


def _drawer(seed: int, name: str, place: int) -> torch.Generator:
    """Random numbers of one tensor of one parent, whatever else is merged."""
    text = f"{seed}\x1f{name}\x1f{place}"
    return torch.Generator().manual_seed(
        int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
    )


def _describe(first: Parent, config: Any, dtype: torch.dtype, folder: Path) -> None:
    """Write a configuration and the first parent's tokenizer, as they fit the result."""
    config.tie_word_embeddings = first.tied
    config.dtype = dtype
    config.save_pretrained(folder)
    first.tokenizer.save_pretrained(folder)
    generation = first.reader.folder / _GENERATION
    if generation.is_file():
        shutil.copyfile(generation, folder / _GENERATION)
