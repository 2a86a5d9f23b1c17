"""Speculative decoding: a small model goes ahead, the large one checks all it said at once.

In a round the draft model draws a few tokens, each from its own distribution q, and the model
reads them in one pass, which gives its distribution p after each. A proposal t stays with
probability ``min(1, p(t) / q(t))``; in place of the first that does not, a token is drawn from
``max(0, p - q)``, renormalised; after all of them one more is drawn from p (Leviathan et al. 2023,
arXiv 2211.17192, algorithm 1; Chen et al. 2023, arXiv 2302.01318, theorem 1). Every token is so
distributed as p says, whatever the draft model is. At temperature 0 both have all their probability
on one token, and what comes out is what the model alone would say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from burnish.config import InputError, Problem
from burnish.models.load import Loaded
from burnish.sampling.cache import new_cache, reversible
from burnish.sampling.decoding import Row, Rows
from burnish.sampling.draw import distribution, inverted, likeliest, logprobs_of
from burnish.sampling.past import Past
from burnish.sampling.prefixes import Prefixes
from burnish.sampling.reading import Reading

AHEAD = 4


@dataclass(frozen=True)
class Draft:
    """A model that goes ``ahead`` so many tokens; see ``draft_of``."""

    model: Any
    ahead: int = AHEAD


def draft_of(target: Loaded, draft: Loaded, ahead: int = AHEAD) -> Draft:
    """A draft model for ``target``.

    Raises:
        InputError: it has another vocabulary, or one of both forgets early tokens as others come
            (a sliding window, a recurrent state), so that nothing can be taken back.
    """
    if draft.tokenizer.get_vocab() != target.tokenizer.get_vocab():
        expected = f"one with the vocabulary of {target.ref}"
        raise InputError(Problem(draft.ref, None, "draft", "another vocabulary", expected))
    for one in (target, draft):
        if not reversible(new_cache(one.model.config)):
            found = f"a model of type {one.model.config.model_type!r}, which cannot go back"
            expected = "full attention in all layers of the model and of its draft"
            raise InputError(Problem(one.ref, None, "draft", found, expected))
    return Draft(draft.model, ahead)


def begin(
    model: Any, rows: Sequence[Row], draft: Draft | None, prefixes: Prefixes | None = None
) -> Rows:
    """Rows that are decoded by ``model``, with a draft where there is one. ``prefixes``: what the
    model has computed of others' prompts; a draft reads every prompt itself."""
    if draft is None:
        return Rows(model, rows, prefixes)
    return Drafted(model, rows, draft, prefixes)


