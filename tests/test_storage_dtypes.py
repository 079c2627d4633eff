"""Tensors stored as another dtype than the kernel's: block floats, and float16 on chips that have none; and how the
engines run by the dtypes of what they compute."""

import re

import kernels
import numpy as np
import pytest
import tilelang.language as T
import torch

import tilelang_tt as tt
from tilelang_tt.errors import Code, LayoutError, ScheduleError, UnsupportedError
from tilelang_tt.layout import block_sharded
from tilelang_tt.runtime.block_floats import decode, encode
from tilelang_tt.runtime.emulator import job
from tilelang_tt.runtime.tiles import from_pages, tile_shape, tilize, to_pages

FORMATS = {"bfloat8_b": "Bfp8_b", "bfloat4_b": "Bfp4_b"}
BYTES = {"bfloat8_b": 1088, "bfloat4_b": 576}


def stored(tensor, dtype):
    """The values that ``tensor`` has once stored as ``dtype``."""
    if dtype not in FORMATS:
        return tensor.to(getattr(torch, dtype)).double()
    array = tensor.float().numpy()
    pages, back = np.empty((tile_shape(array.shape).pages, BYTES[dtype]), np.uint8), np.empty_like(array)
    to_pages(array, FORMATS[dtype], pages)
    from_pages(pages, FORMATS[dtype], back)
    return torch.from_numpy(back).double()


def error(found, wanted):
    return ((found.double() - wanted).abs().max() / wanted.abs().max()).item()


class TestBlockFloats:
    # What ttnn 0.81.1 makes of these, the first 1 by its exponent: one row of a face shares it.
    ROW = (
        *(1, 1.0078125, 1.00390625, 1.01171875, 1.99609375, 1.998, 0, -0.0),
        *(1e-3, -1.0078125, 3e-3, 0.0039, 0.00390625, 0.0078125, -0.0039, 1.5),
    )

    def page(self, row):
        return np.tile(np.array(row, np.float32), (1, 64))

    def test_elements_are_cut_to_the_largest_ones_place_and_rounded_to_even(self):
        back = decode(encode(self.page(self.ROW), "Bfp8_b"), "Bfp8_b")[0, :16]
        assert back.tolist() == [1, 1, 1, 1.015625, 1.984375, 1.984375, 0, 0, 0, -1, 0, 0, 0, 0, 0, 1.5]
        assert not np.signbit(back[6:9]).any()
        back = decode(encode(self.page(self.ROW), "Bfp4_b"), "Bfp4_b")[0, :16]
        assert back.tolist() == [1, 1, 1, 1, 1.75, 1.75, 0, 0, 0, -1, 0, 0, 0, 0, 0, 1.5]

    def test_denormals_infinities_and_nan(self):
        for value, found in ((1e-40, 0), (np.inf, np.inf), (-np.inf, -np.inf), (np.nan, np.nan)):
            back = decode(encode(self.page([value] + [1] * 15), "Bfp8_b"), "Bfp8_b")[0]
            np.testing.assert_equal(back[0], np.float32(found))

    @pytest.mark.parametrize("data_format", FORMATS.values())
    def test_what_is_decoded_is_encoded_to_the_same_bytes(self, data_format):
        pages = np.random.default_rng(0).standard_normal((5, 1024)).astype(np.float32)
        once = encode(pages, data_format)
        assert np.array_equal(encode(decode(once, data_format), data_format), once)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("names", ["A", "B", "AB", "C", "ABC"])
