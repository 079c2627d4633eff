"""The GEMM of benchmarks/emulator.py as a TT-Lang kernel, on tt-lang-sim; emulator.py runs this file.

    python benchmarks/tt_lang_gemm.py --size 512 --block 4 --repeat 3

prints one line of JSON: the seconds of each run after a warm-up, and the largest error against numpy as a part of the
largest output. It needs tt-lang-sim (``pip install tt-lang-sim``), nothing of this package.
"""

import argparse
import json
import math
import time

import numpy as np
import torch
from ttl.sim import ttl, ttnn

TILE = 32


def gemm_operation(tiles, block, grid):
    """C = A B, ``tiles`` tiles per side; an entry of a dataflow buffer is a square of ``block`` tiles per side."""
    blocks = tiles // block

    @ttl.operation(grid=grid)
    def gemm(a, b, c):
        entry = {"shape": (block, block), "block_count": 2}
        a_blocks = ttl.make_dataflow_buffer_like(a, **entry)
        b_blocks = ttl.make_dataflow_buffer_like(b, **entry)
        sums = ttl.make_dataflow_buffer_like(c, **entry)
        c_blocks = ttl.make_dataflow_buffer_like(c, **entry)
        columns, rows = ttl.grid_size(dims=2)

        def span(index):
            return slice(index * block, (index + 1) * block)

        @ttl.datamovement()
        def reader():
            x, y = ttl.node(dims=2)
            for m in range(y, blocks, rows):
                for n in range(x, blocks, columns):
                    for k in range(blocks):
                        with a_blocks.reserve() as left, b_blocks.reserve() as right:
                            copy_a = ttl.copy(a[span(m), span(k)], left)
                            copy_b = ttl.copy(b[span(k), span(n)], right)
                            copy_a.wait()
                            copy_b.wait()

        @ttl.compute()
        def multiply():
            x, y = ttl.node(dims=2)
            for _ in range(y, blocks, rows):
                for _ in range(x, blocks, columns):
                    with sums.reserve() as first:
                        first.store(ttl.block.fill(0, shape=first.shape))
                    for _ in range(blocks):
                        with (
                            a_blocks.wait() as left,
                            b_blocks.wait() as right,
                            sums.wait() as before,
                            sums.reserve() as after,
                        ):
                            after.store(before + left @ right)
                    with sums.wait() as last, c_blocks.reserve() as out:
                        out.store(last)

        @ttl.datamovement()
        def writer():
            x, y = ttl.node(dims=2)
            for m in range(y, blocks, rows):
                for n in range(x, blocks, columns):
                    with c_blocks.wait() as out:
                        ttl.copy(out, c[span(m), span(n)]).wait()

    return gemm


def measure(size, block, grid, repeat):
    device = ttnn.open_device(device_id=0)
    place = {"dtype": ttnn.bfloat16, "layout": ttnn.TILE_LAYOUT, "device": device}
    torch.manual_seed(0)
    inputs = [torch.randn(size, size, dtype=torch.bfloat16) for _ in range(2)]
    a, b = (ttnn.from_torch(matrix, memory_config=ttnn.DRAM_MEMORY_CONFIG, **place) for matrix in inputs)
    c = ttnn.from_torch(torch.zeros(size, size, dtype=torch.bfloat16), memory_config=ttnn.DRAM_MEMORY_CONFIG, **place)
    gemm = gemm_operation(size // TILE, block, grid)
    seconds = []
    for _ in range(1 + repeat):
        start = time.perf_counter()
        gemm(a, b, c)
        seconds.append(time.perf_counter() - start)
    expected = inputs[0].float().numpy() @ inputs[1].float().numpy()
    error = np.abs(ttnn.to_torch(c).float().numpy() - expected).max() / np.abs(expected).max()
    ttnn.close_device(device)
    return {"seconds": seconds[1:], "error": float(error)}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--size", type=int, default=512, help="M = N = K")
    arguments.add_argument("--block", type=int, default=4, help="tiles per side of a block")
    arguments.add_argument("--nodes", type=int, default=1, help="a square number")
    arguments.add_argument("--threads", type=int, default=1, help="of torch")
    arguments.add_argument("--repeat", type=int, default=3)
    options = arguments.parse_args()
    # Blocks are too small for more threads to pay, and threads that spin for each other stall on a busy machine.
    torch.set_num_threads(options.threads)
    grid = (math.isqrt(options.nodes),) * 2
    print(json.dumps(measure(options.size, options.block, grid, options.repeat)))


if __name__ == "__main__":
    main()
