"""A LoRA adapter in PEFT's files, as what it changes in each weight of the model under it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from burnish.config import InputError, Problem
from burnish.store.tensors import read_tensors

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_SAVED = re.compile(r"\.(?:modules_to_save\.default|base_layer)")
_PREFIX = "base_model.model."
_PART = re.compile(
    r"(?P<module>.+)\.(?P<part>lora_A\.weight|lora_B\.weight|lora_embedding_A|lora_embedding_B"
    r"|lora_magnitude_vector(?:\.weight)?)"
)


@dataclass(frozen=True)
class Change:
    """What happens to one weight ``[out, in]``: ``scale * up @ down`` is added to it.

    ``up`` is ``[out, r]``, ``down`` ``[r, in]``. With ``magnitude`` ``[out]`` each row then
    gets that length (DoRA, Liu et al. 2024, equation 5).
    """

    down: Tensor
    up: Tensor
    scale: float
    magnitude: Tensor | None = None

    def apply(self, weight: Tensor, start: int, stop: int) -> Tensor:
        """Rows ``start`` to ``stop`` changed; ``weight`` ``[stop - start, in]`` has them before."""
        up = self.up[start:stop].to(weight.dtype)
        changed = weight + self.scale * (up @ self.down.to(weight.dtype))
        if self.magnitude is None:
            return changed
        length = self.magnitude[start:stop, None].to(weight.dtype)
        scaled: Tensor = changed * (length / changed.norm(dim=1, keepdim=True))
        return scaled


@dataclass(frozen=True)
class Adapter:
    """Changes by the name of the weight, and weights that the adapter replaces altogether."""

    changes: dict[str, Change]
    replaced: dict[str, Tensor]

    def touches(self, name: str) -> bool:
        """Whether a weight is another one with the adapter."""
        return name in self.changes or name in self.replaced

    def apply(self, name: str, weight: Tensor, start: int, stop: int) -> Tensor:
        """Rows ``start`` to ``stop`` of a weight with the adapter, given those without."""
        if name in self.replaced:
            return self.replaced[name].view(-1, weight.shape[1])[start:stop].to(weight.dtype)
        change = self.changes.get(name)
        return weight if change is None else change.apply(weight, start, stop)


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds a PEFT adapter."""
    return (folder / CONFIG).is_file()


def read_adapter(folder: Path) -> Adapter:
    """Read LoRA, rsLoRA or DoRA with its saved modules.

    Raises:
        InputError: another kind of adapter, or one of a form that is not merged here.
        CorruptError: the weights are missing or damaged.
    """
    settings = _settings(folder / CONFIG)
    factors: dict[str, dict[str, Tensor]] = {}
    replaced = {}
    for name, tensor in read_tensors(folder / WEIGHTS).items():
        plain = name.removeprefix(_PREFIX)
        found = _PART.fullmatch(plain)
        if found:
            part = found["part"].removesuffix(".weight")
            factors.setdefault(found["module"], {})[part] = tensor
        elif "lora" in plain:
            raise InputError(Problem(str(folder / WEIGHTS), None, name, "is no part of LoRA"))
        else:
            replaced[_SAVED.sub("", plain)] = tensor
    changes = {
        f"{module}.weight": _change(folder, module, parts, settings)
        for module, parts in factors.items()
    }
    return Adapter(changes, replaced)


def _settings(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(Problem(str(path), None, "", f"cannot be read: {error}")) from None
    if not isinstance(settings, dict) or settings.get("peft_type") != "LORA":
        found = settings.get("peft_type") if isinstance(settings, dict) else settings
        raise InputError(Problem(str(path), None, "peft_type", f"found {found!r:.80}", "LORA"))
    unmerged = {"lora_bias": False, "fan_in_fan_out": False, "bias": "none"}
    for name, plain in unmerged.items():
        if settings.get(name, plain) != plain:
            found, expected = f"found {settings[name]!r:.80}", f"{plain!r}; merge it with peft"
            raise InputError(Problem(str(path), None, name, found, expected))
    alpha = settings.get("lora_alpha")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float):
        raise InputError(Problem(str(path), None, "lora_alpha", f"found {alpha!r:.80}", "a number"))
    return settings


def _change(
    folder: Path, module: str, parts: dict[str, Tensor], settings: dict[str, Any]
) -> Change:
    if {"lora_A", "lora_B"} <= parts.keys():
        down, up = parts["lora_A"], parts["lora_B"]
    elif {"lora_embedding_A", "lora_embedding_B"} <= parts.keys():
        # An embedding's weight is [tokens, D], the factors make [D, tokens].
        down, up = parts["lora_embedding_B"].T, parts["lora_embedding_A"].T
    else:
        found = f"only {', '.join(sorted(parts))}"
        raise InputError(Problem(str(folder / WEIGHTS), None, module, found, "both factors"))
    if down.dim() != 2 or up.dim() != 2 or down.shape[0] != up.shape[1]:
        found = f"factors of shapes {list(down.shape)} and {list(up.shape)}"
        raise InputError(Problem(str(folder / WEIGHTS), None, module, found, "fitting ones"))
    alpha = next(
        (
            value
            for pattern, value in (settings.get("alpha_pattern") or {}).items()
            if re.fullmatch(rf"(?:.*\.)?{pattern}", module)
        ),
        settings["lora_alpha"],
    )
    rank = down.shape[0]
    scale = alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)
    return Change(down, up, scale, parts.get("lora_magnitude_vector"))
