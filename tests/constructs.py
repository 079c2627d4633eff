"""What tests of the tile language register: each a row of docs/coverage.md, which make_coverage.py writes."""

from dataclasses import dataclass

import pytest
import torch

import tilelang_tt as tt
from tilelang_tt.errors import Code, UnsupportedError


@dataclass(frozen=True)
class Row:
    section: str
    construct: str
    words: str | None
    """What the refusal says; None for a construct that is supported."""

    module: str
    """Where the test is: rows are in the order of their modules, whichever is imported first."""


ROWS: list[Row] = []
# A bfloat16 output is rounded by up to half of 2**-8. The matrix engine, which also sums, cuts float32 operands to TF32
# (up to 2**-10) and aligns products to 12 bits (3.4e-4 of the largest output, measured).
TOLERANCE = {"bfloat16": 2**-8, "float32": 2**-9, "int32": 0, "bool": 0, "int8": 0, "uint8": 0}


def supported(section, construct):
    """The test shows that ``construct`` is right on the emulator."""

    def register(test):
        ROWS.append(Row(section, construct, None, test.__module__))
        return test

    return register


def refused(section, construct, words):
    """The decorated function returns a kernel that compile() refuses with ``words``; the test is made of it."""

    def register(make):
        ROWS.append(Row(section, construct, words, make.__module__))

        def test():
            with pytest.raises(UnsupportedError) as error:
                tt.compile(make())
            assert error.value.code is Code.UNSUPPORTED
            assert words in str(error.value)
            assert error.value.location is not None

        return test

    return register


def check(func, reference, out_idx=-1, *, tolerance=None, inputs=None, layout=None):
    """Run ``func`` on the emulator, compare every output with ``reference`` of the inputs as float64."""
    program = tt.compile(func, out_idx=out_idx, layout=layout)
    torch.manual_seed(0)
    tensors = [tensor for index, tensor in enumerate(program.spec.tensors) if index not in program.spec.out_idx]
    given = inputs or [random_tensor(tensor.host_shape, tensor.dtype) for tensor in tensors]
    results, expected = program(*given), reference(*(tensor.double() for tensor in given))
    if not isinstance(results, list):
        results, expected = [results], [expected]
    for found, wanted in zip(results, expected, strict=True):
        assert_close(found, wanted, tolerance)
    return program


def random_tensor(shape, dtype):
    if dtype == "bool":
        return torch.rand(*shape) > 0.5
    if dtype in ("int8", "uint8"):
        return torch.randint(0, 256, tuple(shape)).to(getattr(torch, dtype))
    if dtype == "int32":
        return torch.randint(-1000, 1000, tuple(shape), dtype=torch.int32)
    return torch.randn(*shape).to(getattr(torch, dtype))


def assert_close(found, wanted, tolerance=None):
    """Equal where ``wanted`` is infinite; elsewhere within ``tolerance`` of the largest element."""
    allowed = tolerance or TOLERANCE[str(found.dtype).removeprefix("torch.")]
    found, wanted = found.double(), wanted.double()
    finite = torch.isfinite(wanted)
    assert torch.equal(found[~finite], wanted[~finite])
    assert torch.isfinite(found[finite]).all()
    assert (found - wanted)[finite].abs().max() <= allowed * wanted[finite].abs().max()
