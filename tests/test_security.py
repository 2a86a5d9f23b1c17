"""What burnish's own source never does, found in its syntax trees."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "burnish"

# Calls that run or unpickle what they are given, by the full dotted name they are called under.
FORBIDDEN = {
    "eval": "runs text as code",
    "exec": "runs text as code",
    "compile": "turns text into code",
    "__import__": "imports by a computed name",
    "os.system": "runs a shell",
    "os.popen": "runs a shell",
    "subprocess.getoutput": "runs a shell",
    "subprocess.getstatusoutput": "runs a shell",
    "pickle.load": "unpickles",
    "pickle.loads": "unpickles",
    "pickle.Unpickler": "unpickles",
    "cPickle.load": "unpickles",
    "dill.load": "unpickles",
    "dill.loads": "unpickles",
    "cloudpickle.load": "unpickles",
    "cloudpickle.loads": "unpickles",
    "joblib.load": "unpickles",
    "marshal.load": "reads code objects",
    "marshal.loads": "reads code objects",
    "shelve.open": "unpickles",
    "pandas.read_pickle": "unpickles",
    "yaml.load": "builds any object; use yaml.safe_load",
    "yaml.load_all": "builds any object; use yaml.safe_load_all",
    "yaml.unsafe_load": "builds any object",
    "yaml.full_load": "builds many objects",
    "torch.jit.load": "runs code from a file",
    "torch.hub.load": "runs code from the network",
    "runpy.run_path": "runs a file",
    "runpy.run_module": "runs a module",
}
# Modules that serve no other purpose; importing a name from them hides the call above.
FORBIDDEN_IMPORTS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal"}


def findings(text: str, file: str) -> list[str]:
    """Each forbidden thing in a module's source, as ``file:line: what``."""
    tree = ast.parse(text)
    names = imported_names(tree)
    found = []
    for node in ast.walk(tree):
        for what in [*bad_import(node), *bad_call(node, names), *bad_keyword(node)]:
            found.append(f"{file}:{node.lineno}: {what}")
    return found


def imported_names(tree: ast.AST) -> dict[str, str]:
    """Local names and the dotted names they stand for."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {item.asname: item.name for item in node.names if item.asname}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {i.asname or i.name: f"{node.module}.{i.name}" for i in node.names}
    return names


def dotted(node: ast.expr, names: dict[str, str]) -> str:
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, names)}.{node.attr}"
    return ""


def bad_import(node: ast.AST) -> list[str]:
    modules = []
    if isinstance(node, ast.Import):
        modules = [item.name for item in node.names]
    elif isinstance(node, ast.ImportFrom):
        modules = [node.module or ""]
    return [f"import of {m}" for m in modules if m.split(".")[0] in FORBIDDEN_IMPORTS]


def bad_call(node: ast.AST, names: dict[str, str]) -> list[str]:
    if not isinstance(node, ast.Call):
        return []
    name = dotted(node.func, names).removeprefix("builtins.")
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    if name in FORBIDDEN:
        return [f"{name}(): {FORBIDDEN[name]}"]
    if name == "torch.load" and not is_constant(keywords.get("weights_only"), True):
        return ["torch.load() without weights_only=True"]
    if name in ("numpy.load", "np.load") and "allow_pickle" in keywords:
        return [f"{name}() with allow_pickle"]
    return []


def bad_keyword(node: ast.AST) -> list[str]:
    """Keyword arguments that must be the constant False wherever they are given."""
    if isinstance(node, ast.Call):
        pairs = [(keyword.arg, keyword.value) for keyword in node.keywords]
    elif isinstance(node, ast.Dict):
        pairs = [
            (str(key.value) if isinstance(key, ast.Constant) else None, value)
            for key, value in zip(node.keys, node.values, strict=True)
        ]
    else:
        return []
    return [
        f"{name} is not False"
        for name, value in pairs
        if name in ("shell", "trust_remote_code") and not is_constant(value, False)
    ]


def is_constant(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def test_nothing_forbidden_in_the_package() -> None:  # S-02
    files = sorted(SOURCE.rglob("*.py"))
    assert len(files) > 10
    found = [
        finding
        for path in files
        for finding in findings(
            path.read_text(encoding="utf-8"), str(path.relative_to(SOURCE.parents[1]))
        )
    ]
    assert not found, "forbidden in burnish:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads as read",
        "import pickle as p\np.load(f)",
        "import torch\ntorch.load('x')",
        "import torch as t\nt.load('x', weights_only=False)",
        "from torch import load\nload('x', weights_only=flag)",
        "import yaml\nyaml.load(x, Loader=yaml.SafeLoader)",
        "from yaml import load\nload(x)",
        "eval('1')",
        "import builtins\nbuiltins.exec('1')",
        "import os\nos.system('ls')",
        "from os import popen as p\np('ls')",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "run('ls', shell=flag)",
        "load(x, trust_remote_code=True)",
        "options = {'trust_remote_code': True}",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
    ],
)
def test_each_kind_is_found(text: str) -> None:
    assert findings(text, "x.py")


def test_what_is_allowed() -> None:
    text = """
import json, re, torch, yaml
model.eval()
re.compile("x")
json.load(f)
torch.load("x", weights_only=True)
yaml.safe_load(x)
run(["ls"], shell=False, trust_remote_code=False)
"""
    assert findings(text, "x.py") == []