@pytest.mark.parametrize("block", [(64, 64, 32), (128, 128, 32)])
def test_products(dtype, names, block):
    layout = {name: {"dtype": dtype} for name in names}
    program = tt.compile(kernels.gemm.get_tir(128, 192, 96, *block), layout=layout, out_idx=-1)
    for tensor in program.spec.tensors:
        assert tensor.dtype == "bfloat16"
        assert tensor.data_format == (FORMATS[dtype] if tensor.name in names else "Float16_b")
    torch.manual_seed(0)
    a, b = torch.randn(128, 96).bfloat16(), torch.randn(96, 192).bfloat16()
    wanted = stored(a, dtype if "A" in names else "float64") @ stored(b, dtype if "B" in names else "float64")
    tolerance = 2**-8 if "C" not in names else 2**-6 if dtype == "bfloat8_b" else 2**-2
    assert error(program(a, b), wanted) <= tolerance


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("transposed", [(True, False), (False, True), (True, True)])
def test_transposed_operands_are_not_rounded_again(dtype, transposed):
    func = kernels.gemm_transposed.get_tir(64, 96, 64, 64, 96, 32, *transposed, "bfloat16")
    program = tt.compile(func, layout={name: {"dtype": dtype} for name in "AB"}, out_idx=-1)
    torch.manual_seed(0)
    a, b = (torch.randn(*tensor.shape).bfloat16() for tensor in program.spec.tensors[:2])
    left, right = (stored(x, dtype).T if t else stored(x, dtype) for x, t in zip((a, b), transposed, strict=True))
    assert error(program(a, b), left @ right) <= 2**-8


@pytest.mark.parametrize("dtype", FORMATS)
def test_vectors_and_matrices_of_one_expression(dtype):
    func = kernels.gemm_bias.get_tir(64, 96, 64, 64, 96, 32, residual=True)
    program = tt.compile(func, layout={name: {"dtype": dtype} for name in ("bias", "R")}, out_idx=-1)
    torch.manual_seed(0)
    a, b, bias, r = (torch.randn(*tensor.shape).bfloat16() for tensor in program.spec.tensors[:4])
    wanted = (a.double() @ b.double() + stored(bias, dtype)).clamp(min=0) * 0.5 - stored(r, dtype)
    assert error(program(a, b, bias, r), wanted) <= 2**-8


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("shape", [(64, 128), (77, 130)])
def test_copies_are_exact(dtype, shape):
    a = torch.randn(*shape).bfloat16()
    for target, layout in (("float32", {"A": {"dtype": dtype}}), ("bfloat16", {n: {"dtype": dtype} for n in "AB"})):
        program = tt.compile(kernels.copy.get_tir(*shape, 64, 96, "bfloat16", target), layout=layout, out_idx=-1)
        assert torch.equal(program(a).double(), stored(a, dtype))


def test_a_reduction_of_block_floats():
    @T.prim_func
    def kernel(A: T.Tensor((64, 96), "bfloat16"), most: T.Tensor((64,), "float32"), total: T.Tensor((96,), "float32")):
        with T.Kernel(1, threads=128) as bx:
            block = T.alloc_shared((64, 96), "bfloat16")
            rows, columns = T.alloc_fragment((64,), "float32"), T.alloc_fragment((96,), "float32")
            T.copy(A, block)
            T.reduce_max(block, rows, dim=1)
            T.reduce_sum(block, columns, dim=0)
            T.copy(rows, most)
            T.copy(columns, total)

    a = torch.randn(64, 96).bfloat16()
    most, total = tt.compile(kernel, layout={"A": {"dtype": "bfloat8_b"}}, out_idx=[1, 2])(a)
    assert torch.equal(most.double(), stored(a, "bfloat8_b").amax(1))
    assert error(total, stored(a, "bfloat8_b").sum(0)) <= 2**-10


def test_shards_in_l1_are_used_in_place_and_counted_by_their_bytes():
    layout = {name: block_sharded((256, 256), (4, 2)) | {"dtype": "bfp8"} for name in "AC"}
    func = kernels.binary.get_tir(256, 256, 32, 64)
    program = tt.compile(func, layout=layout, schedule={"partition_mode": "local_shard"}, out_idx=-1)
    (shard,) = [b for b in program.spec.circular_buffers if b.tensor == "C"]
    assert (shard.data_format, shard.page_size, shard.num_pages) == ("Bfp8_b", 1088, 2 * 4)
    a, b = torch.randn(256, 256).bfloat16(), torch.randn(256, 256).bfloat16()
    assert error(program(a, b), a.double() + b.double()) <= 2**-6


