"""One kernel per construct that is refused, and what the refusal says: rows of docs/coverage.md."""

import grid_kernels
import make_coverage
import tilelang.language as T
from constructs import refused

D, F = "bfloat16", "float32"


def element_wise(expression, dtype=D):
    """A kernel whose elements are ``expression(x, i, j)``."""

    @T.prim_func
    def kernel(A: T.Tensor((64, 64), dtype), C: T.Tensor((64, 64), dtype)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((64, 64), dtype)
            T.copy(A[0, 0], A_shared)
            for i, j in T.Parallel(64, 64):
                A_shared[i, j] = expression(A_shared[i, j], i, j)
            T.copy(A_shared, C[0, 0])

    return kernel


def element_wise_load(expression):
    """A kernel whose elements are ``expression(A_shared, i, j)``."""

    @T.prim_func
    def kernel(A: T.Tensor((64, 64), D), C: T.Tensor((64, 64), D)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((64, 64), D)
            C_local = T.alloc_fragment((64, 64), D)
            T.copy(A[0, 0], A_shared)
            for i, j in T.Parallel(64, 64):
                C_local[i, j] = expression(A_shared, i, j)
            T.copy(C_local, C[0, 0])

    return kernel


def statement(action):
    """A kernel that does ``action(A, A_shared, C, bx)`` between its copies."""

    @T.prim_func
    def kernel(A: T.Tensor((64, 64), D), C: T.Tensor((64, 64), D)):
        with T.Kernel(2, threads=128) as bx:
            A_shared = T.alloc_shared((32, 64), D)
            T.copy(A[bx * 32, 0], A_shared)
            action(A, A_shared, C, bx)
            T.copy(A_shared, C[bx * 32, 0])

    return kernel


def refuse_function(name, *arguments):
    @refused("Expressions", f"`T.{name}`", f"{name} in T.Parallel is not supported")
    def make():
        return element_wise(lambda x, i, j: getattr(T, name)(x, *arguments))

    return make


test_atan2 = refuse_function("atan2", T.float32(1))


@refused("Conditions", "`T.isnan`: what is not a number becomes infinite where it is packed", "isnan in T.Parallel")
def test_isnan():
    return element_wise(lambda x, i, j: T.if_then_else(T.isnan(x), 0.0, x), F)


@refused("Expressions", "access along a diagonal or with a stride", "A_shared is not indexed by single variables")
def test_diagonal():
    return element_wise_load(lambda x, i, j: x[i, (i + j) % 64])


PARTS = "parts of on-chip buffers, of several rows and columns, that do not begin at a hardware tile"
NOT_TILES = "a part of on-chip buffer A_shared does not begin at a hardware tile of it"


@refused("Expressions", PARTS, NOT_TILES)
def test_part_of_a_buffer():
    @T.prim_func
    def kernel(A: T.Tensor((64, 96), D), C: T.Tensor((64, 64), D)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((64, 96), D)
            C_shared = T.alloc_shared((64, 64), D)
            T.copy(A[0, 0], A_shared)
            for i, j in T.Parallel(64, 64):
                C_shared[i, j] = A_shared[i, j] * A_shared[i, j + 16]
            T.copy(C_shared, C[0, 0])

    return kernel


@refused("Copies", PARTS, NOT_TILES)
def test_copy_of_a_part():
    return statement(lambda A, A_shared, C, bx: T.copy(A_shared[0:32, 16:48], C[bx * 32 : bx * 32 + 32, 0:32]))


@refused(
    "Updates", "by several blocks, which share no dimension", "blocks of different bx may add to the same elements"
)
def test_atomic_add_of_several_blocks():
    @T.prim_func
    def kernel(A: T.Tensor((128, 64), D), C: T.Tensor((2, 32, 64), F)):
        with T.Kernel(4, threads=128) as bx:
            A_shared = T.alloc_shared((32, 64), D)
            T.copy(A[bx * 32, 0], A_shared)
            T.atomic_add(C[bx // 2, 0:32, 0:64], A_shared)

    return kernel


@refused("Updates", "`T.atomic_add` to elements that an outer loop comes back to", "a loop comes back to elements")
def test_atomic_add_that_comes_back():
    @T.prim_func
    def kernel(A: T.Tensor((128, 64), D), C: T.Tensor((64, 64), F)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((32, 64), D)
            for again in T.serial(2):
                for k in T.serial(2):
                    T.copy(A[(again * 2 + k) * 32, 0], A_shared)
                    T.atomic_add(C[k * 32, 0], A_shared)

    return kernel


@refused("Tensors", "statements outside of all grids", "a statement is outside of all grids")
def test_statements_outside_of_all_grids():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), D), B: T.Tensor((64, 64), D)):
        with T.Kernel(2, threads=128) as bx:
            A_shared = T.alloc_shared((32, 64), D)
            T.copy(A[bx * 32, 0], A_shared)
            T.copy(A_shared, B[bx * 32, 0])
        B[0, 0] = 1.0

    return kernel


@refused("Tensors", "a grid in a loop, or under a condition", "a grid is launched in a loop")
def test_a_grid_in_a_loop():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), D), B: T.Tensor((64, 64), D)):
        for _ in T.serial(2):
            with T.Kernel(2, threads=128) as bx:
                A_shared = T.alloc_shared((32, 64), D)
                T.copy(A[bx * 32, 0], A_shared)
                T.copy(A_shared, B[bx * 32, 0])

    return kernel


