"""Kernels that apply functions to every element of one or two tensors, each to a block of its own of the output, with
what they are to give: for the emulator's tests and for those on chips."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tilelang.language as T
import torch

F = "float32"
ROWS, COLS = 32, 64


@dataclass(frozen=True)
class Group:
    """Functions of the tile language with their references, on ``operands`` (32 x 64) each."""

    functions: Sequence[tuple[Callable, Callable]]
    operands: Sequence[torch.Tensor]
    tolerance: float = 3e-6
    """Largest error relative to the function's own largest value."""

    def kernel(self, dtype=F):
        count = len(self.functions)
        if len(self.operands) == 1:

            @T.prim_func
            def one_operand(A: T.Tensor((ROWS, COLS), dtype), C: T.Tensor((count * ROWS, COLS), F)):
                with T.Kernel(1, threads=128) as bx:
                    a = T.alloc_shared((ROWS, COLS), dtype)
                    c = T.alloc_fragment((ROWS, COLS), F)
                    T.copy(A[0, 0], a)
                    for n, (function, _) in enumerate(self.functions):
                        for i, j in T.Parallel(ROWS, COLS):
                            c[i, j] = function(a[i, j])
                        T.copy(c, C[n * ROWS, 0])

            return one_operand

        @T.prim_func
        def two_operands(
            A: T.Tensor((ROWS, COLS), dtype), B: T.Tensor((ROWS, COLS), dtype), C: T.Tensor((count * ROWS, COLS), F)
        ):
            with T.Kernel(1, threads=128) as bx:
                a = T.alloc_shared((ROWS, COLS), dtype)
                b = T.alloc_shared((ROWS, COLS), dtype)
                c = T.alloc_fragment((ROWS, COLS), F)
                T.copy(A[0, 0], a)
                T.copy(B[0, 0], b)
                for n, (function, _) in enumerate(self.functions):
                    for i, j in T.Parallel(ROWS, COLS):
                        c[i, j] = function(a[i, j], b[i, j])
                    T.copy(c, C[n * ROWS, 0])

        return two_operands

    def reference(self, *operands):
        """What the kernel gives, each function's block scaled to a largest value of 1 by ``scales``."""
        return torch.cat([reference(*operands) for _, reference in self.functions])

    def scales(self, expected):
        """The largest value of each function, for every element of the kernel's output."""
        blocks = [block.abs().max().expand(ROWS, COLS) for block in expected.split(ROWS)]
        return torch.cat(blocks).clamp(min=1e-30)


def between(low, high):
    """Numbers that all formats hold: a Wormhole chip cuts float32 operands to TF32."""
    return torch.linspace(low, high, ROWS * COLS).reshape(ROWS, COLS).bfloat16().float()


def power(exponent):
    return (lambda x: T.pow(x, T.float32(exponent)), lambda x: x**exponent)


def same(*names):
    return [(getattr(T, name), getattr(torch, name)) for name in names]


def halves_away(x):
    return torch.sign(x) * torch.floor(x.abs() + 0.5)


def tree(depth, maximum):
    """A balanced tree of operations: as many registers as ``depth``, and one more."""

    def value(x, y, depth=depth, factor=1.0):
        if depth == 0:
            return x if factor > 1 else y
        a, b = value(x, y, depth - 1, factor + 0.1), value(x, y, depth - 1, factor - 0.1)
        return maximum(a, b) * b if depth == 1 else a * factor - b / (factor + 1)

    return value


def where(condition, a, b):
    return torch.where(condition, torch.as_tensor(a).double(), torch.as_tensor(b).double())


quarters = torch.arange(-ROWS * COLS // 2, ROWS * COLS // 2).reshape(ROWS, COLS) * 0.25
with_infinities = between(-5, 5).masked_fill(between(-5, 5) > 4, math.inf).masked_fill(between(-5, 5) < -4, -math.inf)

GROUPS = {
    "erf": Group(
        [
            (T.erf, torch.erf),
            (lambda x: x * 0.5 * (1 + T.erf(x * 0.7071067811865476)), torch.nn.functional.gelu),
            (
                lambda x: 0.5 * x * (1 + T.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))),
                lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
            ),
        ],
        [between(-5, 5)],
        1e-6,
    ),
    "angles": Group(same("sin", "cos", "tan", "atan", "sinh", "cosh", "asinh"), [between(-5, 5)]),
    "inverse_angles": Group(same("asin", "acos", "atanh", "log1p"), [between(-0.95, 0.95)]),
    "rounding": Group(
        [*same("floor", "ceil", "trunc"), (T.round, halves_away), (T.nearbyint, torch.round)], [quarters], 1e-9
    ),
    "logarithms": Group(
        [
            *same("log10", "log1p", "log2"),
            (T.exp10, lambda x: 10**x),
            (T.acosh, torch.acosh),
            (lambda x: T.clamp(x, 2.0, T.float32(3)), lambda x: x.clamp(2, 3)),
        ],
        [between(1, 9)],
    ),
    "powers": Group([power(exponent) for exponent in (0, 1, 2, 3, 5, -1, -3, 0.5, -0.5, 1.7)], [between(0.1, 5)], 1e-5),
    "powers_of_negatives": Group([power(exponent) for exponent in (1, 2, 3, 4)], [quarters], 1e-5),
    "two_operands": Group(
        [
            (T.pow, torch.pow),
            (T.fmod, torch.fmod),
            *same("copysign", "hypot"),
            (lambda x, y: T.fma(x, y, T.float32(1)), lambda x, y: x * y + 1),
            (lambda x, y: T.ieee_fdiv(T.ieee_add(x, y, "rn"), T.ieee_frcp(y, "rn"), "rn"), lambda x, y: (x + y) * y),
        ],
        [between(0.5, 5), between(2, 1)],
        1e-5,
    ),
    "more_than_fits_dst": Group(
        [(tree(depth, T.max), tree(depth, torch.maximum)) for depth in (4, 5)],
        [between(-2, 2), between(2, -1)],
        1e-5,
    ),
    "infinities": Group(
        [
            (lambda x: T.if_then_else(T.isfinite(x), x, 7.0), lambda x: where(x.isfinite(), x, 7)),
            (lambda x: T.if_then_else(T.isinf(x), 7.0, x), lambda x: where(x.isinf(), 7, x)),
        ],
        [with_infinities],
        1e-9,
    ),
}
