"""Settings of sampling."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt

from burnish.config import Settings


class Sampling(Settings):
    """How replies are drawn.

    ``temperature`` 0 takes the likeliest token each time. ``top_p`` draws from the smallest set
    of likeliest tokens that holds this much probability (Holtzman et al. 2020); 1 draws from all.
    A reply ends where its text, without control tokens, would contain one of ``stop``.
    """

    temperature: float = Field(1.0, ge=0, le=10)
    top_p: float = Field(1.0, gt=0, le=1)
    max_new_tokens: PositiveInt = 64
    stop: list[Annotated[str, Field(min_length=1)]] = []
