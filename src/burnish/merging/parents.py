"""The models that go into a merge: opened without their weights, checked against each other, and
read row by row as if all had the same tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from burnish.config import InputError, Problem
from burnish.merging.adapter import Adapter, is_adapter, read_adapter
from burnish.models.heads import WEIGHTS as HEAD
from burnish.models.load import load_empty, load_tokenizer, locate
from burnish.store.shards import ShardReader, Spec

_NOT_STRUCTURE = {
    "_name_or_path", "transformers_version", "dtype", "torch_dtype", "vocab_size",
    "tie_word_embeddings", "use_cache", "bos_token_id", "eos_token_id", "pad_token_id",
    "architectures",
}  # fmt: skip
_FEW = 3


def grid(spec: Spec) -> tuple[int, int]:
    """A tensor as rows and columns: a vector is one row, what has more dimensions many."""
    if spec.size == 0:
        return 0, 1
    columns = spec.shape[-1] if spec.shape else 1
    return spec.size // columns, columns


@dataclass(frozen=True)
class Parent:
    """A model by its folder.

    ``specs`` are its tensors with the adapter's, without a head that is tied to the embeddings.
    ``rows_of`` is for one whose vocabulary is laid beside the first parent's: by name of the tensor
    the row of each of the first's tokens, -1 where it has none, and the ``first`` itself.
    """

    name: str
    reader: ShardReader
    config: Any
    tokenizer: PreTrainedTokenizerBase
    embedding: str
    head: str
    tied: bool
    specs: Mapping[str, Spec]
    adapter: Adapter | None = None
    rows_of: Mapping[str, Tensor] = field(default_factory=dict)
    first: Parent | None = None

    def rows(self, name: str, start: int, stop: int, dtype: torch.dtype) -> Tensor:
        """Rows ``start`` to ``stop`` of a tensor, ``[R, C]``."""
        if name not in self.rows_of:
            return self._own(name, start, stop, dtype)
        assert self.first is not None
        places = self.rows_of[name][start:stop]
        found = self.first.rows(name, start, stop, dtype)
        there = (places >= 0).nonzero()[:, 0]
        # Runs of neighbours are read at once: aligned vocabularies mostly differ in few places.
        for run in torch.tensor_split(there, (places[there].diff() != 1).nonzero()[:, 0] + 1):
            if len(run):
                begin = int(places[run[0]])
                found[run] = self._own(name, begin, begin + len(run), dtype)
        return found

    def _own(self, name: str, start: int, stop: int, dtype: torch.dtype) -> Tensor:
        stored = self.embedding if self._shared(name) else name
        columns = grid(self.specs[stored])[1]
        flat = self.reader.read(stored, start * columns, stop * columns)
        weight = flat.view(-1, columns).to(dtype)
        return weight if self.adapter is None else self.adapter.apply(name, weight, start, stop)

    def _shared(self, name: str) -> bool:
        """Whether a head is stored as the embeddings."""
        return name == self.head and (
            bool(self.config.tie_word_embeddings) or name not in self.reader.specs
        )

    def untied(self) -> Parent:
        """The same model with its head as a tensor of its own."""
        return replace(
            self, tied=False, specs={**self.specs, self.head: self.specs[self.embedding]}
        )


def open_parent(ref: str, base: str | None = None) -> Parent:
    """Open a model, or an adapter over ``base``; only headers are read.

    Raises:
        InputError: no such model, one that is not in a folder, quantised weights, a reward model,
            or an adapter that does not fit ``base``.
        CorruptError: weights are damaged, or differ from the folder's manifest.
    """
    folder = Path(ref).expanduser()
    adapter = None
    if is_adapter(folder):
        if base is None:
            found = "is an adapter"
            raise InputError(Problem(ref, None, "", found, "name the model under it as the base"))
        adapter = read_adapter(folder)
    place = locate(base if adapter is not None and base is not None else ref)
    if not isinstance(place, Path):
        raise InputError(Problem(ref, None, "", "is not in a folder", "download it first"))
    if (place / HEAD).is_file():
        raise InputError(Problem(ref, None, "", "is a reward model", "a language model"))
    empty = load_empty(place, torch.float32)
    if hasattr(empty.config, "quantization_config"):
        raise InputError(Problem(ref, None, "", "its weights are quantised", "the model before"))
    names = {id(weight): name for name, weight in _named(empty)}
    head = empty.get_output_embeddings()
    reader = ShardReader(place)
    embedding = names[id(empty.get_input_embeddings().weight)]
    head_name = next((n for n, w in _named(empty, head) if w is head.weight), "") if head else ""
    tied = bool(empty.config.tie_word_embeddings) or head_name not in reader.specs
    specs = {n: spec for n, spec in reader.specs.items() if not (tied and n == head_name)}
    parent = Parent(ref, reader, empty.config, load_tokenizer(place), embedding, head_name, tied,
                    specs, adapter)  # fmt: skip
    if embedding not in specs:
        raise InputError(Problem(str(place), None, embedding, "is not among the tensors"))
    return parent if adapter is None else _with_adapter(parent, adapter)


def _named(model: torch.nn.Module, part: torch.nn.Module | None = None) -> list[tuple[str, Tensor]]:
    """Parameters by name, a tied one by each of its names; only those of ``part``."""
    named = model.named_parameters(remove_duplicate=False)
    if part is None:
        return list(model.named_parameters())
    prefix = next(name for name, module in model.named_modules() if module is part)
    return [(name, weight) for name, weight in named if name.startswith(f"{prefix}.")]


def _with_adapter(parent: Parent, adapter: Adapter) -> Parent:
    """A tied head becomes one of its own where the adapter changes it or the embeddings: the other
    must stay as it was (C-33)."""
    if parent.tied and (adapter.touches(parent.head) or adapter.touches(parent.embedding)):
        parent = parent.untied()
    for name, change in adapter.changes.items():
        shape = (change.up.shape[0], change.down.shape[1])
        if name not in parent.specs or parent.specs[name].shape != shape:
            found = f"the adapter changes a weight of shape {list(shape)}"
            there = list(parent.specs[name].shape) if name in parent.specs else "none of that name"
            raise InputError(Problem(parent.name, None, name, found, f"the model has {there}"))
    for name, tensor in adapter.replaced.items():
        if name not in parent.specs or parent.specs[name].shape != tuple(tensor.shape):
            found = f"the adapter replaces it by one of shape {list(tensor.shape)}"
            raise InputError(Problem(parent.name, None, name, found, "a weight of the model"))
    return parent


def alike(parents: Sequence[Parent], by_token: bool, cast: bool) -> list[Parent]:
    """The parents with the same tensors by name and shape: heads untied where one model's is, and
    vocabularies laid beside the first's where ``by_token`` allows it.

    Args:
        cast: dtypes may differ, since the result's is given.

    Raises:
        InputError: they differ otherwise; each difference is named.
    """
    first = parents[0]
    problems = [p for parent in parents[1:] for p in _structure(first, parent)]
    if problems:
        raise InputError(problems)
    if not all(parent.tied for parent in parents):
        parents = [parent.untied() if parent.tied else parent for parent in parents]
    first = parents[0]
    fitted = [first]
    for parent in parents[1:]:
        found = _vocabulary(first, parent)
        if found and not by_token:
            expected = "one tokenizer, or vocabulary: by_token"
            problems.append(Problem(parent.name, None, "tokenizer", found, expected))
        fitted.append(_beside(first, parent) if found else parent)
        problems += _tensors(first, fitted[-1], cast)
    if problems:
        raise InputError(problems)
    return fitted


def _structure(first: Parent, other: Parent) -> list[Problem]:
    mine, theirs = first.config.to_dict(), other.config.to_dict()
    return [
        Problem(other.name, None, f"config.{name}", f"found {theirs.get(name)!r:.80}",
                f"{mine.get(name)!r:.80} as in {first.name}")
        for name in sorted((mine.keys() | theirs.keys()) - _NOT_STRUCTURE)
        if mine.get(name) != theirs.get(name)
    ]  # fmt: skip


def _vocabulary(first: Parent, other: Parent) -> str:
    """What differs between two tokenizers' tokens, in words; empty where nothing does."""
    mine, theirs = first.tokenizer.get_vocab(), other.tokenizer.get_vocab()
    if mine == theirs:
        return ""
    missing = sorted(mine.keys() - theirs.keys())
    more = sorted(theirs.keys() - mine.keys())
    moved = [token for token in mine if token in theirs and mine[token] != theirs[token]]
    parts = [
        f"{len(tokens)} tokens {what} (such as {', '.join(map(repr, tokens[:_FEW]))})"
        for what, tokens in (("missing", missing), ("more", more), ("in other places", moved))
        if tokens
    ]
    return f"another tokenizer than {first.name}: {'; '.join(parts)}"


