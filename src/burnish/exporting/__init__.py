"""Models in the forms other runtimes read: GGUF, ONNX, int8 and bf16; and those runtimes, asked.

``runtimes`` and ``child`` import neither torch nor transformers before a runtime needs them, so
that what an artifact costs is measured in a process of its own.
"""
