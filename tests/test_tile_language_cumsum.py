"""T.cumsum against torch on the emulator."""

import cumsum_kernels
import pytest
from constructs import check, supported


def run(made, tolerance=None):
    kernel, reference, outputs = made
    check(kernel, reference, tuple(range(-outputs, 0)), tolerance=tolerance)


@supported("Reductions", "`T.cumsum` of matrices along either axis, `reverse=True`, in place")
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("shape", [(64, 96), (40, 50)])
def test_of_matrices(dim, reverse, shape):
    run(cumsum_kernels.of_matrices(dim, reverse, shape))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_of_other_dtypes(dtype):
    run(cumsum_kernels.of_matrices(1, reverse=False, dtype=dtype), tolerance=2**-10)


@supported("Reductions", "`T.cumsum` of vectors, also `(M, 1)` and `(1, N)`")
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [64, 50])
def test_of_vectors(reverse, length):
    run(cumsum_kernels.of_vectors(reverse, length))
