"""Scalar heads: a linear map on hidden states, for reward models and critics."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from burnish.config import InputError, Problem
from burnish.models.forward import hidden, segment_counts, segment_sums, token_logprobs
from burnish.text.batches import Batch

WEIGHTS = "head.safetensors"
SETTINGS = "head.json"


class ScalarHead(nn.Module):
    """``[..., D] -> [..., K]`` in float32; one output a name.

    The weights begin at zero, so that the first score is 0 whatever the input; ``std`` above zero
    draws them from a normal distribution instead. ``likelihood`` is what a segment's score owes to
    the model's own log-probability of it, see ``score_segments``.
    """

    def __init__(
        self,
        width: int,
        names: Sequence[str] = ("score",),
        std: float = 0.0,
        likelihood: float = 0.0,
    ) -> None:
        super().__init__()
        self.names, self.likelihood = tuple(names), likelihood
        self.linear = nn.Linear(width, len(self.names))
        nn.init.zeros_(self.linear.bias)
        nn.init.zeros_(self.linear.weight)
        if std > 0:
            nn.init.normal_(self.linear.weight, std=std)

    def forward(self, states: Tensor) -> Tensor:
        """Scores ``[..., K]`` of hidden states ``[..., D]``."""
        scores: Tensor = self.linear(states.float())
        return scores

    def save(self, folder: Path) -> None:
        """Write ``head.safetensors`` and ``head.json`` into a model folder (before sealing)."""
        state = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        save_file(state, folder / WEIGHTS)
        settings = {
            "version": 1,
            "width": self.linear.in_features,
            "names": list(self.names),
            "likelihood": self.likelihood,
        }
        (folder / SETTINGS).write_text(json.dumps(settings) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> ScalarHead:
        """Read the head of a model folder; raises InputError when there is none or it is bad."""
        try:
            settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
            head = cls(
                settings["width"], settings["names"], likelihood=settings.get("likelihood", 0.0)
            )
            head.load_state_dict(load_file(folder / WEIGHTS))
        except FileNotFoundError as error:
            raise InputError(
                Problem(str(folder), None, "", "no scalar head here", "a reward model's folder")
            ) from error
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise InputError(
                Problem(str(folder / SETTINGS), None, "", f"cannot be loaded: {error}")
            ) from error
        return head


def score_segments(model: PreTrainedModel, head: ScalarHead, batch: Batch) -> Tensor:
    """A score for each segment: ``[S]``, or ``[S, K]`` for K > 1 names.

    ``head(h_last) + likelihood * mean log p(target)``: the head reads the segment's last token
    (packed segments have no padding, so the last token is what it says, whatever pad and eos
    are), the mean runs over the segment's targets. The second term is the reference-free reward of
    SimPO (Meng et al. 2024, arXiv 2405.14734, eq. 4). It is what a small model knows of a reply
    and its last hidden state does not say.
    """
    last = batch.last_index()
    if head.likelihood == 0:
        scores: Tensor = head(hidden(model, batch).index_select(0, last))
    else:
        found = token_logprobs(model, batch)
        mean = segment_sums(found.logprobs, batch) / segment_counts(batch).clamp(min=1)
        scores = head(found.hidden.index_select(0, last)) + head.likelihood * mean[:, None]
    return scores.squeeze(1) if len(head.names) == 1 else scores


def token_values(states: Tensor, head: ScalarHead, batch: Batch) -> Tensor:
    """Values at the positions that predict the targets, from hidden states ``[T, D]``: ``[N]``, or
    ``[N, K]`` for a head of K > 1 names.

    The value for a target is that of the state before the token is written (Schulman et al. 2016,
    "High-dimensional continuous control using generalized advantage estimation", V(s_t)).
    """
    values: Tensor = head(states.index_select(0, batch.predictors()))
    return values.squeeze(1)


class Critic(nn.Module):
    """Values of tokens: a head on the policy's own states, or on those of a ``trunk`` of its own,
    which leaves the policy's weights alone and costs a second model."""

    def __init__(self, head: ScalarHead, trunk: PreTrainedModel | None = None) -> None:
        super().__init__()
        self.head, self.trunk = head, trunk

    def forward(self, states: Tensor, batch: Batch) -> Tensor:
        """As ``token_values``; ``states [T, D]`` are the policy's."""
        own = states if self.trunk is None else hidden(self.trunk, batch)
        return token_values(own, self.head, batch)
