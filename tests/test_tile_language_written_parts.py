"""Parts of on-chip buffers that are written, against torch on the emulator."""

import pytest
import tilelang.language as T
import torch
import written_part_kernels
from constructs import check, supported

import tilelang_tt as tt
from tilelang_tt.layout import height_sharded

D, F = "bfloat16", "float32"
TO_PART = "to a part of an on-chip buffer, of whole hardware tiles, also at a loop's variable"


def run(name, **options):
    kernel, reference, outputs = written_part_kernels.ALL[name]()
    return check(kernel, reference, tuple(range(-outputs, 0)), **options)


@supported("Copies", TO_PART)
@pytest.mark.parametrize("mode", ["global", "local_shard"])
def test_copied_to_parts(mode):
    layout = {"A": height_sharded((128, 128), 2), "C": height_sharded((256, 128), 2)}
    program = run("copied_to_parts", layout=layout if mode == "local_shard" else None)
    assert program.spec.partition.mode == mode


@supported("Copies", "an operand of products, part by part: `T.copy(A[...], a[:, 64:128])`")
def test_loaded_by_parts():
    run("loaded_by_parts")


@supported("Expressions", "stores to a part of an on-chip buffer: `y[i, j + 64] = ...`, also under a condition")
def test_rotated_in_place():
    run("rotated_in_place")


@supported("Loops", "parts of buffers that loops and branches leave behind")
def test_carried_parts():
    run("carried_parts")


@supported("Products", "to a part of an accumulator")
@supported("Reductions", "to a part of a vector")
def test_results_in_parts():
    run("results_in_parts")


@supported("Vectors", "parts of one that are written")
def test_parts_of_vectors_written():
    run("parts_of_vectors_written", tolerance=2**-7)


def test_parts_of_integers():
    run("parts_of_integers")


def test_parts_at_an_odd_end():
    run("parts_at_an_odd_end", tolerance=2**-7)


def test_a_part_is_packed_where_it_lies():
    """A store to one tile of eight packs one tile, not the buffer."""

    @T.prim_func
    def kernel(A: T.Tensor((64, 128), D), C: T.Tensor((64, 128), D)):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_shared((64, 128), D)
            T.copy(A, a)
            for k in T.serial(10):
                for i, j in T.Parallel(32, 32):
                    a[i, j + 32] = k
            T.copy(a, C)

    program = tt.compile(kernel)
    buffer = next(cb for cb in program.spec.circular_buffers if cb.kept)
    assert buffer.num_pages == 8
    arrays = (torch.zeros(64, 128, dtype=torch.bfloat16) for _ in range(2))
    _, report = program.run(*arrays, report=True)
    # Zeros to begin with, what is loaded, ten tiles, and what is stored.
    assert report.tiles.packs == 8 + 8 + 10 + 8
