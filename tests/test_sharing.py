"""Circular buffers that take turns in one place, and where they are popped."""

import numpy as np
import pytest
import tilelang.language as T

import tilelang_tt as tt
from tilelang_tt.codegen.cpp.circular_buffers import MAX_CIRCULAR_BUFFERS, CircularBuffers
from tilelang_tt.codegen.cpp.sharing import pop_early, share
from tilelang_tt.codegen.cpp.streams import Configure, Stream


def made(*names, data_format="Float32", pages=2, within_compute=True):
    buffers = CircularBuffers()
    for name in names:
        buffers.new(name, data_format, pages, 1, purpose=name).within_compute = within_compute
    return buffers


def fill(stream, name):
    stream.lines(f"cb_reserve_back(cb_{name}, 2);", f"pack_tile(0, cb_{name});", f"cb_push_back(cb_{name}, 2);")


def use(stream, name):
    stream.line(f"copy_tile(cb_{name}, 0, 0);")


def pop(stream, name):
    stream.line(f"cb_pop_front(cb_{name}, 2);")


def places(buffers, stream):
    """Names by place, once popped early."""
    share(list(buffers), pop_early(stream.nodes, buffers))
    buffers.number()
    return [[buffer.name[3:] for buffer in buffers if buffer.index == place.index] for place in buffers.places()]


def test_what_is_popped_at_the_end_is_popped_behind_its_last_use():
    buffers, stream = made("a", "b"), Stream()
    for name in "ab":
        fill(stream, name)
        use(stream, name)
    for name in "ab":
        pop(stream, name)
    assert places(buffers, stream) == [["a", "b"]]


def test_a_pop_stays_behind_loops_that_use_the_buffer():
    buffers, stream = made("a", "b"), Stream()
    fill(stream, "a")
    stream.open_loop("i", 3)
    fill(stream, "b")
    use(stream, "a")
    pop(stream, "b")
    stream.close_loop()
    pop(stream, "a")
    assert places(buffers, stream) == [["a"], ["b"]]


def test_what_a_loop_carries_is_not_shared_inside_of_it():
    buffers, stream = made("before", "state", "inside", "after"), Stream()
    fill(stream, "before")
    use(stream, "before")
    pop(stream, "before")
    fill(stream, "state")
    stream.open_loop("i", 3)
    fill(stream, "inside")
    use(stream, "inside")
    pop(stream, "inside")
    use(stream, "state")
    fill(stream, "state")
    pop(stream, "state")
    stream.close_loop()
    pop(stream, "state")
    fill(stream, "after")
    pop(stream, "after")
    assert places(buffers, stream) == [["before", "state", "after"], ["inside"]]


def test_an_accumulator_is_reserved_before_it_is_full():
    buffers, stream = made("sum", "other"), Stream()
    stream.line("cb_reserve_back(cb_sum, 2);")
    fill(stream, "other")
    pop(stream, "other")
    stream.lines("pack_tile(0, cb_sum);", "cb_push_back(cb_sum, 2);")
    pop(stream, "sum")
    assert places(buffers, stream) == [["sum"], ["other"]]


def test_both_arms_of_a_branch():
    buffers, stream = made("left", "right", "merged"), Stream()
    stream.open_branch("x")
    fill(stream, "left")
    use(stream, "left")
    pop(stream, "left")
    fill(stream, "merged")
    stream.open_otherwise("x")
    fill(stream, "merged")
    fill(stream, "right")
    pop(stream, "right")
    stream.close_branch()
    pop(stream, "merged")
    assert places(buffers, stream) == [["left", "right"], ["merged"]]


def test_what_only_one_arm_fills_is_left_alone():
    buffers, stream = made("a", "b"), Stream()
    stream.open_branch("x")
    fill(stream, "a")
    stream.close_branch()
    stream.open_branch("x")
    pop(stream, "a")
    stream.close_branch()
    fill(stream, "b")
    pop(stream, "b")
    assert places(buffers, stream) == [["a"], ["b"]]


def test_modes_are_no_use():
    """An operation is set up for the format of a circular buffer, not for what it holds."""
    buffers, stream = made("a", "b"), Stream()
    fill(stream, "a")
    pop(stream, "a")
    fill(stream, "b")
    stream.add(Configure("math", "copy a", ("copy_init(cb_a);",)))
    pop(stream, "b")
    assert places(buffers, stream) == [["a", "b"]]


@pytest.mark.parametrize("other", [{"data_format": "Float16_b"}, {"pages": 4}, {"within_compute": False}])
def test_unlike_ones_do_not_share(other):
    buffers, stream = made("a"), Stream()
    buffers.new(
        "b", other.get("data_format", "Float32"), other.get("pages", 2), 1, purpose=""
    ).within_compute = other.get("within_compute", True)
    for name in "ab":
        fill(stream, name)
        pop(stream, name)
    assert places(buffers, stream) == [["a"], ["b"]]


def test_a_place_is_as_deep_as_its_deepest():
    buffers, stream = made("a", "b"), Stream()
    list(buffers)[1].depth = 2
    for name in "ab":
        fill(stream, name)
        pop(stream, name)
    assert places(buffers, stream) == [["a", "b"]]
    assert [place.num_pages for place in buffers.places()] == [4]


@T.macro
def normalise(a, x, total):
    T.reduce_sum(x, total, dim=1)
    for i, j in T.Parallel(32, 64):
        x[i, j] = T.exp(x[i, j] / total[i]) * a[i, j]


def test_a_kernel_of_many_steps_fits_the_circular_buffers_of_a_core():
    """Each step packs what its sum and its quotient read, and the sum."""
    steps = MAX_CIRCULAR_BUFFERS

    @T.prim_func
    def kernel(A: T.Tensor((64, 64), "float32"), C: T.Tensor((64, 64), "float32")):
        with T.Kernel(2, threads=128) as bx:
            a = T.alloc_fragment((32, 64), "float32")
            x = T.alloc_fragment((32, 64), "float32")
            total = T.alloc_fragment((32,), "float32")
            T.copy(A[bx * 32, 0], a)
            T.copy(a, x)
            for _ in T.unroll(steps):
                normalise(a, x, total)
            T.copy(x, C[bx * 32, 0])

    program = tt.compile(kernel)
    assert len(program.spec.circular_buffers) <= 8
    a = np.random.default_rng(0).uniform(1, 2, (64, 64)).astype(np.float32)
    c = np.zeros_like(a)
    program(a, c)
    x = a.astype(np.float64)
    for _ in range(steps):
        x = np.exp(x / x.sum(1, keepdims=True)) * a
    np.testing.assert_allclose(c, x, rtol=2e-3)


def test_a_row_that_is_picked_on_chip_is_carried():
    """The writer fills the circular buffer that the picked row lies in: the compute kernel may not swap it."""

    @T.prim_func
    def kernel(A: T.Tensor((64, 64), "float32"), C: T.Tensor((4, 64), "float32")):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_fragment((64, 64), "float32")
            row = T.alloc_fragment((64,), "float32")
            T.copy(A, a)
            T.clear(row)
            for k in T.serial(4):
                for j in T.Parallel(64):
                    C[k, j] = row[j] * 2
                for j in T.Parallel(64):
                    row[j] = a[k + 30, j]

    a = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    c = np.zeros((4, 64), np.float32)
    tt.compile(kernel)(a, c)
    np.testing.assert_array_equal(c, 2 * np.vstack([np.zeros(64), a[30:33]]).astype(np.float32))
