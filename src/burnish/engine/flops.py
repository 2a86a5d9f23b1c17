"""How much arithmetic a window takes, by counting.

The speed shown is in FLOP/s and not as a share of the machine's peak: a peak measured beside other
work moves by half from one moment to the next, and would cost a tiny fit a good part of its time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from burnish.models.quantised import numel
from burnish.text.batches import Batch


@dataclass(frozen=True)
class Cost:
    """FLOPs of one forward and backward pass: for a token, for a target (the head), and for each
    unit of a segment's squared length (attention)."""

    token: float
    target: float
    square: float

    def of(self, window: Sequence[Batch], targets: int) -> float:
        """FLOPs of a window that has so many targets."""
        spans = [span for batch in window for span in (*batch.shared, *batch.own)]
        # Half of the square of a span's own tokens, and all of what they see of shared ones.
        squares = sum(span.length * (span.length + 2 * span.past) for span in spans)
        return self._sum(sum(span.length for span in spans), targets, squares)

    def of_lengths(self, lengths: Sequence[float], targets: float) -> float:
        """FLOPs of segments of these lengths that have so many targets."""
        return self._sum(sum(lengths), targets, sum(length * length for length in lengths))

    def _sum(self, tokens: float, targets: float, squares: float) -> float:
        return self.token * tokens + self.target * targets + self.square * squares


def cost(model: nn.Module, forward: bool = False) -> Cost | None:
    """What training ``model`` costs, or one ``forward`` pass; None where it is no transformers
    language model.

    A weight multiplies once in forward and twice in backward, 2 FLOPs each: 6 a token (Kaplan et
    al. 2020, section 2.1), 4 where it is frozen and has no gradient of its own. Embeddings are
    looked up and cost nothing; the head, ``D x V``, is computed for targets only. Attention is
    causal, half of the ``12 * layers * heads * head size * length`` a token of Chowdhery et al.
    2022 (PaLM), appendix B. Not counted: second computations of checkpointed layers, a reference
    model, rollouts. Of a mixture of experts every expert is counted.
    """
    head = model.get_output_embeddings() if isinstance(model, PreTrainedModel) else None
    if head is None or not isinstance(model, PreTrainedModel):
        return None
    apart = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    apart.add(id(head.weight))
    body = [p for p in model.parameters() if id(p) not in apart]
    config = model.config.get_text_config()
    heads = getattr(config, "num_attention_heads", 0)
    size = getattr(config, "head_dim", None) or config.hidden_size // max(1, heads)
    return Cost(
        token=float(sum(_each(p, forward) * numel(p) for p in body)),
        target=float(_each(head.weight, forward) * head.weight.numel()),
        square=(2.0 if forward else 6.0) * config.num_hidden_layers * heads * size,
    )


def _each(weight: nn.Parameter, forward: bool) -> int:
    if forward:
        return 2
    return 6 if weight.requires_grad else 4
