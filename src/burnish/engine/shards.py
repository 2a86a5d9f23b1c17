"""One model divided over several processes while it is fitted (FSDP2), each with its share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from burnish.engine import optim, ranks
from burnish.engine.optim import Trainable
from burnish.engine.window import LossFunction
from burnish.objectives.types import Loss
from burnish.text.batches import Batch


class Share:
    """What this process trains: with a single process, all of it.

    ``trainable`` is what the optimiser moves here, ``pieces`` the names of those that are rows of
    a weight whose other rows are elsewhere, ``shapes`` the sizes of the whole weights.
    """

    pieces: frozenset[str] = frozenset()

    def __init__(self, model: nn.Module, loss: LossFunction, trainable: Trainable) -> None:
        self.model, self.loss, self.trainable = model, loss, trainable
        self.shapes = {name: list(weight.shape) for name, weight in trainable.items()}

    def collect(self) -> None:
        """After the backward passes of a window: put the gradients beside ``trainable``."""

    def norm(self, count: float) -> Tensor:
        """The joint norm of all gradients divided by ``count``, a scalar."""
        return optim.gradient_norm(self.trainable, count)

    def whole(self) -> AbstractContextManager[None]:
        """Inside the block, the model that the fit was given has its weights."""
        return nullcontext()


@contextmanager
def shared(model: nn.Module, loss: LossFunction, trainable: Trainable) -> Iterator[Share]:
    """This process's share of a fit. At a good end, ``model`` has the fitted weights.

    With several processes ``model`` is without its weights inside the block, and stays so where
    an error ends it. Every process must give the same model.
    """
    if ranks.count() == 1:
        yield Share(model, loss, trainable)
        return
    share = _Pieces(model, loss, trainable)
    yield share
    share.put_back()


class _Root(nn.Module):
    """A model with its loss: what lies outside the layers (embeddings, the last norm, the head) is
    gathered once for both, however often and in whatever order the loss uses it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, loss: LossFunction, batch: Batch) -> tuple[Tensor, Loss]:
        """The loss, and beside it its total, where FSDP looks for the tensor that has gradients."""
        found = loss(self.model, batch)
        return found.total, found


class _Pieces(Share):
    """A copy of the model in which each process holds some rows of every weight.

    The copy is what computes; the model itself, which evaluations and what follows the fit use,
    is empty meanwhile and filled when it is asked for. Layers are gathered one at a time (Zhao et
    al. 2023, arXiv 2304.11277). Weights of ``trainable`` that are not the model's (a scalar head)
    are small: every process holds them whole.
    """

    def __init__(self, model: nn.Module, loss: LossFunction, trainable: Trainable) -> None:
        for weight in trainable.values():
            dist.broadcast(weight.data, src=0)
        parameters = dict(model.named_parameters())
        copy = deepcopy(model, {id(weight): weight for weight in parameters.values()})
        self.root = _divided(copy)
        super().__init__(copy, lambda _, batch: self.root(loss, batch)[1], trainable)
        model.eval()
        held = cast(Mapping[str, DTensor], dict(copy.named_parameters()))
        self._weights = {name: (weight, held[name]) for name, weight in parameters.items()}
        names = {id(weight): name for name, weight in parameters.items()}
        self._held = {n: held[names[id(w)]] for n, w in trainable.items() if id(w) in names}
        self.pieces = frozenset(self._held)
        self.trainable = {
            name: nn.Parameter(self._held[name].to_local().detach()) if name in self._held else own
            for name, own in trainable.items()
        }
        self._empty()

    def collect(self) -> None:
        for name, weight in self.trainable.items():
            if name in self._held:
                gradient = self._held[name].grad
                weight.grad = None if gradient is None else cast(DTensor, gradient).to_local()
            elif ranks.greatest(weight.grad is not None):
                # A process whose micro-batches had no use for it has none, but takes part.
                if weight.grad is None:
                    weight.grad = torch.zeros_like(weight)
                dist.all_reduce(weight.grad)
        for weight in self.root.parameters():
            weight.grad = None

    def norm(self, count: float) -> Tensor:
        # What every process holds whole is counted by the first alone.
        mine = {n: w for n, w in self.trainable.items() if n in self.pieces or ranks.first()}
        return ranks.summed(optim.gradient_norm(mine, count).double().square()).sqrt().float()

    @contextmanager
    def whole(self) -> Iterator[None]:
        self.put_back()
        try:
            yield
        finally:
            self._empty()

    @torch.no_grad()
    def put_back(self) -> None:
        """Give the model its weights, gathered from all processes."""
        for weight, held in self._weights.values():
            weight.data = held.full_tensor()

    def _empty(self) -> None:
        for weight, _ in self._weights.values():
            weight.data = weight.data.new_empty(0)


def _divided(model: nn.Module) -> _Root:
    """Divide each layer's weights by rows, and those outside the layers together, in place."""
    root = _Root(model)
    device = next(model.parameters()).device
    mesh = init_device_mesh(device.type, (ranks.count(),))
    kinds = set(getattr(model, "_no_split_modules", None) or ())
    layers = [module for module in model.modules() if type(module).__name__ in kinds]
    for module in [*layers, root]:
        fully_shard(module, mesh=mesh)
        part = cast(FSDPModule, module)
        # Gradients are summed: the engine divides them itself, once.
        part.set_gradient_divide_factor(1.0)
        part.set_force_sum_reduction_for_comms(True)
    return root


def rows(weight: Tensor) -> Tensor:
    """This process's rows of a whole weight: FSDP's share, ``ceil(n / processes)`` or fewer."""
    chunks = weight.chunk(ranks.count())
    return chunks[ranks.index()] if ranks.index() < len(chunks) else weight[:0]
