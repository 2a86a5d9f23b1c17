"""Configuration: base class, references, YAML with line numbers, errors and exit codes."""

from burnish.config.base import (
    DataRef,
    DocumentRef,
    ExampleRef,
    FeedbackRef,
    ModelRef,
    PreferenceRef,
    PromptRef,
    Reference,
    Settings,
    references,
)
from burnish.config.errors import (
    EXIT_GATE,
    EXIT_INPUT,
    EXIT_INTERNAL,
    EXIT_INTERRUPTED,
    EXIT_OK,
    BurnishError,
    GateRefused,
    InputError,
    Interrupted,
    Problem,
)

__all__ = [
    "EXIT_GATE",
    "EXIT_INPUT",
    "EXIT_INTERNAL",
    "EXIT_INTERRUPTED",
    "EXIT_OK",
    "BurnishError",
    "DataRef",
    "DocumentRef",
    "ExampleRef",
    "FeedbackRef",
    "GateRefused",
    "InputError",
    "Interrupted",
    "ModelRef",
    "PreferenceRef",
    "Problem",
    "PromptRef",
    "Reference",
    "Settings",
    "references",
]
