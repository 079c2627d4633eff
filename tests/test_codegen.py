"""The generated kernels: canonical arguments, where data is used in place, how many times an engine is reconfigured."""

import re

import kernels
import pytest

import tilelang_tt as tt
from tilelang_tt.codegen.cpp.streams import Configure, Define, For, Line, Stream, settle_configurations, without_unused
from tilelang_tt.codegen.lower.matmul import subblock
from tilelang_tt.layout import block_sharded, height_sharded


def gemm(block=(64, 64, 32), shape=(256, 256, 128), layout=None, schedule=None, **options):
    return tt.compile(kernels.gemm.get_tir(*shape, *block, **options), layout=layout, schedule=schedule)


def calls(source, name):
    return re.findall(rf"\b{name}(?:<[^>]*>)?\(([^;]*)\);", source)


# ---- arguments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sharded", [False, True])
def test_runtime_arguments_are_read_at_their_canonical_places(sharded):
    program = gemm(layout={"C": block_sharded((256, 256), (2, 2))} if sharded else None)
    names = program.partition.runtime_arg_names
    for source in program.kernels.values():
        for name, index in re.findall(r"const uint32_t (\w+) = get_arg_val<uint32_t>\((\d+)\);", source):
            assert names[int(index)] == name


def test_block_indices_are_recovered_without_arithmetic_on_signs():
    for order in ("row_major", "column_major", "block_linear(4)"):
        reader = gemm(schedule={"order": order}).kernels["reader"]
        assert re.search(r"const uint32_t bx = .*%", reader)
        assert "floor_" not in reader
        assert "int32_t(" not in reader.replace("uint32_t(", "")


def test_tensor_addresses_are_common_arguments_in_parameter_order():
    program = gemm()
    assert "TensorAccessor(A_args, get_common_arg_val<uint32_t>(0), 2048)" in program.kernels["reader"]
    assert "TensorAccessor(B_args, get_common_arg_val<uint32_t>(1), 2048)" in program.kernels["reader"]
    assert "TensorAccessor(C_args, get_common_arg_val<uint32_t>(2), 2048)" in program.kernels["writer"]
    assert [kernel.accessors for kernel in program.spec.kernels] == [("A", "B"), (), ("C",)]


def test_reads_of_a_block_are_in_flight_together():
    reader = gemm().kernels["reader"]
    assert reader.count("noc_async_read_barrier();") == 1
    assert reader.index("tensor_B, cb_B_shared_l1") < reader.index("noc_async_read_barrier();")


# ---- in place ------------------------------------------------------------------------------------------------------


def test_a_sharded_output_is_packed_where_it_lies():
    program = gemm(layout={"C": block_sharded((256, 256), (2, 2))})
    assert "noc_async" not in program.kernels["writer"]
    shard = next(cb for cb in program.spec.circular_buffers if cb.tensor == "C")
    assert shard.num_pages == 16
    assert len(calls(program.kernels["compute"], "pack_tile")) == 4


def test_a_sharded_operand_is_multiplied_where_it_lies():
    rows = height_sharded((256, 128), 4, axes=("M", "K"))
    program = gemm(block=(64, 256, 32), layout={"A": rows})
    assert "tensor_A" not in program.kernels["reader"]
    assert all(call.startswith("cb_A_shard, cb_B_shared") for call in calls(program.kernels["compute"], "matmul_block"))


# ---- accumulators --------------------------------------------------------------------------------------------------


def test_an_accumulator_that_fits_stays_in_dst():
    program = gemm(block=(64, 64, 32), relu=True)
    compute = program.kernels["compute"]
    assert "l1_acc" not in compute
    assert "copy_tile" not in compute
    assert compute.count("tile_regs_acquire();") == 1
    assert [cb.data_format for cb in program.spec.circular_buffers] == ["Float16_b"] * 3


def test_a_larger_accumulator_is_accumulated_in_l1_in_float32():
    program = gemm(block=(128, 128, 32), relu=True)
    accumulator = next(cb for cb in program.spec.circular_buffers if cb.name == "cb_C_local")
    assert (accumulator.data_format, accumulator.num_pages) == ("Float32", 16)
    assert not accumulator.unpack_to_dest_fp32, "a bfloat16 output needs no more than TF32"
    assert "pack_reconfig_l1_acc(cb_C_local_started);" in program.kernels["compute"]


