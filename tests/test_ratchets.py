"""Budgets on the shape of the code. A list of offenders is a list of what to split or shorten."""

from __future__ import annotations

import ast
import math
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "burnish"
COMMAND_LINE = "src/burnish/cli/"

FILE_LINES = 400
FUNCTION_LINES_95 = 60
FUNCTION_LINES_MOST = 90
SETTINGS_FIELDS = 20

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules(*folders: Path) -> dict[str, str]:
    """The text of every Python file below the folders, by path from the repository's root."""
    paths = sorted(path for folder in folders for path in folder.rglob("*.py"))
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}


SOURCE = modules(ROOT / "src")
ALL = modules(ROOT / "src", ROOT / "tools")


def report(what: str, offenders: list[str]) -> str:
    return f"{what}:\n" + "\n".join(offenders)


def functions(sources: dict[str, str]) -> dict[str, int]:
    """Lines of every function, decorators and docstring included, by ``file:line name``."""
    return {
        f"{file}:{node.lineno} {node.name}": (node.end_lineno or 0) - first_line(node) + 1
        for file, text in sources.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, Function)
    }


def first_line(node: Function) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def long_files(sources: dict[str, str]) -> list[str]:
    lengths = {file: len(text.splitlines()) for file, text in sources.items()}
    return [f"{file}: {length} lines" for file, length in lengths.items() if length > FILE_LINES]


def long_functions(sources: dict[str, str]) -> list[str]:
    """All above the most; and all above the 95th percentile's budget when that is exceeded."""
    lengths = functions(sources)
    ranked = sorted(lengths.values())
    percentile = ranked[math.ceil(0.95 * len(ranked)) - 1] if ranked else 0
    limit = FUNCTION_LINES_95 if percentile > FUNCTION_LINES_95 else FUNCTION_LINES_MOST
    over = sorted((-length, name) for name, length in lengths.items() if length > limit)
    return [f"{name}: {-length} lines" for length, name in over]


def wide_settings(sources: dict[str, str]) -> list[str]:
    """Subclasses of Settings, direct or not, with too many fields, inherited ones included."""
    classes = {
        node.name: (file, node)
        for file, text in sources.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
    }

    def bases(name: str) -> list[str]:
        if name not in classes:
            return []
        direct = [ast.unparse(base).split(".")[-1] for base in classes[name][1].bases]
        return direct + [above for base in direct for above in bases(base)]

    found = []
    for name, (file, node) in classes.items():
        family = [name, *bases(name)]
        if "Settings" not in family[1:]:
            continue
        fields = {
            item.target.id
            for member in family
            if member in classes
            for item in classes[member][1].body
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        }
        if len(fields) > SETTINGS_FIELDS:
            found.append(f"{file}:{node.lineno} {name}: {len(fields)} fields")
    return found


def inner_imports(sources: dict[str, str]) -> list[str]:
    """Imports of burnish inside functions, where they hide a cycle.

    The command line may: its help must not wait for torch, and nothing imports it in turn.
    """
    found = set()
    for file, text in sources.items():
        if file.startswith(COMMAND_LINE):
            continue
        for function in ast.walk(ast.parse(text)):
            if not isinstance(function, Function):
                continue
            for node in ast.walk(function):
                names = [i.name for i in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom):
                    names = ["burnish" if node.level else node.module or ""]
                if any(name.split(".")[0] == "burnish" for name in names):
                    found.add(f"{file}:{node.lineno}: {ast.unparse(node)}")
    return sorted(found)


def swallowed_errors(sources: dict[str, str]) -> list[str]:
    """Bare ``except:``, and handlers that only pass."""
    found = []
    for file, text in sources.items():
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            if node.type is None:
                found.append(f"{file}:{node.lineno}: bare except")
            if all(isinstance(item, ast.Pass) or is_text(item) for item in node.body):
                found.append(f"{file}:{node.lineno}: except with nothing but pass")
    return found


def is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def test_files_are_short() -> None:
    offenders = long_files(ALL)
    assert not offenders, report(f"files above {FILE_LINES} lines", offenders)


def test_functions_fit_a_screen() -> None:
    offenders = long_functions(ALL)
    limits = f"95 in 100 at most {FUNCTION_LINES_95} lines, none above {FUNCTION_LINES_MOST}"
    assert not offenders, report(f"functions too long ({limits})", offenders)


def test_settings_are_narrow() -> None:
    offenders = wide_settings(SOURCE)
    assert not offenders, report(f"settings above {SETTINGS_FIELDS} fields", offenders)


def test_imports_stand_at_the_top() -> None:
    offenders = inner_imports(SOURCE)
    assert not offenders, report("imports of burnish inside functions", offenders)


def test_no_error_is_swallowed() -> None:
    offenders = swallowed_errors(ALL)
    assert not offenders, report("errors swallowed", offenders)


def test_packages_say_what_they_are() -> None:
    folders = sorted({(ROOT / file).parent for file in SOURCE} - {PACKAGE.parent})
    offenders = []
    for folder in folders:
        init = folder / "__init__.py"
        if not init.exists():
            offenders.append(f"{folder.relative_to(ROOT)}: no __init__.py")
        elif not ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))):
            offenders.append(f"{init.relative_to(ROOT)}: no docstring")
    assert not offenders, report("packages without a docstring", offenders)


def test_each_budget_can_fail() -> None:
    body = "\n    x = 1" * 90
    wide = "\n    ".join(f"f{i}: int" for i in range(11))
    bad = {
        "long.py": "\n" * (FILE_LINES + 1),
        "function.py": f"def f():{body}\n",
        "a.py": f"class A(Settings):\n    {wide}\n",
        "b.py": f"class B(a.A):\n    {wide.replace('f', 'g')}\n",
        "inner.py": "def f():\n    if x:\n        from burnish.store import atomic\n",
        "src/burnish/cli/x.py": "def f():\n    from burnish.store import atomic\n",
        "near.py": "class C:\n    def f(self):\n        from . import x\n",
        "swallow.py": "try:\n    x()\nexcept ValueError:\n    pass\n",
        "bare.py": "try:\n    x()\nexcept:\n    y()\n",
    }
    assert long_files(bad) == ["long.py: 401 lines"]
    assert long_functions(bad) == ["function.py:1 f: 91 lines"]
    assert wide_settings(bad) == ["b.py:1 B: 22 fields"]
    assert inner_imports(bad) == [
        "inner.py:3: from burnish.store import atomic", "near.py:3: from . import x"
    ]  # fmt: skip
    assert swallowed_errors(bad) == [
        "swallow.py:3: except with nothing but pass", "bare.py:3: bare except"
    ]  # fmt: skip


def test_percentile_budget() -> None:
    def source(long: int) -> dict[str, str]:
        bodies = ["\n    x = 1" * (60 if i < long else 1) for i in range(100)]
        return {"x.py": "\n".join(f"def f{i}():{body}" for i, body in enumerate(bodies))}

    assert long_functions(source(5)) == []
    assert len(long_functions(source(6))) == 6
