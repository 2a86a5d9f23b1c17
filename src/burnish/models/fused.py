"""RMS norm, rotary positions and SwiGLU as one autograd function each.

transformers computes them operation by operation, and autograd keeps what each operation read. In
one function a norm keeps its input and one number a row, a rotation nothing of its input, and
SwiGLU its two factors; the backward passes are the closed forms. A layer is replaced only where
its own forward is, instruction by instruction, that of Llama, from which transformers copies it
into most architectures, and where its weights are float32: elsewhere nothing changes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from types import CodeType, FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.activations import SiLUActivation
from transformers.models.llama import modeling_llama as llama

ROTATE = "apply_rotary_pos_emb"
CACHED = 2**17
"""Numbers of one slice of an elementwise pass that should stay in a core's cache."""


def fuse(model: nn.Module) -> None:
    """Give the layers of a float32 model that are known the functions of this file, in place."""
    for module in model.modules():
        weight = next(module.parameters(), None)
        if weight is not None and weight.dtype == torch.float32:
            kind: Any = type(module)
            forward = _forward_of(kind)
            if forward is not None and _plain(module):
                module.__class__ = _variant(kind, forward)


def _plain(module: nn.Module) -> bool:
    """Whether what the code of a known layer leaves open is as these functions take it."""
    return isinstance(getattr(module, "act_fn", None), nn.SiLU | SiLUActivation | type(None))


@cache
def _forward_of(kind: Any) -> Callable[..., Any] | None:
    """What replaces the forward of a class; None where it is not known."""
    own = inspect.unwrap(kind.forward)
    if _same(own, llama.LlamaRMSNorm.forward):
        return _norm_forward
    if _same(own, llama.LlamaMLP.forward):
        return _mlp_forward
    names = getattr(own, "__globals__", {})
    known = (ROTATE, "rotate_half")
    if ROTATE in own.__code__.co_names and all(
        name in names and _same(names[name], getattr(llama, name)) for name in known
    ):
        # Its own code, which finds our function under the name.
        changed = {**names, ROTATE: rotate}
        return FunctionType(own.__code__, changed, own.__name__, own.__defaults__, own.__closure__)
    return None


@cache
def _variant(kind: Any, forward: Callable[..., Any]) -> type[Any]:
    """A subclass of the same name, by which transformers and FSDP find layers."""
    return type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})


def _same(one: Any, other: Any) -> bool:
    """Whether two functions have the same instructions, names and constants but a docstring."""
    first, second = (getattr(inspect.unwrap(item), "__code__", None) for item in (one, other))
    if first is None or second is None:
        return False
    return _content(first) == _content(second)


def _content(code: CodeType) -> tuple[Any, ...]:
    constants = [constant for constant in code.co_consts if not isinstance(constant, str)]
    return code.co_code, code.co_names, code.co_varnames, constants


def _norm_forward(self: Any, hidden_states: Tensor) -> Tensor:
    return rms_norm(hidden_states, self.weight, self.variance_epsilon)


def _mlp_forward(self: Any, x: Tensor) -> Tensor:
    out: Tensor = self.down_proj(swiglu(self.gate_proj(x), self.up_proj(x)))
    return out


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """``x / sqrt(mean(x^2) + eps) * weight`` over the last axis of ``x [..., D]``; Zhang and
    Sennrich 2019 (arXiv 1910.07467), eq. 4."""
    if not torch.is_grad_enabled():
        return (x * _scale(x, eps)).mul_(weight)
    out: Tensor = _RMSNorm.apply(x, weight, eps)  # type: ignore[no-untyped-call]
    return out


def _scale(x: Tensor, eps: float) -> Tensor:
    square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
    scale: Tensor = square.div_(x.shape[-1]).add_(eps).rsqrt_()
    return scale


class _RMSNorm(torch.autograd.Function):
    """With ``n = x s``, ``s`` the inverse root: d x = s (g w - n mean(g w n)), d w = sum(g n)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        scale = _scale(x, eps)
        ctx.save_for_backward(x, weight, scale)
        return (x * scale).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        (slope,) = grads
        x, weight, scale = ctx.saved_tensors
        normal = x * scale
        pulled = normal * slope
        mean = (pulled @ weight).div_(-x.shape[-1])[..., None]
        into_weight = pulled.flatten(0, -2).sum(0) if ctx.needs_input_grad[1] else None
        return (slope * weight).addcmul_(normal, mean).mul_(scale), into_weight, None


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """``silu(gate) * up`` of ``[..., I]``; Shazeer 2020 (arXiv 2002.05202), eq. 6."""
    if not torch.is_grad_enabled():
        return F.silu(gate).mul_(up)
    out: Tensor = _SwiGLU.apply(gate, up)  # type: ignore[no-untyped-call]
    return out


class _SwiGLU(torch.autograd.Function):
    """With ``s = sigmoid(a)``: d b = g a s and d a = g b s (1 + a (1 - s))."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        into_gate, into_up = gate.new_empty(gate.shape), up.new_empty(up.shape)
        columns = (grads[0], gate, up, into_gate, into_up)
        size = max(1, CACHED // gate.shape[-1])
        for slope, a, b, a_slope, b_slope in zip(
            *(column.flatten(0, -2).split(size) for column in columns), strict=True
        ):
            torch.mul(F.silu(a), slope, out=b_slope)
            torch.ops.aten.silu_backward.grad_input(slope * b, a, grad_input=a_slope)
        return into_gate, into_up


def rotate(
    q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1
) -> tuple[Tensor, Tensor]:
    """Rotary positions of queries and keys ``[B, H, T, Dh]`` by angles whose ``cos`` and ``sin``
    are ``[B, T, Dh]``, first half against second; Su et al. 2021 (arXiv 2104.09864), eq. 34."""
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    if not torch.is_grad_enabled():
        return _turn(q, cos, sin), _turn(k, cos, sin)
    return (
        _Rotation.apply(q, cos, sin),  # type: ignore[no-untyped-call]
        _Rotation.apply(k, cos, sin),  # type: ignore[no-untyped-call]
    )


def _turn(x: Tensor, cos: Tensor, sin: Tensor, back: bool = False) -> Tensor:
    """Forward ``x cos + (-second half, first half) sin``, or that map transposed."""
    left, right = x.chunk(2, -1)
    first, second = sin.chunk(2, -1)
    if back:
        first, second = -second, -first
    out = x * cos
    out_left, out_right = out.chunk(2, -1)
    out_left.addcmul_(right, first, value=-1)
    out_right.addcmul_(left, second)
    return out


class _Rotation(torch.autograd.Function):
    """A linear map; angles carry no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turn(grads[0], cos, sin, back=True), None, None
