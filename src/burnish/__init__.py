"""burnish: LLM post-training that closes the loop.

``burnish.run("quickstart")`` runs a recipe. The four faces of the system are
``PostTrainingDataPipeline``, ``IterativePostTraining``, ``FrontierModelPostTraining`` and
``PostTrainingEvaluator`` (see ``burnish.api``). Objectives, stages and stores are importable on
their own: ``burnish.objectives``, ``burnish.stages.fit.dpo``, ``burnish.store``.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_API = (
    "FrontierModelPostTraining",
    "IterativePostTraining",
    "PostTrainingDataPipeline",
    "PostTrainingEvaluator",
    "run",
)
__all__ = [*_API, "__version__"]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import; `import burnish` and the command line's help need none of it.
    if name in _API:
        importlib.import_module("burnish.config.process").tune()
        return getattr(importlib.import_module("burnish.api"), name)
    raise AttributeError(f"module 'burnish' has no attribute {name!r}")
