"""What a model can be exported to, by name: ``gguf:q8_0``, ``onnx:int4``, ``torchao:int8``."""

from __future__ import annotations

from dataclasses import dataclass

from burnish.config import InputError, Problem

PRECISIONS = {
    "gguf": ("f16", "q8_0", "q6_k", "q5_k", "q4_k", "q4_0"),
    "onnx": ("fp32", "int8", "int4"),
    "torch": ("bf16",),
    "torchao": ("int8",),
}
"""By format, largest first. ``torch`` and ``torchao`` are model folders for transformers."""

FILES = {"gguf": "model.gguf", "onnx": "model.onnx"}
"""The model's file in the folder of a format; the others need PyTorch."""

TOLD = "burnish.json"
"""What a runner has to know of an exported model: where replies end, how long they can be."""

PACKAGES = {
    "gguf": ("gguf", "libgguf", "xllamacpp"),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "torch": (),
    "torchao": ("torchao",),
}
"""What of the extra ``export`` writes a format and asks its runtime."""


@dataclass(frozen=True)
class Form:
    """A format and a precision."""

    format: str
    precision: str

    def __str__(self) -> str:
        return f"{self.format}:{self.precision}"

    @property
    def folder(self) -> str:
        """Its name as a folder: ``gguf-q8_0``."""
        return f"{self.format}-{self.precision}"


def parse(text: str) -> Form:
    """A form from its name; a format alone is its largest precision.

    Raises:
        InputError: no such form.
    """
    format_, _, precision = text.lower().partition(":")
    precisions = PRECISIONS.get(format_, ())
    if not precisions or (precision and precision not in precisions):
        known = ", ".join(f"{name}:{one}" for name, some in PRECISIONS.items() for one in some)
        raise InputError(Problem("", None, "to", f"found {text!r}", f"one of {known}"))
    return Form(format_, precision or precisions[0])
