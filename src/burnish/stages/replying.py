"""The model that a stage asks for replies: loaded here, or served somewhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from burnish.config import is_served
from burnish.evals import choices
from burnish.evals.kept import kept
from burnish.evals.tasks import Weigh
from burnish.models.load import Loaded, load_model
from burnish.records import Message, content_id
from burnish.sampling import EndpointSettings, LocalSampler, Sampler, ServedSampler
from burnish.sampling.cache import context_length
from burnish.sampling.journal import AT_ONCE, JOURNAL, JournalledSampler
from burnish.stages.base import Context
from burnish.text.templates import encode_prompt


@dataclass(frozen=True)
class Replying:
    """A model by its sampler. ``loaded`` is None where it is served; then ``details`` says by whom.

    ``name`` is the folder's name, or that of the served model.
    """

    name: str
    sampler: Sampler
    loaded: Loaded | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def fits(self, messages: list[Message]) -> bool:
        """Whether a conversation leaves room for a reply; a served model has to say so itself."""
        if self.loaded is None:
            return True
        prompt = encode_prompt(self.loaded.tokenizer, messages)
        return len(prompt) < context_length(self.loaded.model)


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
    return _served(ref, endpoint, journal, max_requests)


def journal_of(ref: str, context: Context, folder: str | None = None) -> Path:
    """The file for a model's replies: in ``folder``, or one in the run; for a served model in the
    stage's scratch folder where none is named, since nobody knows what is behind an address."""
    if folder is None and is_served(ref):
        return context.scratch / JOURNAL
    place = context.cache / "replies" if folder is None else Path(folder).expanduser()
    return place / f"{content_id(ref)}.jsonl"


def weigher(model: Replying, journal: Path) -> Weigh | None:
    """What weighs the options of multiple-choice items and keeps what came in ``journal``; None
    where the model is served."""
    loaded = model.loaded
    if loaded is None:
        return None
    weigh = partial(choices.measure, loaded.model, loaded.tokenizer)
    return kept(weigh, loaded.identity, journal)


def journalled(
    ref: str,
    journal: Path,
    endpoint: EndpointSettings,
    device: str = "auto",
    at_once: int = AT_ONCE,
    max_requests: int | None = None,
) -> Replying:
    """As ``reply_with``, but the replies of a model in this process are kept too."""
    if is_served(ref):
        return _served(ref, endpoint, journal, max_requests)
    loaded = load_model(ref, device=device)
    local = LocalSampler(loaded.model, loaded.tokenizer)
    sampler = JournalledSampler(local, loaded.identity, journal, at_once)
    return Replying(Path(ref).name, sampler, loaded)


def _served(
    ref: str, endpoint: EndpointSettings, journal: Path, max_requests: int | None = None
) -> Replying:
    sampler = ServedSampler(ref, endpoint, journal, max_requests)
    model = sampler.address.model
    served = {"url": sampler.address.url, "model": model, "listed": sampler.listed()}
    return Replying(model, sampler, details={"served": served})
