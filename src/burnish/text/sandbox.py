"""Where chat templates run: a sandboxed Jinja environment with limits.

A template comes with a model folder and is somebody else's program. Before its first use it is
tried in a child process with limits on time, memory and output (``vet``); inside this process the
sandbox forbids attribute tricks, and bounds repetition and output. This file is also the
child's program, so it imports nothing but the standard library and Jinja.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

OUTPUT_LIMIT = 1_000_000
"""Characters one rendering may have beyond its messages; also bounds ``'a' * n``."""
SECONDS = 2
MEMORY = 1 << 29

TEMPLATE_FAULTS = (
    TemplateError, ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError,
    TypeError, ValueError,
)  # fmt: skip
"""What evaluating a template can raise."""


class _Sandbox(ImmutableSandboxedEnvironment):
    """The immutable sandbox, with ``*`` and ``**`` bounded."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if operator == "**" and not (numbers and abs(left) < 2**32 and abs(right) < 64):
            raise SecurityError("a power too large for a chat template")
        if operator == "*" and not numbers:
            size = len(left if hasattr(left, "__len__") else right)
            count = right if hasattr(left, "__len__") else left
            if size * count > OUTPUT_LIMIT:
                raise SecurityError("a repetition too long for a chat template")
        return super().call_binop(context, operator, left, right)


class _Generation(Extension):
    """``{% generation %}...{% endgeneration %}``, which some templates put around replies."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return list(parser.parse_statements(("name:endgeneration",), drop_needle=True))


class _SafeNamespace(Namespace):
    """Jinja's ``namespace`` without access to underscored names; a field may be called self."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        Namespace.__init__(args[0], *args[1:])
        for name, value in kwargs.items():
            args[0][name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        if str(name).startswith("_"):
            raise SecurityError(f"a chat template may not set {name!r}")
        super().__setitem__(name, value)


def _refuse(message: str) -> None:
    raise TemplateError(message)


def _now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)


def _to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


@lru_cache(maxsize=64)
def compiled(template: str) -> Any:
    """The template, compiled as transformers would compile it (trimmed blocks, same helpers)."""
    environment = _Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals.update(raise_exception=_refuse, strftime_now=_now, namespace=_SafeNamespace)
    return environment.from_string(template)


def render(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    variables: Mapping[str, str],
    add_generation_prompt: bool = False,
) -> str:
    """Render a conversation; raises one of ``TEMPLATE_FAULTS``.

    ``variables`` are the special tokens by name (``bos_token``, ``eos_token`` ...).
    """
    limit = OUTPUT_LIMIT + 4 * sum(len(str(message.get("content"))) for message in messages)
    parts: list[str] = []
    size = 0
    for part in compiled(template).generate(
        messages=messages, tools=None, documents=None,
        add_generation_prompt=add_generation_prompt, **variables,
    ):  # fmt: skip
        size += len(part)
        if size > limit:
            raise SecurityError(f"the chat template writes more than {limit} characters")
        parts.append(part)
    return "".join(parts)


_PROBES: list[list[dict[str, str]]] = [
    [{"role": "user", "content": "a"}],
    [{"role": "system", "content": "s" * 50}, {"role": "user", "content": "b" * 500}],
    [{"role": role, "content": "c d\n" * 20} for role in ("user", "assistant") * 6],
]


@lru_cache(maxsize=64)
def vet(template: str, variables: tuple[tuple[str, str], ...]) -> str | None:
    """Try a template in a child process; the reason to refuse it, or None.

    The child may use ``SECONDS`` of processor time and ``MEMORY`` bytes.
    """
    work = json.dumps({"template": template, "variables": dict(variables)})
    try:
        done = subprocess.run(
            [sys.executable, "-I", __file__],
            input=work, capture_output=True, text=True, timeout=6 * SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"it ran for more than {6 * SECONDS} s"
    if done.returncode == 0:
        return str(json.loads(done.stdout)) or None
    return f"it used more than {SECONDS} s of processor time or {MEMORY >> 20} MiB of memory"


def _try_probes(template: str, variables: Mapping[str, str]) -> str:
    """An empty string, or why the template is refused; a template may reject a conversation."""
    try:
        compiled(template)
    except TEMPLATE_FAULTS as fault:
        return f"{type(fault).__name__}: {fault}"
    for messages in _PROBES:
        for generate in (False, True):
            try:
                render(template, messages, variables, generate)
            except (SecurityError, MemoryError, RecursionError) as fault:
                return f"{type(fault).__name__}: {fault}"
            except TEMPLATE_FAULTS:
                continue
    return ""


def _child() -> None:
    try:
        import resource
    except ImportError:  # Windows: the parent's time limit still holds
        resource = None  # type: ignore[assignment]
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    work = json.load(sys.stdin)
    print(json.dumps(_try_probes(work["template"], work["variables"])))


if __name__ == "__main__":
    _child()