class Drafted(Rows):
    """Rows of which a step draws several tokens.

    Between two steps the model has seen all tokens of a row but the last, the draft model all but
    the last two: both then take back as many cells as proposals were refused. What a row draws
    depends on its own random numbers alone: two for each of its proposals, one for the last token
    of a round.
    """

    def __init__(
        self, model: Any, rows: Sequence[Row], draft: Draft, prefixes: Prefixes | None = None
    ) -> None:
        super().__init__(model, rows, prefixes)
        self.draft = draft
        self.ahead = Past(draft.model)
        self._readings.append(Reading(self.ahead, [row.prompt[:-1] for row in rows]))

    def step(self) -> list[Row]:
        """Draw tokens for every row still going; returns these rows."""
        self.read()
        going = [row for row in self.rows if row.going]
        fresh = [place for place, row in enumerate(self.rows) if row.going and not row.tokens]
        for places, sampling in self._alike(fresh):
            self._draw(places, sampling)
        if self.alive:
            self._make_room(0)
            self._round()
        return going

    def _prepare(self, coming: int) -> None:
        self._make_room(coming)

    def _take_in(self, new: Self, places: Tensor, count: int) -> None:
        super()._take_in(new, places, count)
        self.ahead.take_in(new.ahead, places, count)

    def _keep(self, places: Sequence[int], cells: int) -> None:
        super()._keep(places, cells)
        self.ahead.keep(places, max(1, cells - 1))
        self.logits = self.logits[list(places)]

    def _round(self) -> None:
        """Propose, check, keep what stays."""
        own = [
            min(self.draft.ahead, row.limit - len(row.tokens) - 1) if row.going else 0
            for row in self.rows
        ]
        # One at least, looked at or not: the draft model sees a token in every round.
        count = max(1, *own)
        chances = np.zeros((3, len(own), count))
        for place, (row, ahead) in enumerate(zip(self.rows, own, strict=True)):
            if row.going:
                drawn = row.random.random(2 * ahead + 1)
                chances[0, place, :ahead], chances[1, place, :ahead] = (
                    drawn[:ahead],
                    drawn[ahead:-1],
                )
                chances[2, place, 0] = drawn[-1]
        uniform = torch.from_numpy(chances).to(self.past.device)
        proposals, guesses = self._propose(count, uniform[0])
        last = torch.tensor([[self._last(row, 1)[0]] for row in self.rows], device=self.past.device)
        logits = self.past.feed(torch.cat([last, proposals], 1), self._lengths(count), count + 1)
        limits = torch.tensor(own, device=self.past.device)
        accepted, tokens = verified(
            self._distributions(logits), guesses, proposals, limits, uniform[1], uniform[2, :, 0]
        )
        before = [row.length for row in self.rows]
        self._take(logits, tokens, accepted.tolist(), own)
        # Of ``count`` + 1 tokens that the model has read, those stay that were not drawn last.
        counts = torch.tensor(
            [count + 1 - row.length + old for row, old in zip(self.rows, before, strict=True)],
            device=self.past.device,
        )
        self.past.take_back(counts)
        self.ahead.take_back(counts)

    def _propose(self, count: int, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """``count`` tokens of the draft model for each row, ``[R, count]``, and the distributions
        they were drawn from, ``[R, count, V]``."""
        tokens = torch.tensor([self._last(row, 2) for row in self.rows], device=self.past.device)
        most = self.draft.model.get_input_embeddings().num_embeddings - 1
        drawn, known = [], []
        for number in range(count):
            # What it does not know it reads as another token: worse guesses, no other replies.
            logits = self.ahead.feed(tokens.clamp(max=most), self._lengths(number))
            known.append(self._distributions(fitted(logits, self.logits.shape[1])))
            tokens = inverted(known[-1][:, 0], uniform[:, number])[:, None]
            drawn.append(tokens)
        return torch.cat(drawn, 1), torch.cat(known, 1)

    def _distributions(self, logits: Tensor) -> Tensor:
        """What each row draws from, ``[R, L, V]``, by its own settings."""
        found = torch.empty_like(logits)
        for places, sampling in self._alike(range(len(self.rows))):
            part = logits[places]
            found[places] = distribution(part.flatten(0, 1), sampling).view_as(part)
        return found

    def _take(
        self, logits: Tensor, tokens: Tensor, accepted: Sequence[int], own: Sequence[int]
    ) -> None:
        """Give each row its accepted tokens and the one after them, up to where it ends."""
        logprobs = torch.empty(tokens.shape, device=logits.device)
        for places, sampling in self._alike(range(len(self.rows))):
            part = logprobs_of(logits[places].flatten(0, 1), tokens[places].flatten(), sampling)
            logprobs[places] = part.view(len(places), -1)
        told = zip(self.rows, tokens.tolist(), logprobs.tolist(), strict=True)
        for place, (row, said, values) in enumerate(told):
            for number in range(accepted[place] + 1):
                if not row.going:
                    break
                top = likeliest(logits[place, number], row.top, row.sampling) if row.top else []
                row.take(said[number], values[number], top)
                row.accepted += number < accepted[place]
            row.proposed += own[place]

    @staticmethod
    def _last(row: Row, count: int) -> list[int]:
        """A row's last tokens; of one that ended any."""
        if not row.going:
            return [0] * count
        return [*row.prompt[-1:], *row.tokens[-count:]][-count:]


def verified(
    p: Tensor, q: Tensor, proposals: Tensor, limits: Tensor, uniform: Tensor, last: Tensor
) -> tuple[Tensor, Tensor]:
    """Which proposals stay, and what comes after them.

    Args:
        p: the model's distributions before each proposal and after the last, ``[R, L + 1, V]``.
        q: the draft model's, that the proposals were drawn from, ``[R, L, V]``.
        proposals: ``[R, L]``.
        limits: of how many proposals a row may keep any, ``[R]``.
        uniform: in [0, 1), ``[R, L]``, one number a proposal.
        last: in [0, 1), ``[R]``, for the token after those that stay.

    Returns:
        How many stay, ``[R]``, and tokens ``[R, L + 1]``: those, then the drawn one, then others
        that mean nothing.
    """
    rows, count = torch.arange(len(p), device=p.device), proposals.shape[1]
    wanted, guessed = (x[:, :count].gather(2, proposals[..., None])[..., 0] for x in (p, q))
    considered = torch.arange(count, device=p.device) < limits[:, None]
    stays = (uniform * guessed < wanted) & considered
    accepted = stays.long().cumprod(1).sum(1)
    weights = p[rows, accepted]
    rest = (weights - q[rows, accepted.clamp(max=count - 1)]).clamp(min=0)
    # p and q that differ by rounding alone may leave nothing.
    refused = (accepted < limits) & (rest.sum(1) > 0)
    drawn = inverted(torch.where(refused[:, None], rest, weights), last)
    tokens = torch.cat([proposals, drawn[:, None]], 1)
    tokens[rows, accepted] = drawn
    return accepted, tokens


def fitted(logits: Tensor, width: int) -> Tensor:
    """Logits ``[..., V]`` of ``width`` tokens: of one vocabulary, heads may be padded to different
    sizes."""
    return F.pad(logits, (0, width - logits.shape[-1]), value=-torch.inf)
