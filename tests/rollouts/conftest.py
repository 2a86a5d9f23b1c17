"""Tiny models are quickest on one thread, above all on a machine that others use too."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