@refused("Tensors", "device memory that is read before a grid has written it", "read before a grid has written it")
def test_device_memory_that_no_grid_has_written():
    return grid_kernels.never_written.get_tir(64, 32)


@refused(
    "Tensors", "blocks inside hardware tiles that do not divide the tensor", "a block of A is not whole hardware tiles"
)
def test_small_blocks():
    @T.prim_func
    def kernel(A: T.Tensor((60, 64), D), C: T.Tensor((60, 64), D)):
        with T.Kernel(4, threads=128) as bx:
            A_shared = T.alloc_shared((16, 64), D)
            T.copy(A[bx * 16, 0], A_shared)
            T.copy(A_shared, C[bx * 16, 0])

    return kernel


@refused("Tensors", "float16 and bfloat16 in one kernel", "float16 and bfloat16 in one kernel are not supported")
def test_both_16_bit_formats():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), D), C: T.Tensor((64, 64), "float16")):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((64, 64), D)
            T.copy(A[0, 0], A_shared)
            T.copy(A_shared, C[0, 0])

    return kernel


@refused("Threads", "thread indices", "thread indices are not supported")
def test_thread_indices():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), D), C: T.Tensor((64, 64), D)):
        with T.Kernel(1, threads=128) as bx:
            tx = T.get_thread_binding(0)
            A_shared = T.alloc_shared((64, 64), D)
            T.copy(A[tx, 0], A_shared)
            T.copy(A_shared, C[0, 0])

    return kernel


@refused("Threads", "`T.alloc_local` of several elements", "buffer own of scope local is not supported")
def test_thread_local_buffers():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), D), C: T.Tensor((64, 64), D)):
        with T.Kernel(1, threads=128) as bx:
            A_shared = T.alloc_shared((64, 64), D)
            own = T.alloc_local((8,), F)
            T.clear(own)
            T.copy(A[0, 0], A_shared)
            T.copy(A_shared, C[0, 0])

    return kernel


def test_the_table_is_up_to_date():
    assert make_coverage.TABLE.read_text() == make_coverage.table()


@refused("Sizes known at launch", "on-chip buffers of such a size", "has a size that is known only at launch")
def test_on_chip_buffers_of_symbolic_size():
    M = T.dynamic("m")

    @T.prim_func
    def kernel(A: T.Tensor((64, M), D), C: T.Tensor((64, M), D)):
        with T.Kernel(2, threads=128) as bx:
            A_shared = T.alloc_shared((32, M), D)
            T.copy(A[bx * 32, 0], A_shared)
            T.copy(A_shared, C[bx * 32, 0])

    return kernel


@refused("Sizes known at launch", "`T.Parallel` over such a size", "has an extent that is not constant")
def test_parallel_over_a_symbolic_size():
    M = T.dynamic("m")

    @T.prim_func
    def kernel(A: T.Tensor((64, M), D), C: T.Tensor((64, M), D)):
        with T.Kernel(64, threads=128) as bx:
            for j in T.Parallel(M):
                C[bx, j] = A[bx, j]

    return kernel


@refused("Sizes known at launch", "two symbols of one name", "two sizes are called m")
def test_two_symbols_of_one_name():
    M, other = T.dynamic("m"), T.dynamic("m")

    @T.prim_func
    def kernel(A: T.Tensor((M, 32), D), C: T.Tensor((other, 32), D)):
        with T.Kernel(T.ceildiv(M, 32), threads=128) as bx:
            A_shared = T.alloc_shared((32, 32), D)
            T.copy(A[bx * 32, 0], A_shared)
            T.copy(A_shared, C[bx * 32, 0])

    return kernel


@refused("Sizes known at launch", "symbols of another type than int32", "size m is no int32")
def test_symbols_of_64_bits():
    M = T.dynamic("m", "int64")

    @T.prim_func
    def kernel(A: T.Tensor((M, 32), D), C: T.Tensor((M, 32), D)):
        with T.Kernel(T.ceildiv(M, 32), threads=128) as bx:
            A_shared = T.alloc_shared((32, 32), D)
            T.copy(A[bx * 32, 0], A_shared)
            T.copy(A_shared, C[bx * 32, 0])

    return kernel


@refused("Sizes known at launch", "symbols that are no whole dimension", "of A cannot be computed at launch")
def test_symbols_that_no_tensor_tells():
    M = T.dynamic("m")

    @T.prim_func
    def kernel(A: T.Tensor((M * 32, 32), D), C: T.Tensor((64, 32), D)):
        with T.Kernel(2, threads=128) as bx:
            A_shared = T.alloc_shared((32, 32), D)
            T.copy(A[bx * 32, 0], A_shared)
            T.copy(A_shared, C[bx * 32, 0])

    return kernel
