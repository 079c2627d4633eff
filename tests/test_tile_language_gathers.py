"""Regions between computed ends, rows and elements picked by computed indices, against torch on the emulator."""

import gather_kernels
import tilelang.language as T
from constructs import check, refused, supported

D = "bfloat16"


def run(name, **options):
    kernel, reference, outputs = getattr(gather_kernels, name)()
    check(kernel, reference, tuple(range(-outputs, 0)), **options)


@supported("Copies", "of a region between names, `A[first:last, :]`, whose difference is constant")
def test_regions_between_names():
    run("regions_between_names")


@refused("Copies", "of a region of a size that is known only when the kernel runs", "has a size that is not constant")
def test_region_of_unknown_size():
    @T.prim_func
    def kernel(A: T.Tensor((64, 64), D), n: T.Tensor((1,), "int32"), C: T.Tensor((64, 64), D)):
        with T.Kernel(1, threads=128) as bx:
            a = T.alloc_shared((64, 64), D)
            T.copy(A[bx : n[0], :], a)
            T.copy(a, C)

    return kernel
