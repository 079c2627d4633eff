"""Parts of on-chip buffers, against torch on the emulator."""

import part_kernels
import pytest
from constructs import check, supported

from tilelang_tt.layout import height_sharded

D, F = "bfloat16", "float32"


def run(name, **options):
    kernel, reference, outputs = getattr(part_kernels, name)()
    return check(kernel, reference, tuple(range(-outputs, 0)), **options)


PART = "a part of an on-chip buffer, of whole hardware tiles"


@supported("Copies", PART)
@pytest.mark.parametrize("mode", ["global", "local_shard"])
def test_copied_parts(mode):
    layout = {"A": height_sharded((128, 192), 2), "C": height_sharded((128, 96), 2), "E": height_sharded((128, 64), 2)}
    program = run("copied_parts", layout=layout if mode == "local_shard" else None)
    assert program.spec.partition.mode == mode


@supported("Expressions", PART + ": `x[i, j + 64]`")
def test_parts_in_expressions():
    run("rotated_halves")


@supported("Products", PART + ", at a loop's variable too: `T.gemm(a[:, s * 64 : s * 64 + 64], ...)`")
def test_products_of_parts():
    run("products_of_parts")


@supported("Reductions", PART)
def test_reduced_parts():
    run("reduced_parts")


@supported("Vectors", "a part of one, of whole hardware tiles")
def test_parts_of_vectors():
    run("parts_of_vectors", tolerance=2**-7)


def test_parts_of_what_is_overwritten_and_turned():
    run("parts_under_way")
