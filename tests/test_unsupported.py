"""What has no lowering is refused by name and line, before anything is generated."""

import inspect

import pytest
import tilelang.language as T
import torch

import tilelang_tt as tt
from tilelang_tt.errors import CapacityError, Code, UnsupportedError
from tilelang_tt.layout import height_sharded

DTYPE = "bfloat16"


def line_of(marker):
    """The line of this file that ends with the comment ``marker``."""
    source = inspect.getsource(inspect.getmodule(line_of)).splitlines()
    return next(number for number, text in enumerate(source, 1) if text.endswith(f"# {marker}"))


def refuse(func, text, marker=None, **options):
    with pytest.raises(UnsupportedError) as refused:
        tt.compile(func, **options)
    error = refused.value
    assert error.code is Code.UNSUPPORTED
    assert text in str(error)
    assert error.location is not None
    assert error.location.file == __file__
    if marker is not None:
        assert error.location.line == line_of(marker)


def test_an_operation_that_has_no_lowering():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), "int32"), B: T.Tensor((64,), "int32")):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_fragment((64, 64), "int32")
            B_shared = T.alloc_fragment((64,), "int32")
            T.copy(A[0, 0], A_shared)
            T.reduce_bitor(A_shared, B_shared, dim=1)  # bits
            T.copy(B_shared, B[0])

    refuse(kernel, "T.reduce_bitor is not supported", "bits")


def test_an_operation_in_a_parallel_body():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), DTYPE), B: T.Tensor((64, 64), DTYPE)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((64, 64), DTYPE)
            B_shared = T.alloc_shared((64, 64), DTYPE)
            T.copy(A[0, 0], A_shared)
            for i, j in T.Parallel(64, 64):
                B_shared[i, j] = T.atan2(A_shared[i, j], A_shared[i, j])  # arc tangent
            T.copy(B_shared, B[0, 0])

    refuse(kernel, "atan2 in T.Parallel is not supported", "arc tangent")


def test_a_block_that_reaches_past_a_tensor_used_in_place():
    @T.prim_func
    def kernel(A: T.Tensor((96, 64), DTYPE), B: T.Tensor((96, 64), DTYPE)):
        with T.Kernel(1, 2, threads=128) as (bx, by):
            A_shared = T.alloc_shared((64, 64), DTYPE)
            T.copy(A[by * 64, bx * 64], A_shared)  # past the end
            T.copy(A_shared, B[by * 64, bx * 64])

    refuse(kernel, "may reach past its end", "past the end", layout={"A": height_sharded((96, 64), 2, align=(64, 64))})


def test_blocks_that_begin_inside_a_hardware_tile_and_do_not_divide_the_tensor():
    @T.prim_func
    def kernel(A: T.Tensor((100, 64), DTYPE), B: T.Tensor((100, 64), DTYPE)):
        with T.Kernel(7, threads=128) as bx:
            A_shared = T.alloc_shared((16, 64), DTYPE)
            T.copy(A[bx * 16, 0], A_shared)  # small blocks
            T.copy(A_shared, B[bx * 16, 0])

    refuse(kernel, "a block of A is not whole hardware tiles", "small blocks")


def test_thread_indices():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), DTYPE), B: T.Tensor((64, 64), DTYPE)):
        with T.Kernel(1, threads=128) as bx:
            tx = T.get_thread_binding(0)
            A_shared = T.alloc_shared((64, 64), DTYPE)
            T.copy(A[tx, 0], A_shared)
            T.copy(A_shared, B[0, 0])

    refuse(kernel, "thread ind")


def test_a_dtype_that_no_engine_computes_with():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), "float8_e4m3"), B: T.Tensor((64, 64), "float8_e4m3")):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((64, 64), "float8_e4m3")
            T.copy(A[0, 0], A_shared)
            T.copy(A_shared, B[0, 0])

    with pytest.raises(UnsupportedError) as refused:
        tt.compile(kernel)
    assert "float8_e4m3" in str(refused.value)
    assert "bfloat16, float16, float32" in str(refused.value)


