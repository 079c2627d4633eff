"""Functions of elements and rounding to a buffer's dtype, against torch on the emulator."""

import pytest
import tilelang.language as T
import torch
from constructs import check, supported
from functions import GROUPS

import tilelang_tt as tt

D, F = "bfloat16", "float32"


def run(name):
    group = GROUPS[name]
    program = tt.compile(group.kernel(), out_idx=-1)
    found = program(*group.operands).double()
    expected = group.reference(*(operand.double() for operand in group.operands))
    error = (found - expected).abs() / group.scales(expected)
    assert error.max() <= group.tolerance, [float(block.max()) for block in error.split(32)]
    return program


@supported("Expressions", "`T.erf` (within 5e-7), and GELU by it and by `T.tanh`")
def test_erf():
    run("erf")


@supported(
    "Expressions",
    "`T.sin`, `T.cos`, `T.tan`, `T.asin`, `T.acos`, `T.atan`, and the hyperbolic ones",
)
@pytest.mark.parametrize("name", ["angles", "inverse_angles"])
def test_angles(name):
    run(name)


@supported("Expressions", "`T.floor`, `T.ceil`, `T.trunc`, `T.round` (halves away from zero), `T.nearbyint`")
def test_rounding():
    run("rounding")


@supported("Expressions", "`T.log1p`, `T.log10`, `T.exp10`, `T.clamp`")
def test_logarithms():
    run("logarithms")


@supported("Expressions", "`T.pow` by any constant and of two tensors; `T.fmod`, `T.copysign`, `T.hypot`, `T.fma`")
@pytest.mark.parametrize("name", ["powers", "powers_of_negatives", "two_operands"])
def test_powers(name):
    run(name)


@supported("Conditions", "`T.isinf`, `T.isfinite`")
def test_infinities():
    run("infinities")


@supported("Expressions", "that need more tiles at once than DST holds: parts are computed beforehand")
def test_deep_expressions():
    assert "cb_part" in run("more_than_fits_dst").kernels["compute"]


@supported("Expressions", "rounded to the dtype of the buffer that they are stored to, and by `T.cast`")
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("way", ["buffer", "copy", "cast", "product", "sum", "constant"])
def test_rounding_to_a_narrow_dtype(way, dtype):
    narrow = getattr(torch, dtype)

    @T.prim_func
    def kernel(A: T.Tensor((32, 32), F), C: T.Tensor((32, 32), F)):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_fragment((32, 32), F)
            wide = T.alloc_fragment((32, 32), F)
            small = T.alloc_fragment((32, 32), dtype)
            ones = T.alloc_shared((32, 32), dtype)
            row = T.alloc_fragment((32,), dtype)
            T.copy(A[0, 0], a)
            if way == "cast":
                for i, j in T.Parallel(32, 32):
                    wide[i, j] = T.cast(T.cast(a[i, j] * 1.37, dtype), F) * 3 - a[i, j] * 4.11
            elif way == "sum":
                T.reduce_sum(a, row, dim=1)
                for i, j in T.Parallel(32, 32):
                    wide[i, j] = T.cast(row[i], F)
            else:
                for i, j in T.Parallel(32, 32):
                    a[i, j] = a[i, j] * 1.37
                if way == "copy":
                    T.copy(a, small)
                elif way == "product":
                    T.copy(a, ones)
                    T.gemm(ones, ones, small, clear_accum=True)
                elif way == "constant":
                    T.fill(small, 0.1)
                else:
                    for i, j in T.Parallel(32, 32):
                        small[i, j] = a[i, j]
                for i, j in T.Parallel(32, 32):
                    wide[i, j] = T.cast(small[i, j], F) * 3 - a[i, j] * 3
            T.copy(wide, C[0, 0])

    torch.manual_seed(0)
    a = torch.randn(32, 32)
    x = a * 1.37

    def rest(of):
        return (of.to(narrow).float() * 3 - x * 3).double()

    if way == "sum":
        found = tt.compile(kernel, out_idx=-1)(a)
        assert torch.equal(found, found.to(narrow).float())
        return
    if way == "product":
        found = tt.compile(kernel, out_idx=-1)(a) + x * 3
        assert (found / 3 - (found / 3).to(narrow).float()).abs().max() < 1e-5
        return
    expected = rest(torch.full((32, 32), 0.1) if way == "constant" else x)
    check(kernel, lambda _: expected, inputs=[a], tolerance=1e-3)
