"""Models without weights, and how much memory a computation with them would hold.

An outline has every shape and data type of a model and no numbers (torch's fake tensors). Running
burnish's own code on it allocates nothing, but asks for the same tensors in the same order, so
that what is alive at any moment can be counted for a model of any size on any machine.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import PreTrainedModel

from burnish.models import adapters
from burnish.models.adapters import LoraSettings
from burnish.models.load import load_empty

NF4_BITS = 4.127
"""Of a weight with its share of the scales (Dettmers et al. 2023, arXiv 2305.14314, section 3)."""


@dataclass(frozen=True)
class Outline:
    """A model of fake tensors; compute with it inside ``fake``, and with others of that mode.

    ``saved``: bytes that weights held in 4 bits take less than the fake ones say.
    """

    model: PreTrainedModel
    fake: FakeTensorMode
    saved: int = 0

    @property
    def weights(self) -> int:
        """Bytes of parameters and buffers; a tied weight counts once."""
        return size_of([*self.model.parameters(), *self.model.buffers()]) - self.saved

    @property
    def trained(self) -> list[nn.Parameter]:
        """The parameters that training moves."""
        return adapters.trainable_parameters(self.model)


def outline(
    ref: str,
    dtype: torch.dtype,
    lora: LoraSettings | None = None,
    fake: FakeTensorMode | None = None,
) -> Outline:
    """The outline of a model by reference, from its config.json alone, with an adapter if asked.

    Raises:
        InputError: as ``load.load_empty``; no layer matches the adapter's ``target``.
    """
    model = load_empty(ref, dtype)
    saved = 0
    if lora is not None:
        saved = _saved(model) if lora.bits == 4 else 0
        adapters.attach(model, lora)
    mode = fake or FakeTensorMode()
    known: dict[int, Tensor] = {}
    for module in model.modules():
        for table in (module._parameters, module._buffers):
            for name, tensor in table.items():
                if tensor is not None:
                    table[name] = known.setdefault(id(tensor), _faked(tensor, mode))
    return Outline(model, mode, saved)


def _saved(model: PreTrainedModel) -> int:
    head = model.get_output_embeddings()
    layers = [m for m in model.modules() if isinstance(m, nn.Linear) and m is not head]
    fewer = [m.weight.numel() * (m.weight.element_size() - NF4_BITS / 8) for m in layers]
    return round(sum(fewer))


def _faked(tensor: Tensor, mode: FakeTensorMode) -> Any:
    with mode:
        empty = torch.empty(tensor.shape, dtype=tensor.dtype)
        if not isinstance(tensor, nn.Parameter):
            return empty
        return nn.Parameter(empty, requires_grad=tensor.requires_grad)


def size_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of tensors, each counted once."""
    sizes = {id(tensor): tensor.numel() * tensor.element_size() for tensor in tensors}
    return sum(sizes.values())


class Memory(TorchDispatchMode):
    """Counts the bytes of tensors alive, other than ``known`` ones, while it is entered.

    ``now`` is what is alive, ``peak`` the most there was, ``at_peak`` what ``aside()`` said at that
    moment. What an operation needs inside itself (a library's scratch space) is not seen.
    """

    def __init__(self, known: Sequence[Tensor], aside: Callable[[], int] = lambda: 0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = self.at_peak = 0
        self._aside = aside
        self._known = [tensor.untyped_storage() for tensor in known]
        self._sizes = {storage._cdata: 0 for storage in self._known}

    def __torch_dispatch__(
        self,
        function: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Do the operation and take note of the memory of its results."""
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._see(leaf.untyped_storage())
        return result

    def _see(self, storage: Any) -> None:
        key = storage._cdata
        if key in self._sizes:
            return
        self._sizes[key] = storage.nbytes()
        self.now += self._sizes[key]
        weakref.finalize(storage, self._forget, key)
        if self.now > self.peak:
            self.peak, self.at_peak = self.now, self._aside()

    def _forget(self, key: int) -> None:
        self.now -= self._sizes.pop(key)
