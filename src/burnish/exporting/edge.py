"""A folder that runs without PyTorch: the model, its tokenizer, a runner, what to install."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from burnish.exporting.forms import Form
from burnish.store import manifest

RUNNER = "chat.py"
NEEDS = {
    "gguf": "xllamacpp",
    "onnx": "onnxruntime tokenizers jinja2 numpy",
}
"""What the runner of a format is installed with."""


def write_edge(form: Form, folder: Path) -> None:
    """Add runner, requirements and a README to an exported folder, and seal it again."""
    runners = files("burnish.exporting") / "runners"
    runner = (runners / f"{form.format}.py").read_text(encoding="utf-8")
    needs = NEEDS[form.format]
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    (folder / RUNNER).write_text(runner, encoding="utf-8")
    (folder / "requirements.txt").write_text("\n".join(needs.split()) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(
        f"# A model in the form {form}\n\n"
        f"{size / 1e6:.1f} MB, without PyTorch.\n\n"
        "```bash\n"
        "pip install -r requirements.txt\n"
        f'python {RUNNER} "What is the capital of France?"\n'
        f"python {RUNNER}\n"
        "```\n\n"
        "Without a question it chats line by line. Replies are greedy.\n",
        encoding="utf-8",
    )
    manifest.seal(folder)