def test_what_a_block_float_tensor_moves_is_counted_by_its_bytes():
    func = kernels.copy.get_tir(64, 64, 32, 32)
    program = tt.compile(func, layout={name: {"dtype": "bfloat8_b"} for name in "AB"})
    _, report = program.run(torch.randn(64, 64).bfloat16(), torch.zeros(64, 64).bfloat16(), report=True)
    assert report.tensor_read == {"A": 4 * 1088, "B": 0}
    assert report.tensor_written == {"A": 0, "B": 4 * 1088}


@pytest.mark.parametrize("dtype", ["bfloat8", "float16", "int32", 8])
def test_other_storage_is_refused(dtype):
    with pytest.raises(LayoutError, match="is not stored as this dtype") as refused:
        tt.compile(kernels.copy.get_tir(64, 64, 32, 32), layout={"A": {"dtype": dtype}})
    assert refused.value.code is Code.BAD_VALUE
    assert "bfloat16, float32, bfloat8_b, bfloat4_b" in refused.value.expected


def test_integers_are_stored_as_integers_only():
    with pytest.raises(LayoutError, match="a tensor of dtype int32 is not stored as this dtype"):
        tt.compile(kernels.copy.get_tir(64, 64, 32, 32, "int32"), layout={"A": {"dtype": "bfloat8_b"}})


def test_float16_and_block_floats_in_one_kernel_are_refused():
    func = kernels.gemm.get_tir(64, 64, 64, 64, 64, 32, dtype="float16")
    with pytest.raises(UnsupportedError, match="float16 and block floats in one kernel") as refused:
        tt.compile(func, layout={"B": {"dtype": "bfloat8_b"}})
    assert "float16_as" in refused.value.hint
    program = tt.compile(func, layout={"B": {"dtype": "bfloat8_b"}}, schedule={"float16_as": "bfloat16"}, out_idx=-1)
    a, b = torch.randn(64, 64).half(), torch.randn(64, 64).half()
    assert error(program(a, b), stored(a, "bfloat16") @ stored(b, "bfloat8_b")) <= 2**-8


@pytest.mark.parametrize("how", ["bfloat16", "float32"])
def test_float16_as_another_dtype(how):
    """Tensors and on-chip buffers of float16 become ``how``; the caller's tensors stay float16."""
    func = kernels.gemm_bias.get_tir(64, 96, 64, 64, 96, 32, dtype="float16", residual=True)
    program = tt.compile(func, schedule={"float16_as": how}, out_idx=-1)
    formats = {"bfloat16": {"Float16_b"}, "float32": {"Float32"}}[how]
    assert {tensor.dtype for tensor in program.spec.tensors} == {"float16"}
    assert {tensor.data_format for tensor in program.spec.tensors} == formats
    assert {buffer.data_format for buffer in program.spec.circular_buffers} <= formats | {"Float32"}
    torch.manual_seed(0)
    a, b, bias, r = (torch.randn(*tensor.shape).half() for tensor in program.spec.tensors[:4])
    x, y, v, z = (stored(tensor, how) for tensor in (a, b, bias, r))
    found = program(a, b, bias, r)
    assert found.dtype == torch.float16
    assert error(found, (x @ y + v).clamp(min=0) * 0.5 - z) <= {"bfloat16": 2**-8, "float32": 2**-9}[how]


def test_a_wrong_float16_as_is_refused():
    with pytest.raises(ScheduleError, match="float16_as is wrong") as refused:
        tt.compile(kernels.copy.get_tir(64, 64, 32, 32, "float16"), schedule={"float16_as": "bfloat"})
    assert refused.value.expected == "one of bfloat16, float32"
    assert "bfloat16" in refused.value.hint


def test_pages_of_another_dtype_are_rounded_to_even():
    array = np.array([[1 + 2**-8, 1 + 3 * 2**-8]], np.float32)
    pages = np.empty((1, 2048), np.uint8)
    to_pages(array, "Float16_b", pages)
    back = np.empty_like(array)
    from_pages(pages, "Float16_b", back)
    assert back.tolist() == [[1, 1 + 2**-6]]
    assert tilize(array).shape == (1, 1024)


