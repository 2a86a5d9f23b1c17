"""A folder that runs without PyTorch: the model, its tokenizer, a runner, what to install."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from burnish.exporting.forms import Form
from burnish.exporting.page import PACKAGE, START, write_page
from burnish.store import manifest

RUNNER = "chat.py"
NEEDS = {
    "gguf": "xllamacpp",
    "onnx": "onnxruntime tokenizers jinja2 numpy",
}
"""What the runner of a format is installed with."""


def write_edge(form: Form, folder: Path, package: Path | None = None) -> dict[str, int]:
    """Add runner, requirements and a README to an exported folder, and seal it again.

    Args:
        package: from ``page.fetch``; adds a page that chats in the browser.

    Returns:
        Bytes: of the ``model`` and what it needs, and of the ``page`` where there is one.
    """
    runners = files("burnish.exporting") / "runners"
    runner = (runners / f"{form.format}.py").read_text(encoding="utf-8")
    needs = NEEDS[form.format]
    sizes = {"model": manifest.folder_size(folder)}
    if package is not None:
        sizes["page"] = write_page(folder, package)
    (folder / RUNNER).write_text(runner, encoding="utf-8")
    (folder / "requirements.txt").write_text("\n".join(needs.split()) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_readme(form, sizes), encoding="utf-8")
    manifest.seal(folder)
    return sizes


def _readme(form: Form, sizes: dict[str, int]) -> str:
    text = (
        f"# A model in the form {form}\n\n"
        f"{sizes['model'] / 1e6:.1f} MB, without PyTorch.\n\n"
        "```bash\n"
        "pip install -r requirements.txt\n"
        f'python {RUNNER} "What is the capital of France?"\n'
        f"python {RUNNER}\n"
        "```\n\n"
        "Without a question it chats line by line. Replies are greedy.\n"
    )
    if "page" not in sizes:
        return text
    return text + (
        "\n## In a browser\n\n"
        f"```bash\n{START}\n```\n\n"
        "Then open http://127.0.0.1:8000. The model computes in the browser (Chrome or Edge 137,\n"
        "Firefox 134, or later), on one core; nothing that is written there leaves the machine.\n"
        "Any server of static files will do.\n\n"
        f"A visitor loads {sum(sizes.values()) / 1e6:.1f} MB: {sizes['model'] / 1e6:.1f} of model, "
        f"{sizes['page'] / 1e6:.1f} of page, most of it\n"
        f"llama.cpp for browsers ({PACKAGE}, MIT).\n"
    )