def _beside(first: Parent, other: Parent) -> Parent:
    """``other`` with its rows in the order of the first's tokens."""
    theirs = other.tokenizer.get_vocab()
    rows = grid(first.specs[first.embedding])[0]
    last = grid(other.specs[other.embedding])[0]
    places = torch.full((rows,), -1)
    for token, place in first.tokenizer.get_vocab().items():
        if place < rows and theirs.get(token, last) < last:
            places[place] = theirs[token]
    names = [name for name in (other.embedding, other.head) if name in other.specs]
    return replace(other, rows_of=dict.fromkeys(names, places), first=first)


def _tensors(first: Parent, other: Parent, cast: bool) -> list[Problem]:
    problems = []
    for owner, rival in ((first, other), (other, first)):
        lost = sorted(owner.specs.keys() - rival.specs.keys())
        if lost:
            found = f"{len(lost)} tensors are missing"
            expected = f"those of {owner.name}, such as {lost[0]}"
            problems.append(Problem(rival.name, None, "", found, expected))
    for name in sorted(first.specs.keys() & other.specs.keys()):
        mine, theirs = first.specs[name], other.specs[name]
        if mine.shape != theirs.shape and name not in other.rows_of:
            found, expected = f"shape {list(theirs.shape)}", f"{list(mine.shape)}"
            problems.append(Problem(other.name, None, name, found, expected))
        floating = mine.dtype.is_floating_point and theirs.dtype.is_floating_point
        if mine.dtype != theirs.dtype and not (cast and floating):
            expected = f"{mine.dtype} as in {first.name}, or the result's dtype set"
            problems.append(Problem(other.name, None, name, f"dtype {theirs.dtype}", expected))
    return problems