def test_a_cast_to_float16_rounds_to_what_float16_is_computed_as():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), "float32"), C: T.Tensor((64, 64), "float32")):
        with T.Kernel(1, threads=128) as bx:
            block = T.alloc_shared((64, 64), "float32")
            T.copy(A, block)
            for i, j in T.Parallel(64, 64):
                block[i, j] = T.cast(T.cast(block[i, j] * 2, "float16"), "float32")
            T.copy(block, C)

    a = torch.randn(64, 64).bfloat16().float() * 1.0078125
    for how in ("bfloat16", "float32"):
        program = tt.compile(kernel, schedule={"float16_as": how}, out_idx=-1)
        assert ("Float16_b" in program.kernels["compute"]) == (how == "bfloat16")
        assert error(program(a), stored(a * 2, how)) <= {"bfloat16": 2**-8, "float32": 2**-10}[how]


def test_rows_picked_of_block_floats_are_refused():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), "bfloat16"), C: T.Tensor((64, 64), "bfloat16")):
        with T.Kernel(64, threads=128) as bx:
            row = T.alloc_shared((1, 64), "bfloat16")
            T.copy(A[bx, 0], row)
            T.copy(row, C[bx, 0])

    with pytest.raises(UnsupportedError, match="are picked, which is stored in block floats") as refused:
        tt.compile(kernel, layout={name: {"dtype": "bfloat8_b"} for name in "AC"})
    assert refused.value.location is not None


def engines(program):
    return next(kernel.compute for kernel in program.spec.kernels if kernel.compute)


@pytest.mark.parametrize(
    ("a", "b", "fidelity"),
    [
        *(("bfloat16", "bfloat16", "HiFi4"), ("bfloat16", "bfloat8_b", "HiFi4"), ("bfloat16", "bfloat4_b", "HiFi3")),
        *(("bfloat8_b", "bfloat16", "HiFi2"), ("bfloat8_b", "bfloat8_b", "HiFi2"), ("bfloat8_b", "bfloat4_b", "LoFi")),
        *(("bfloat4_b", "bfloat4_b", "LoFi"), ("float32", "bfloat16", "HiFi4")),
    ],
)
def test_the_fewest_passes_that_are_exact_for_the_operands_dtypes(a, b, fidelity):
    func = kernels.gemm.get_tir(64, 64, 64, 64, 64, 64, out_dtype="float32")
    torch.manual_seed(0)
    x, y = torch.randn(64, 64).bfloat16(), torch.randn(64, 64).bfloat16()
    layout = {"A": {"dtype": a}, "B": {"dtype": b}}
    names = ("LoFi", "HiFi2", "HiFi3", "HiFi4")
    given = {name: tt.compile(func, layout=layout, schedule={"math_fidelity": name}, out_idx=-1) for name in names}
    found, program = {name: given[name](x, y) for name in names}, tt.compile(func, layout=layout, out_idx=-1)
    assert engines(program).math_fidelity == program.spec.workload.math_fidelity == fidelity
    assert torch.equal(program(x, y), found[fidelity])
    wanted = stored(x, a) @ stored(y, b)
    assert error(found[fidelity], wanted) < 2**-10
    # One pass fewer leaves bits out.
    assert fidelity == "LoFi" or error(found[names[names.index(fidelity) - 1]], wanted) > 2 * error(
        found[fidelity], wanted
    )


def test_fewer_passes_are_modelled_as_faster():
    func = kernels.gemm.get_tir(1024, 1024, 1024, 128, 128, 32)
    plain, blocks = (
        tt.compile(func, layout={name: {"dtype": dtype} for name in "AB"}).explain()
        for dtype in ("bfloat16", "bfloat8_b")
    )
    given = tt.compile(func, schedule={"math_fidelity": "HiFi2", "dst_dtype": "float32"}).explain()
    assert plain.chosen.cost.compute == 2 * blocks.chosen.cost.compute == 2 * given.chosen.cost.compute > 0
    assert plain.engines == "HiFi4 (by the kernel's dtypes), DST of float32 (by the kernel's dtypes)"
    assert given.engines == "HiFi2 (given), DST of float32 (given)"
    assert f"engines: {given.engines}" in str(given)
    assert given.to_dict()["engines"] == given.engines


