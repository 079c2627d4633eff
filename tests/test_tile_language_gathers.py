"""Regions between computed ends, rows and elements picked by computed indices, against torch on the emulator."""

import gather_kernels
import pytest
import tilelang.language as T
import torch
from constructs import check, refused, supported

import tilelang_tt as tt

D = "bfloat16"


EXAMPLES = gather_kernels.examples()


def run(name, **options):
    example = EXAMPLES[name]
    inputs = list(example.all_inputs().values())
    return check(example.kernel, example.reference, tuple(range(-example.outputs, 0)), inputs=inputs, **options)


@supported("Copies", "of a region between names, `A[first:last, :]`, whose difference is constant")
def test_regions_between_names():
    run("regions")


@supported("Copies", "of rows by index, `k[i, j] = K[rows[i], j]`, also under a condition; those outside are zeros")
def test_rows_by_index():
    run("rows")


@supported("Copies", "`T.im2col` of any number of channels, stride, dilation and padding, and the same written by hand")
@pytest.mark.parametrize("name", [name for name in EXAMPLES if name.startswith("convolution")])
def test_convolutions(name):
    run(name)


@supported(
    "Expressions", "elements of tensors by any index: remainders, a diagonal, a stride, what another tensor holds"
)
@pytest.mark.parametrize("name", ["by_hand", "vectors"])
def test_elements_by_any_index(name):
    run(name)


@supported("Tensors", "another view of a tensor's memory: `T.Tensor((K * K * C, F), dtype, weights.data)`")
def test_views_of_tensors():
    program = run("convolution")
    assert [tensor.shape for tensor in program.spec.tensors] == [(2, 12, 10, 32), (288, 48), (240, 48)]
    assert [tensor.host_shape for tensor in program.spec.tensors][1:] == [(3, 3, 32, 48), (2, 12, 10, 48)]


def test_what_rows_by_index_read():
    """The reads of a block: 128 bytes around every 32 elements, and each page of indices once for each load."""
    example = EXAMPLES["rows"]
    program = tt.compile(example.kernel, out_idx=(-2, -1))
    given = example.all_inputs()
    rows = torch.arange(384, dtype=torch.int32).reshape(2, 3, 64) % 40
    _, report = program.run(given["K"], rows, rows * 0, report=True)
    picked, pages_of_indices = 6 * 64 * 3 * 128, 6 * 2 * 3
    assert report.noc.dram_read == picked + pages_of_indices * 4096


@supported("Sizes known at launch", "blocks over other dimensions than the last two, and rows by index")
def test_sequences_of_any_length():
    program = tt.compile(gather_kernels.sequences_of_any_length()[0])
    stored = [tensor.storage and tensor.storage.order for tensor in program.spec.tensors]
    assert stored == [(1, 0, 2), (1, 0, 2), None, (1, 0, 2), (1, 0, 2)]
    torch.manual_seed(0)
    for length, rows in ((64, 40), (100, 7), (1, 1), (33, 200)):
        a, k = torch.randn(length, 3, 64).bfloat16(), torch.randn(rows, 1, 96).bfloat16()
        at = torch.randint(0, rows, (length,), dtype=torch.int32)
        c, e = torch.zeros(length, 3, 64), torch.zeros(length, 3, 96).bfloat16()
        program(a, k, at, c, e)
        assert torch.equal(c, 2 * a.float())
        assert torch.equal(e, k[at.long()].expand(-1, 3, -1))
    with pytest.raises(tt.TTError, match=r"expected: \[s, 3, 64\], where s is 32, as 'A' has it"):
        program(torch.zeros(32, 3, 64).bfloat16(), k, at[:32], torch.zeros(33, 3, 64), e)


@refused("Copies", "of a region of a size that is known only when the kernel runs", "has a size that is not constant")
def test_region_of_unknown_size():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), D), n: T.Tensor((1,), "int32"), C: T.Tensor((64, 64), D)):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_shared((64, 64), D)
            T.copy(A[bx : n[0], :], a)
            T.copy(a, C)

    return kernel


@refused("Copies", "of rows by an index that an on-chip buffer holds", "is read from on-chip buffer at")
def test_rows_by_an_index_on_chip():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), D), rows: T.Tensor((64,), "int32"), C: T.Tensor((64, 64), D)):
        with T.Kernel(1, threads=128) as bx:
            at = T.alloc_shared((64,), "int32")
            a = T.alloc_shared((64, 64), D)
            T.copy(rows, at)
            for i, j in T.Parallel(64, 64):
                a[i, j] = A[at[i], j]
            T.copy(a, C[bx * 64, 0])

    return kernel


@refused("Tensors", "one tensor in several shapes", "flat is another view of the memory of A")
def test_tensors_of_several_shapes():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), D), C: T.Tensor((64, 64), D)):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_shared((64, 64), D)
            flat = T.Tensor((4096,), D, A.data)
            T.copy(A[bx, 0], a)
            for i, j in T.Parallel(64, 64):
                a[i, j] = a[i, j] + flat[i * 64 + j]
            T.copy(a, C[bx, 0])

    return kernel
