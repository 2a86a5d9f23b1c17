"""One model divided over several processes while it is fitted (FSDP2), each with its share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from burnish.engine import optim, ranks
from burnish.engine.optim import Trainable
from burnish.models.divided import divide, is_divided


class Share:
    """What this process trains: with a single process, all of it.

    ``model`` is the one to compute with. ``trainable`` is what the optimiser moves here, ``pieces``
    the names of those that are rows of a weight whose other rows are elsewhere, ``shapes`` the
    sizes of the whole weights.
    """

    pieces: frozenset[str] = frozenset()

    def __init__(self, model: nn.Module, trainable: Trainable) -> None:
        self.model, self.trainable = model, trainable
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
def shared(model: nn.Module, trainable: Trainable) -> Iterator[Share]:
    """This process's share of a fit. At a good end, ``model`` has the fitted weights.

    With several processes a ``model`` that is not divided is without its weights inside the block,
    and stays so where an error ends it. Every process must give the same model.
    """
    for weight in trainable.values():
        if ranks.count() > 1 and not isinstance(weight, DTensor):
            dist.broadcast(weight.data, src=0)
    if ranks.count() == 1:
        yield Share(model, trainable)
    elif is_divided(model):
        yield _Pieces(model, model, trainable)
    else:
        share = _Copied(model, trainable)
        yield share
        share.put_back()


class _Pieces(Share):
    """A divided model: each process trains its rows of every weight.

    Weights of ``trainable`` that are not divided (a scalar head, an adapter put into a model that
    was) are small: every process holds them whole.

    Args:
        model: the divided model.
        given: the model that ``trainable`` is of: itself, or one with the same names.
    """

    def __init__(self, model: nn.Module, given: nn.Module, trainable: Trainable) -> None:
        super().__init__(model, trainable)
        inside = {id(weight): name for name, weight in given.named_parameters()}
        divided = {n: w for n, w in model.named_parameters() if isinstance(w, DTensor)}
        names = {name: inside.get(id(weight), "") for name, weight in trainable.items()}
        self._held = {name: divided[own] for name, own in names.items() if own in divided}
        self.pieces = frozenset(self._held)
        self.trainable = {
            name: nn.Parameter(self._held[name].to_local().detach()) if name in self._held else own
            for name, own in trainable.items()
        }
        self._own = [own for name, own in self.trainable.items() if name not in self._held]

    def collect(self) -> None:
        for name, held in self._held.items():
            gradient = cast(DTensor | None, held.grad)
            self.trainable[name].grad = None if gradient is None else gradient.to_local()
        self._sum_own()
        for weight in self.model.parameters():
            if isinstance(weight, DTensor):
                weight.grad = None

    def _sum_own(self) -> None:
        """Add up the gradients of what every process holds whole, in one exchange."""
        if not self._own:
            return
        # A process whose micro-batches had no use for one has no gradient of it, but takes part.
        used = ranks.summed(torch.tensor([float(weight.grad is not None) for weight in self._own]))
        summed = [weight for weight, some in zip(self._own, used.tolist(), strict=True) if some]
        for weight in summed:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        gradients = [cast(Tensor, weight.grad) for weight in summed]
        if not gradients:
            return
        whole = ranks.summed(torch.cat([gradient.flatten() for gradient in gradients]))
        sizes = [gradient.numel() for gradient in gradients]
        for gradient, part in zip(gradients, whole.split(sizes), strict=True):
            gradient.copy_(part.view_as(gradient))

    def norm(self, count: float) -> Tensor:
        # What every process holds whole is counted by the first alone.
        mine = {n: w for n, w in self.trainable.items() if n in self.pieces or ranks.first()}
        return ranks.summed(optim.gradient_norm(mine, count).double().square()).sqrt().float()


class _Copied(_Pieces):
    """A divided copy of a model that was given whole.

    The copy is what computes; the model itself, which evaluations and what follows the fit use,
    is empty meanwhile and filled when it is asked for.
    """

    def __init__(self, model: nn.Module, trainable: Trainable) -> None:
        parameters = dict(model.named_parameters())
        copy = deepcopy(model, {id(weight): weight for weight in parameters.values()})
        divide(copy, next(model.parameters()).device)
        super().__init__(copy, model, trainable)
        model.eval()
        held = cast(Mapping[str, DTensor], dict(copy.named_parameters()))
        self._weights = {name: (weight, held[name]) for name, weight in parameters.items()}
        self._empty()

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


def rows(weight: Tensor) -> Tensor:
    """This process's rows of a whole weight: FSDP's share, ``ceil(n / processes)`` or fewer."""
    chunks = weight.chunk(ranks.count())
    return chunks[ranks.index()] if ranks.index() < len(chunks) else weight[:0]