def of_vectors(what):
    """A kernel of two tensors A and V stored as block floats: what it makes of them decides the passes."""

    @T.prim_func
    def main(A: T.Tensor((64, 64), "bfloat16"), V: T.Tensor((64,), "bfloat16"), C: T.Tensor((64, 64), "float32")):
        with T.Kernel(1) as _:
            a, b = T.alloc_shared((64, 64), "bfloat16"), T.alloc_shared((64, 64), "bfloat16")
            v, s = T.alloc_shared((64,), "bfloat16"), T.alloc_fragment((64,), "float32")
            c = T.alloc_fragment((64, 64), "float32")
            T.copy(A, a)
            T.copy(V, v)
            what(a, b, v, s, c)
            T.copy(c, C)

    return main


class TestWhatDecidesThePasses:
    def fidelity(self, what, **dtypes):
        layout = {name: {"dtype": dtype} for name, dtype in dtypes.items()}
        func = of_vectors(what)
        return engines(tt.compile(func, layout=layout, schedule={"dst_dtype": "float32"})).math_fidelity

    def test_copies_by_way_of_other_buffers_keep_their_bits_and_computed_values_have_those_of_the_dtype(self):
        @T.macro
        def copied(a, b, v, s, c):
            for i, j in T.Parallel(64, 64):
                b[i, j] = T.if_then_else(i >= j, a[i, j], T.bfloat16(0))
            T.gemm(a, b, c, clear_accum=True)

        @T.macro
        def computed(a, b, v, s, c):
            for i, j in T.Parallel(64, 64):
                b[i, j] = a[i, j] + T.bfloat16(1)
            T.gemm(a, b, c, clear_accum=True)

        assert self.fidelity(copied, A="bfloat8_b") == "HiFi2"
        assert self.fidelity(copied, A="bfloat4_b", V="bfloat4_b") == "LoFi"
        assert self.fidelity(computed, A="bfloat4_b", V="bfloat4_b") == "HiFi2"

    def test_sums_and_spread_vectors_are_products_with_ones(self):
        @T.macro
        def rows(a, b, v, s, c):
            T.reduce_sum(a, s, dim=1)
            for i, j in T.Parallel(64, 64):
                c[i, j] = s[i]

        @T.macro
        def columns(a, b, v, s, c):
            T.reduce_sum(a, s, dim=0)
            for i, j in T.Parallel(64, 64):
                c[i, j] = s[j]

        @T.macro
        def bias(a, b, v, s, c):
            T.gemm(a, a, c, clear_accum=True)
            for i, j in T.Parallel(64, 64):
                c[i, j] += v[j]

        assert self.fidelity(rows) == "HiFi3"
        assert self.fidelity(columns) == "HiFi2"
        assert self.fidelity(bias, A="bfloat4_b") == "HiFi2"
        assert self.fidelity(bias, A="bfloat4_b", V="bfloat4_b") == "LoFi"

    def test_products_of_elements_take_the_vector_engine_beside_gemm_and_all_passes_without(self):
        @T.macro
        def beside(a, b, v, s, c):
            T.gemm(a, a, c, clear_accum=True)
            T.copy(a, b)
            for i, j in T.Parallel(64, 64):
                c[i, j] = a[i, j] * b[i, j]

        @T.macro
        def alone(a, b, v, s, c):
            for i, j in T.Parallel(64, 64):
                c[i, j] = a[i, j] * a[j, i]

        assert self.fidelity(beside, A="bfloat4_b", V="bfloat4_b") == "LoFi"
        program = tt.compile(of_vectors(beside), layout={"A": {"dtype": "bfloat4_b"}, "V": {"dtype": "bfloat4_b"}})
        assert "mul_tiles" not in program.kernels["compute"]
        assert self.fidelity(alone) == "HiFi4"


