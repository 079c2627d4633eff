"""Branches and loops outside of T.Parallel, and what buffers hold behind them: rows of docs/coverage.md."""

import control_kernels
import pytest
from constructs import check, supported

from tilelang_tt.layout import block_sharded


def check_example(kernel, reference, outputs, **options):
    return check(kernel, reference, tuple(range(-outputs, 0)), **options)


@supported("Conditions", "`if`, `elif`, `else` around statements, on block indices; what they set is read after them")
@pytest.mark.parametrize("layout", [None, {"C": block_sharded((256, 64), (4, 1))}], ids=["global", "local_shard"])
def test_branches_on_the_block(layout):
    check_example(*control_kernels.branches_on_the_block(), layout=layout)


@supported("Conditions", "`if` on loop variables; what only one arm sets keeps its old value in the other")
def test_branches_in_a_loop():
    check_example(*control_kernels.branches_in_a_loop())


@supported("Conditions", "`if` around loads, products, stores and loops, one inside the other")
def test_branches_inside_branches():
    check_example(*control_kernels.branches_inside_branches())


@supported("Conditions", "`if` and bounds on indices that may be negative")
def test_signed_conditions():
    check_example(*control_kernels.signed_conditions())


@supported("Loops", "a block loaded in a loop, read in the next iteration and after the loop")
@pytest.mark.parametrize("count", ["constant", "block"])
def test_loads_that_loops_carry(count):
    check_example(*control_kernels.loads_that_loops_carry(count))


@supported("Copies", "into a buffer whose old value is still needed, by a value computed from it or a copy of it")
def test_reload_of_a_buffer_in_use():
    check_example(*control_kernels.reload_of_a_buffer_in_use())
