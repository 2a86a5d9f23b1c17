"""Settings of a server."""

from __future__ import annotations

from pydantic import Field, PositiveFloat, PositiveInt

from burnish.config import Settings
from burnish.sampling import BatchLimits
from burnish.sampling.speculative import AHEAD


class ServeSettings(Settings):
    """How much a server takes on.

    ``batch``: of each model. ``choices``: replies a request may ask for. ``seconds``: a request may
    take, its wait included. ``drain_seconds``: what runs may take when the server is told to stop.
    ``watch_seconds``: how often it is looked whether there is a new champion. ``remembered``:
    chat requests that feedback can be given on. ``keep``: they are on disk too, for feedback after
    a restart. ``ahead``: tokens that a draft model goes ahead, where there is one.
    """

    batch: BatchLimits = BatchLimits()
    body_bytes: PositiveInt = 2**20
    choices: int = Field(16, ge=1, le=128)
    seconds: PositiveFloat = 600.0
    drain_seconds: PositiveInt = 60
    watch_seconds: PositiveFloat = 2.0
    remembered: PositiveInt = 4096
    keep: bool = True
    ahead: PositiveInt = AHEAD