@pytest.mark.parametrize(("fidelity", "bound"), [("LoFi", 2**-4), ("HiFi2", 2**-7), ("HiFi3", 2**-10), (None, 2**-10)])
def test_math_fidelity(fidelity, bound):
    """Fewer passes leave out the low bits of the operands, and are modelled as so much faster."""
    func = kernels.gemm.get_tir(128, 128, 128, 64, 64, 64, out_dtype="float32")
    schedule = {} if fidelity is None else {"math_fidelity": fidelity}
    program = tt.compile(func, schedule=schedule, out_idx=-1)
    (compute,) = [kernel.compute for kernel in program.spec.kernels if kernel.compute]
    assert compute.math_fidelity == (fidelity or "HiFi4")
    torch.manual_seed(0)
    a, b = torch.randn(128, 128).bfloat16(), torch.randn(128, 128).bfloat16()
    found = error(program(a, b), a.double() @ b.double())
    assert found <= bound
    assert found > {"LoFi": 2**-9, "HiFi2": 2**-11}.get(fidelity, -1)


def test_two_passes_are_exact_for_bfloat8_b():
    func = kernels.gemm.get_tir(64, 64, 64, 64, 64, 64, out_dtype="float32")
    a, b = torch.randn(64, 64).bfloat16(), torch.randn(64, 64).bfloat16()
    layout = {name: {"dtype": "bfloat8_b"} for name in "AB"}
    results = [
        tt.compile(func, layout=layout, schedule={"math_fidelity": fidelity}, out_idx=-1)(a, b)
        for fidelity in ("HiFi2", "HiFi4", "LoFi")
    ]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_sums_in_bfloat16():
    """DST of 16 bits rounds every partial sum: allowed where nothing wider goes through it."""
    torch.manual_seed(0)
    a, b = torch.randn(64, 1024).bfloat16(), torch.randn(1024, 64).bfloat16()
    func = kernels.gemm.get_tir(64, 64, 1024, 64, 64, 32)
    errors = []
    for dst in (None, "bfloat16"):
        program = tt.compile(func, schedule={"dst_dtype": dst} if dst else {}, out_idx=-1)
        (compute,) = [kernel.compute for kernel in program.spec.kernels if kernel.compute]
        assert compute.fp32_dest_acc == (dst is None)
        errors.append(error(program(a, b), a.double() @ b.double()))
    assert errors[0] < 2**-8 < 2 * errors[0] < errors[1] < 2**-4


@pytest.mark.parametrize(("block", "k"), [((64, 128, 32), 128), ((128, 128, 32), 96)])
@pytest.mark.parametrize("relu", [False, True])
def test_a_kernel_that_sums_up_in_bfloat16_has_twice_the_room_in_dst(block, k, relu):
    """8 tiles; where they are not enough the packer adds in L1, in bfloat16 too."""
    func = kernels.gemm.get_tir(128, 256, k, *block, relu=relu, accum="bfloat16")
    program = tt.compile(func, out_idx=-1)
    wide = tt.compile(func, schedule={"dst_dtype": "float32"}, out_idx=-1)
    assert (engines(program).fp32_dest_acc, engines(wide).fp32_dest_acc) == (False, True)
    assert {buffer.data_format for buffer in program.spec.circular_buffers} == {"Float16_b"}
    in_dst = block[0] * block[1] <= 8 * 1024
    assert ("pack_reconfig_l1_acc" in program.kernels["compute"]) != in_dst
    assert "pack_reconfig_l1_acc" in wide.kernels["compute"]
    # Two rows of four tiles at a time.
    assert re.search(r"matmul_block\(.*, 0, (4, 2|2, 4), 1\);", program.kernels["compute"])
    torch.manual_seed(0)
    a, b = torch.randn(128, k).bfloat16(), torch.randn(k, 256).bfloat16()
    wanted = a.double() @ b.double()
    wanted = wanted.clamp(min=0) if relu else wanted
    assert error(wide(a, b), wanted) < 2**-8 < error(program(a, b), wanted) < 2**-5


