"""What decoding will hold in memory, worked out on a model without weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from burnish.models.outline import Memory, Outline
from burnish.sampling.cache import LEAST_ROOM, ROOM, cell_bytes, new_cache
from burnish.sampling.draw import draw
from burnish.sampling.settings import Sampling


@dataclass(frozen=True)
class DecodeMemory:
    """Bytes of the key-value ``cache`` when the replies are longest, room included, and of what is
    ``working`` beside it at the fullest moment."""

    cache: int
    working: int


def rehearse_replies(outline: Outline, rows: int, prompt: int, reply: int) -> DecodeMemory:
    """Decode ``rows`` replies at a time of at most ``reply`` tokens to prompts of ``prompt``.

    The prompts are taken as different from each other; equal ones share their first pass. Layers
    with a sliding window hold less than is counted here.
    """
    cells = prompt + reply
    cache = rows * (cells + max(LEAST_ROOM, int(ROOM * cells))) * cell_bytes(outline.model)
    model = outline.model
    known = [*model.parameters(), *model.buffers()]
    with outline.fake, torch.no_grad():
        with Memory(known) as first:
            held = new_cache(model.config)
            tokens = torch.zeros(rows, prompt, dtype=torch.long)
            output = model(
                input_ids=tokens,
                position_ids=tokens,
                attention_mask=torch.ones_like(tokens),
                cache=held,
                use_cache=True,
                logits_to_keep=1,
            )
            logits = output.logits[:, -1].float()
            del output
        with Memory(known) as step:
            draw(logits, torch.zeros(rows, dtype=torch.float64), Sampling())
        drawn = step.peak + logits.numel() * logits.element_size()
    stored = rows * (prompt + max(LEAST_ROOM, int(ROOM * prompt))) * cell_bytes(outline.model)
    return DecodeMemory(cache, max(first.peak - stored, drawn))
