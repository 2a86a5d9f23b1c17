"""The processes that share a fit and what they tell each other; alone, all this does nothing."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from burnish.config import InputError

T = TypeVar("T")
R = TypeVar("R")


def join() -> None:
    """Meet the other processes that torchrun started; each takes the GPU of its number."""
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("cpu:gloo,cuda:nccl")
    else:
        dist.init_process_group("gloo")


def leave() -> None:
    """Part from the others, when all are done."""
    # Models that still hold their connections would close them in an ending interpreter, too late.
    gc.collect()
    dist.destroy_process_group()


def count() -> int:
    """How many processes have joined; 1 where nobody did."""
    return dist.get_world_size() if dist.is_initialized() else 1


def index() -> int:
    """Which of them this one is."""
    return dist.get_rank() if dist.is_initialized() else 0


def first() -> bool:
    """Whether this is the process that writes and speaks."""
    return index() == 0


def turns(length: int) -> list[tuple[int, bool]]:
    """Which of ``length`` micro-batches this process computes, and whether they count.

    Every process makes as many passes as the others, since each takes part in every exchange of
    weights and gradients. One that is short of a micro-batch computes the last without counting it.
    """
    own = range(index(), length, count())
    passes = -(-length // count())
    return [(place, True) for place in own] + [(length - 1, False)] * (passes - len(own))


def summed(values: Tensor) -> Tensor:
    """The sum of every process's ``values``, the same bits everywhere."""
    if count() > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def greatest(value: int) -> int:
    """The greatest ``value`` of any process."""
    if count() == 1:
        return value
    held = torch.tensor(value)
    dist.all_reduce(held, dist.ReduceOp.MAX)
    return int(held)


def named(own: Iterable[str]) -> list[str]:
    """The names that any process has, in the same order everywhere: micro-batches of several kinds
    need not be spread so that every process meets each kind."""
    if count() == 1:
        return list(own)
    every: list[list[str]] = [[] for _ in range(count())]
    dist.all_gather_object(every, list(own))
    return list(dict.fromkeys(name for part in every for name in part))


def from_first(value: T) -> T:
    """The first process's ``value``; what the others give is not looked at."""
    if count() == 1:
        return value
    held = [value]
    dist.broadcast_object_list(held)
    return held[0]


def shared_out(items: Sequence[T], work: Callable[[Sequence[T]], Sequence[R]]) -> list[R]:
    """What ``work`` makes of each item, where every process works on some and all get everything.

    The items go to the processes in turn, as ``turns`` gives micro-batches. What ``work`` makes
    must be picklable and on the CPU.

    Raises:
        InputError: ``work`` raised it in any process. All raise it, so that the first, which
            speaks for them, says what is wrong.
    """
    if count() == 1:
        return list(work(items))
    own = items[index() :: count()]
    found: list[R] | InputError
    try:
        found = list(work(own)) if own else []
    except InputError as error:
        found = error
    every: list[list[R] | InputError] = [[] for _ in range(count())]
    dist.all_gather_object(every, found)
    for part in every:
        if isinstance(part, InputError):
            raise part
    parts = cast(list[list[R]], every)
    return [parts[place % count()][place // count()] for place in range(len(items))]


def wait() -> None:
    """Go on when every process has come here."""
    if count() > 1:
        dist.barrier()