@pytest.mark.parametrize(
    ("dtypes", "what"),
    [
        ({"accum": "float32"}, "float32 accumulator"),
        ({"accum": "bfloat16", "out_dtype": "float32"}, "float32 output"),
        ({"dtype": "float16", "accum": "float16"}, "float16"),
    ],
)
def test_sums_are_in_float32_where_anything_is_wider_than_bfloat16(dtypes, what):
    assert engines(tt.compile(kernels.gemm.get_tir(64, 64, 64, 64, 64, 32, **dtypes))).fp32_dest_acc, what


def test_elementwise_work_is_in_float32():
    """DST of bfloat16 would cut every step of it."""
    assert engines(tt.compile(kernels.binary.get_tir(64, 64, 32, 32))).fp32_dest_acc
    func = kernels.gemm_bias.get_tir(64, 64, 64, 64, 64, 32)
    assert engines(tt.compile(func)).fp32_dest_acc


def test_a_dst_of_bfloat16_is_refused_where_float32_is_kept_in_l1_and_for_numbers_of_elements():
    func = kernels.gemm.get_tir(128, 128, 64, 128, 128, 32, out_dtype="float32")
    with pytest.raises(UnsupportedError, match=r"DST cannot hold bfloat16: circular buffer .* holds Float32"):
        tt.compile(func, schedule={"dst_dtype": "bfloat16"})

    @T.prim_func
    def numbers(A: T.Tensor((64, 64), "bfloat16"), C: T.Tensor((64, 64), "bfloat16")):
        with T.Kernel(1) as _:
            a = T.alloc_fragment((64, 64), "bfloat16")
            T.copy(A, a)
            for i, j in T.Parallel(64, 64):
                a[i, j] = T.if_then_else(i >= j, a[i, j], T.bfloat16(0))
            T.copy(a, C)

    with pytest.raises(UnsupportedError, match="DST of bfloat16 does not hold") as refused:
        tt.compile(numbers, schedule={"dst_dtype": "bfloat16"})
    assert refused.value.location is not None


def test_a_wrong_math_fidelity_is_refused():
    with pytest.raises(ScheduleError, match="math_fidelity is wrong") as refused:
        tt.compile(kernels.copy.get_tir(64, 64, 32, 32), schedule={"math_fidelity": "HiFi5"})
    assert "did you mean 'HiFi" in refused.value.hint


@pytest.mark.parametrize("dtype", FORMATS)
def test_what_lies_past_the_end_of_block_floats_reaches_no_result(dtype, monkeypatch):
    def padded(array, data_format, pages):
        *_, rows, columns = (1, *array.shape)
        whole = np.ones((-(-rows // 32) * 32, -(-columns // 32) * 32), np.float32)
        whole[:rows, :columns] = array
        to_pages(whole, data_format, pages)
        back = np.empty_like(whole)
        from_pages(pages, data_format, back)
        values.append(torch.from_numpy(back[:rows, :columns].copy()).double())

    values = []
    func = kernels.gemm_bias.get_tir(100, 75, 45, 64, 64, 32, residual=True)
    program = tt.compile(func, layout={name: {"dtype": dtype} for name in ("A", "B", "bias", "R")}, out_idx=-1)
    inputs = [torch.randn(*tensor.shape).bfloat16() for tensor in program.spec.tensors[:4]]
    monkeypatch.setattr(job, "to_pages", padded)
    found = program(*inputs)
    a, b, bias, r = values[:4]
    assert error(found, (a @ b + bias).clamp(min=0) * 0.5 - r) <= 2**-8


@pytest.mark.parametrize("in_place", [False, True])
def test_results_that_would_share_exponents_with_padding_are_refused(in_place):
    layout = block_sharded((64, 72), (2, 1)) if in_place else {}
    func = kernels.binary.get_tir(64, 72, 32, 96)
    with pytest.raises(UnsupportedError, match="C is stored in block floats, and its last elements would") as caught:
        tt.compile(func, layout={"C": {**layout, "dtype": "bfloat8_b"}})
    assert "8 columns in the last hardware tile" in str(caught.value)
