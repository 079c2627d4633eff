"""A 2D convolution as a matrix product: for each output pixel, images x (kernel pixels, channels) @ (..., filters).

Pixels are the outer dimensions and images are the rows of the products, so that every block is whole hardware tiles
whatever the kernel's size and stride.
"""

import tilelang
import tilelang.language as T
import torch
from example import Example, main


@tilelang.jit
def conv2d(N, C, H, W, F, K, S, block_N, block_F, block_C, dtype="bfloat16", accum_dtype="float32"):
    """N images of H x W pixels and C channels, F filters of K x K pixels, stride S, no padding."""
    OH, OW, blocks_C = (H - K) // S + 1, (W - K) // S + 1, C // block_C

    @T.prim_func
    def kernel(
        data: T.Tensor((H, W, N, C), dtype),
        filters: T.Tensor((K, K, C, F), dtype),
        out: T.Tensor((OH, OW, N, F), dtype),
    ):
        with T.Kernel(T.ceildiv(F, block_F), T.ceildiv(N, block_N), OH * OW, threads=128) as (bx, by, bz):
            data_shared = T.alloc_shared((block_N, block_C), dtype)
            filters_shared = T.alloc_shared((block_C, block_F), dtype)
            out_local = T.alloc_fragment((block_N, block_F), accum_dtype)
            T.clear(out_local)
            for k in T.Pipelined(K * K * blocks_C, num_stages=2):
                y, x, c = k // blocks_C // K, k // blocks_C % K, k % blocks_C
                T.copy(data[bz // OW * S + y, bz % OW * S + x, by * block_N, c * block_C], data_shared)
                T.copy(filters[y, x, c * block_C, bx * block_F], filters_shared)
                T.gemm(data_shared, filters_shared, out_local)
            T.copy(out_local, out[bz // OW, bz % OW, by * block_N, bx * block_F])

    return kernel


def conv2d_reference(stride):
    def reference(data, filters):
        found = torch.nn.functional.conv2d(data.permute(2, 3, 0, 1), filters.permute(3, 2, 0, 1), stride=stride)
        return found.permute(2, 3, 0, 1)

    return reference


EXAMPLES = [
    Example(
        [conv2d], [(32, 64, 5, 4, 32, 3, 1, 32, 32, 32), (64, 32, 4, 4, 64, 2, 1, 32, 64, 32)], conv2d_reference(1)
    ),
    Example([conv2d], [(32, 32, 7, 5, 32, 3, 2, 32, 32, 32)], conv2d_reference(2)),
]

if __name__ == "__main__":
    main(EXAMPLES)
