"""The model that a stage asks for replies: loaded here, or served somewhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.config import is_served
from burnish.models.load import Loaded, load_model
from burnish.sampling import EndpointSettings, LocalSampler, Sampler, ServedSampler
from burnish.sampling.served import JOURNAL
from burnish.stages.base import Context


@dataclass(frozen=True)
class Replying:
    """A model by its sampler. ``loaded`` is None where it is served; then ``details`` says by whom.

    ``name`` is the folder's name, or that of the served model.
    """

    name: str
    sampler: Sampler
    loaded: Loaded | None = None
    details: dict[str, Any] = field(default_factory=dict)


def replying(ref: str, context: Context) -> Replying:
    """``reply_with`` in a stage; replies of a served model are kept in the stage's scratch folder.

    Raises:
        InputError: as ``load_model``, or not an address of a served model.
        EndpointError: nobody answers there.
    """
    return reply_with(ref, context.endpoint, context.scratch / JOURNAL, context.device)


def reply_with(
    ref: str,
    endpoint: EndpointSettings,
    journal: Path,
    device: str = "auto",
    max_requests: int | None = None,
) -> Replying:
    """Load a model, or find the server of one; its replies are kept in ``journal``.

    Args:
        max_requests: sent to a server at most, retries counted.

    Raises:
        InputError: as ``load_model``, or not an address of a served model.
        EndpointError: nobody answers there.
    """
    if not is_served(ref):
        loaded = load_model(ref, device=device)
        return Replying(Path(ref).name, LocalSampler(loaded.model, loaded.tokenizer), loaded)
    sampler = ServedSampler(ref, endpoint, journal, max_requests)
    model = sampler.address.model
    served = {"url": sampler.address.url, "model": model, "listed": sampler.listed()}
    return Replying(model, sampler, details={"served": served})