def test_a_float32_output_with_an_epilogue_reads_its_accumulator_in_full():
    program = gemm(block=(128, 128, 32), out_dtype="float32", relu=True)
    assert next(cb for cb in program.spec.circular_buffers if cb.name == "cb_C_local").unpack_to_dest_fp32


@pytest.mark.parametrize(
    ("block", "most", "expected"),
    [
        *(((4, 4), 4, (2, 2)), ((1, 8), 4, (1, 4)), ((8, 1), 4, (4, 1)), ((3, 3), 4, (1, 3)), ((5, 7), 4, (1, 1))),
        *(((4, 4), 8, (2, 4)), ((1, 8), 8, (1, 8)), ((3, 3), 8, (1, 3)), ((6, 2), 8, (3, 2)), ((5, 7), 8, (1, 7))),
    ],
)
def test_the_part_of_an_accumulator_that_goes_through_dst(block, most, expected):
    assert subblock(*block, most) in (expected, expected[::-1])


def test_the_matrix_engine_is_configured_once_where_nothing_else_uses_it():
    compute = gemm(block=(64, 64, 32)).kernels["compute"]
    assert compute.count("matmul_block_init") == 1
    assert compute.index("matmul_block_init") < compute.index("for (")


def test_names_of_the_kernel_never_hide_those_of_the_generator():
    import tilelang.language as T

    @T.prim_func
    def kernel(A: T.Tensor((128, 128), "bfloat16"), int: T.Tensor((128, 128), "bfloat16")):
        with T.Kernel(1, threads=128) as bx:
            register = T.alloc_shared((64, 64), "bfloat16")
            for r in T.serial(2):
                for c in T.serial(2):
                    T.copy(A[r * 64, c * 64], register)
                    T.copy(register, int[r * 64, c * 64])

    program = tt.compile(kernel)
    assert "r_2 * 2 + r" in program.kernels["reader"]
    import ml_dtypes
    import numpy as np

    a = np.random.default_rng(0).standard_normal((128, 128)).astype(ml_dtypes.bfloat16)
    b = np.zeros_like(a)
    program(a, b)
    np.testing.assert_array_equal(a, b)


# ---- streams -------------------------------------------------------------------------------------------------------


def texts(nodes):
    flat = []
    for node in nodes:
        flat += (
            [node.text] if isinstance(node, Line) else texts(node.body) if isinstance(node, For) else list(node.lines)
        )
    return flat


def test_a_mode_that_a_loop_never_leaves_is_set_before_it():
    loop = For("i", "4", [Configure("math", "a", ("init_a();",)), Line("use();")])
    assert [type(node) for node in settle_configurations([loop])] == [Configure, For]


def test_a_mode_that_a_loop_changes_is_set_in_it_each_time():
    a, b = Configure("math", "a", ("init_a();",)), Configure("math", "b", ("init_b();",))
    settled = settle_configurations([a, For("i", "4", [a, Line("1"), a, Line("2"), b, Line("3")])])
    assert texts(settled) == ["init_a();", "init_a();", "1", "2", "init_b();", "3"]


def test_units_are_configured_independently():
    math, pack = Configure("math", "a", ("init_a();",)), Configure("pack", "a", ("pack_a();",))
    assert texts(settle_configurations([math, pack, math, pack])) == ["init_a();", "pack_a();"]


def test_definitions_nobody_uses_disappear():
    nodes = [Define("a", "1"), Define("b", "a + 1"), Define("c", "b"), Line("use(b);")]
    assert [node.name for node in without_unused(nodes) if isinstance(node, Define)] == ["a", "b"]


def test_empty_loops_disappear():
    stream = Stream()
    stream.open_loop("i", 4)
    stream.open_loop("j", 4)
    stream.add(Define("a", "i"))
    stream.close_loop()
    stream.close_loop()
    assert stream.nodes == []