def test_an_accumulator_that_holds_nothing():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), DTYPE), C: T.Tensor((64, 64), DTYPE)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((64, 64), DTYPE)
            C_local = T.alloc_fragment((64, 64), "float32")
            T.copy(A[0, 0], A_shared)
            T.gemm(A_shared, A_shared, C_local)  # accumulates
            T.copy(C_local, C[0, 0])

    refuse(kernel, "accumulates onto C_local, which holds nothing", "accumulates")


def test_regions_of_different_size():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), DTYPE), B: T.Tensor((64, 64), DTYPE)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((64, 64), DTYPE)
            T.copy(A[0:64, 0], A_shared)  # sizes
            T.copy(A_shared, B[0, 0])

    refuse(kernel, "the regions differ in size", "sizes")


def test_mixed_16_bit_formats():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), "float16"), B: T.Tensor((64, 64), "bfloat16")):  # mixed
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((64, 64), "float16")
            T.copy(A[0, 0], A_shared)
            T.copy(A_shared, B[0, 0])

    refuse(kernel, "float16 and bfloat16", "mixed")


def test_a_tensor_read_back_after_it_was_written():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), DTYPE), B: T.Tensor((64, 64), DTYPE), C: T.Tensor((64, 64), DTYPE)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((64, 64), DTYPE)
            B_shared = T.alloc_shared((64, 64), DTYPE)
            T.copy(A[0, 0], A_shared)
            T.copy(A_shared, B[0, 0])
            T.copy(B[0, 0], B_shared)  # read back
            T.copy(B_shared, C[0, 0])

    refuse(kernel, "B is read back after the kernel wrote it", "read back")


@pytest.mark.parametrize("step", [64, 32, 16])
def test_blocks_updated_in_place_in_a_loop_overlap(step):
    """The reader would be ahead of the writer, unless the blocks of all iterations are apart."""

    @T.prim_func
    def kernel(A: T.Tensor((256, 64), "float32")):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((64, 64), "float32")
            for k in T.serial(4):
                T.copy(A[k * step : k * step + 64, 0:64], A_shared)  # overlaps
                for i, j in T.Parallel(64, 64):
                    A_shared[i, j] = A_shared[i, j] + 1
                T.copy(A_shared, A[k * step : k * step + 64, 0:64])

    if step < 64:
        refuse(kernel, "A is read back after the kernel wrote it", "overlaps")
        return
    a = torch.zeros(256, 64)
    tt.compile(kernel)(a)
    assert (a == 1).all()


def test_a_tensor_accumulated_onto_in_a_loop():
    @T.prim_func
    def kernel(A: T.Tensor((192, 64), DTYPE), C: T.Tensor((64, 64), DTYPE)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((64, 64), DTYPE)
            C_shared = T.alloc_shared((64, 64), DTYPE)
            for k in T.serial(3):
                T.copy(A[k * 64, 0], A_shared)
                T.copy(C[0, 0], C_shared)  # running total
                for i, j in T.Parallel(64, 64):
                    C_shared[i, j] = C_shared[i, j] + A_shared[i, j]
                T.copy(C_shared, C[0, 0])

    refuse(kernel, "C is read back after the kernel wrote it", "running total")


def test_no_grid():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), DTYPE)):
        for i in T.serial(64):
            A[i, 0] = A[i, 0] + T.bfloat16(1)

    refuse(kernel, "launches no grid")


def test_what_is_no_function():
    with pytest.raises(UnsupportedError) as refused:
        tt.compile(lambda: None)
    assert "a PrimFunc" in str(refused.value)


def test_a_program_larger_than_l1_is_refused_with_a_table():
    import kernels

    with pytest.raises(CapacityError) as refused:
        tt.compile(kernels.gemm.get_tir(1024, 1024, 512, 512, 512, 256, stages=3))
    error = refused.value
    assert error.code is Code.L1_CAPACITY
    lines = error.found.splitlines()
    assert lines[0] == "3,670,016 bytes:"
    assert [line.split()[:2] for line in lines[1:]] == [
        ["1,048,576", "cb_C_local:"],
        ["1,048,576", "cb_C_out:"],
        ["786,432", "cb_A_shared:"],
        ["786,432", "cb_B_shared:"],
    ]
    assert "1,393,312 bytes on wormhole_n150" in str(error)
