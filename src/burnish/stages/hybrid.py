"""A policy's own objective and a preference objective in one fit: PPO + weight * DPO, and its kin.

The two are means over different things (tokens or replies; pairs), and the engine divides a
window's gradient once. ``balance`` is the one place that makes this exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from burnish.config import PreferenceRef, Settings
from burnish.engine import LossFunction, Source
from burnish.engine.source import epoch_order, micro_batches
from burnish.models.forward import segment_sums, token_logprobs
from burnish.objectives import Loss, preference
from burnish.text.batches import Batch, Segment, pack, size

SCALE, SHARE = "scale", "share"


class PreferenceTerm(Settings):
    """Adds ``weight`` times the DPO loss (``beta``) of ``data`` pairs to every step.

    A step sees ``pairs_per_step`` pairs, in an order set by the seed; each of the two terms is the
    mean over its own units, tokens or replies here and pairs there. The reference is the model as
    it comes in. Its log-probabilities are at temperature 1, as in `fit.dpo`.
    """

    data: list[PreferenceRef]
    weight: PositiveFloat = 0.5
    beta: PositiveFloat = 0.1
    pairs_per_step: PositiveInt = 16


def balance(weight: float, count: float, pairs: int) -> tuple[float, float]:
    """How a preference term enters a window that has ``count`` units of the policy's own.

    The engine makes ``(sum of totals) / (sum of counts)`` of a window. With the pairs' losses
    ``l`` multiplied by the first number returned, and each pair counted as the second,

        (A + sum(scale * l)) / (count + pairs * share) = A / count + weight * mean(l).

    A window without a unit of its own (online DPO, all replies alike) has the preference term only.
    """
    return (weight * count / pairs, 0.0) if count else (weight, 1.0)


class HybridSource:
    """The windows of another source, with preference pairs as further micro-batches.

    Args:
        policy: gives the windows; its state is all there is, since pairs depend on the step alone.
        pairs: [chosen, rejected] segments with ``reference``.
        count: of a micro-batch, the policy loss's count.
        tokens_per_batch: of a micro-batch of pairs.
    """

    def __init__(
        self,
        policy: Source,
        pairs: Sequence[list[Segment]],
        term: PreferenceTerm,
        *,
        count: Callable[[Batch], float],
        tokens_per_batch: int,
        seed: int,
    ) -> None:
        self._policy, self._pairs, self._term, self._count = policy, pairs, term, count
        self._tokens_per_batch, self._seed = tokens_per_batch, seed
        self._sizes = [size(pair) for pair in pairs]
        self.dropout = policy.dropout

    @property
    def steps(self) -> int:
        """Those of the policy's source."""
        return self._policy.steps

    def asks_model(self, step: int) -> bool:
        """Where the policy's source does."""
        return self._policy.asks_model(step)

    def window(self, step: int) -> list[Batch] | None:
        """The policy's micro-batches, then those of pairs."""
        own = self._policy.window(step)
        if own is None:
            return None
        chosen = self._chosen(step)
        counted = sum(self._count(batch) for batch in own)
        scale, share = balance(self._term.weight, counted, len(chosen))
        units = {
            place: [
                replace(one, per_segment={**one.per_segment, SCALE: scale, SHARE: share})
                for one in self._pairs[place]
            ]
            for place in chosen
        }
        groups = micro_batches(chosen, self._sizes, self._tokens_per_batch)
        return own + [pack([units[place] for place in group]) for group in groups]

    def _chosen(self, step: int) -> list[int]:
        """The next pairs in turn; they are shuffled anew each time round."""
        count = len(self._pairs)
        each = min(self._term.pairs_per_step, count)
        places = (divmod(step * each + i, count) for i in range(each))
        rounds: dict[int, list[int]] = {}
        found = []
        for again, index in places:
            order = rounds.setdefault(again, epoch_order(count, self._seed, 1, again))
            found.append(order[index])
        return found

    def metrics(self) -> dict[str, float]:
        """Those of the policy's source."""
        return self._policy.metrics()

    def state(self) -> dict[str, Any]:
        """That of the policy's source."""
        return self._policy.state()

    def tensors(self) -> dict[str, Tensor]:
        """Those of the policy's source."""
        return self._policy.tensors()

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Continue where the policy's source was."""
        self._policy.restore(state, tensors)


def hybrid_loss(policy: LossFunction, term: PreferenceTerm) -> LossFunction:
    """The policy's loss on its own micro-batches, the scaled DPO loss on those of pairs."""

    def loss(model: Any, batch: Batch) -> Loss:
        if SCALE not in batch.per_segment:
            return policy(model, batch)
        sums = segment_sums(token_logprobs(model, batch).logprobs, batch)
        reference = batch.per_segment["reference"]
        found = preference(
            "dpo", sums[0::2], sums[1::2], reference[0::2], reference[1::2], beta=term.beta
        )
        named = {"loss": (found.total.detach(), found.count), **found.metrics}
        return Loss(
            found.total * batch.per_segment[SCALE][0],
            batch.per_segment[SHARE][0::2].sum(),
            {f"preference_{name}": value for name, value in named.items()},
        )

    return loss
