from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tests import tiny

from burnish.models.outline import outline
from burnish.sampling.cache import cell_bytes
from burnish.sampling.decoding import Row, Rows
from burnish.sampling.rehearsal import rehearse_replies
from burnish.sampling.settings import Sampling
from burnish.sampling.stopping import Endings

ROWS, PROMPT, REPLY = 3, 40, 60
CELL = 2 * 2 * 2 * 8 * 4  # keys and values, 2 layers, 2 heads of 8, 4 bytes


def test_the_cache_by_hand_and_as_it_grows(tmp_path: Path) -> None:
    tiny.model().config.save_pretrained(tmp_path)
    made = outline(str(tmp_path), torch.float32)
    found = rehearse_replies(made, ROWS, PROMPT, REPLY)
    assert cell_bytes(made.model) == CELL
    assert found.cache == ROWS * (100 + 32) * CELL  # at least 32 cells of room
    endings = Endings(tiny.tokenizer(), frozenset(), [])
    rows = [
        Row(tuple(range(i, PROMPT + i)), np.random.default_rng(i), REPLY, Sampling(), endings)
        for i in range(ROWS)
    ]
    with torch.inference_mode():
        batch = Rows(tiny.model(), rows)
        sizes = []
        while batch.alive:
            batch.step()
            layers = batch.past.cache.layers
            sizes.append(sum(s.numel() * s.element_size() for one in layers for s in one.stores))
    assert found.cache * 0.7 < max(sizes) <= found.cache
    vocabulary = len(tiny.tokenizer())
    assert found.working >= ROWS * vocabulary * (4 + 4 + 8)  # logits, probabilities, their sums
