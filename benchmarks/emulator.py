"""GEMMs on the embedded emulator and on tt-lang-sim, in one run: 32x32x32 products per second of each, and the ratio.

    python benchmarks/emulator.py --tt-lang-python OTHER_VENV/bin/python

tt-lang-sim (``pip install tt-lang-sim``) simulates the same chips in Python on torch. It runs in processes of its own,
of the Python that ``--tt-lang-python`` names (default: this one), and is left out where it is not installed. Both sides
work on the same shapes, of bfloat16, in the same blocks; both results are compared with numpy.

A time is the median of ``--repeat`` calls after one that warms up, and compiles. Ours is all of ``program(a, b, c)``:
tensors to tiles and back, the emulator's process, and its checks. tt-lang-sim's is its operation alone, on tensors
already in its form: on as many nodes as we take cores, and again on one node, where it has the least to keep track of.
The ratio is to the faster of the two. Other work on the machine moves the times, and the ratio less.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np
import tilelang
import tilelang.language as T
from rich.console import Console
from rich.table import Table

import tilelang_tt as tt

TILE = 32
LARGEST_ERROR = 2**-7
"""As a part of the largest output, which is itself rounded to bfloat16."""


@tilelang.jit
def matmul(size, block, dtype="bfloat16"):
    @T.prim_func
    def kernel(A: T.Tensor((size, size), dtype), B: T.Tensor((size, size), dtype), C: T.Tensor((size, size), dtype)):
        with T.Kernel(size // block, size // block, threads=128) as (bx, by):
            A_shared = T.alloc_shared((block, block), dtype)
            B_shared = T.alloc_shared((block, block), dtype)
            C_local = T.alloc_fragment((block, block), "float32")
            T.clear(C_local)
            for k in T.Pipelined(size // block, num_stages=2):
                T.copy(A[by * block, k * block], A_shared)
                T.copy(B[k * block, bx * block], B_shared)
                T.gemm(A_shared, B_shared, C_local)
            T.copy(C_local, C[by * block, bx * block])

    return kernel


@dataclass(frozen=True)
class Case:
    """M = N = K in elements, and the tiles on a side of a block of A, B and C."""

    size: int
    block: int

    def __str__(self):
        return f"{self.size}^3, blocks {self.block}x{self.block}"

    def rate(self, seconds):
        return (self.size // TILE) ** 3 / seconds


@dataclass(frozen=True)
class Measured:
    seconds: float
    error: float
    cores: int


def check(what, error):
    if not error < LARGEST_ERROR:
        raise SystemExit(f"{what}: the result is off by {error:.1e} of the largest output")


def run_emulator(case, repeat):
    program = tt.compile(matmul.get_tir(case.size, case.block * TILE), device="wormhole_n150")
    random = np.random.default_rng(0)
    a, b = (random.standard_normal((case.size,) * 2, np.float32).astype(ml_dtypes.bfloat16) for _ in range(2))
    c = np.zeros_like(a)
    seconds = []
    for _ in range(1 + repeat):
        start = time.perf_counter()
        program(a, b, c)
        seconds.append(time.perf_counter() - start)
    expected = a.astype(np.float32) @ b.astype(np.float32)
    error = float(np.abs(c.astype(np.float32) - expected).max() / np.abs(expected).max())
    check(f"emulator, {case}", error)
    return Measured(statistics.median(seconds[1:]), error, len(program.partition.core_runtime_args))


def has_tt_lang(python):
    probe = "import importlib.util, sys; sys.exit(importlib.util.find_spec('ttl.sim') is None)"
    return subprocess.run([python, "-c", probe], capture_output=True, check=False).returncode == 0


def run_tt_lang(case, nodes, repeat, python):
    script = Path(__file__).with_name("tt_lang_gemm.py")
    options = {"size": case.size, "block": case.block, "nodes": nodes, "repeat": repeat}
    command = [python, str(script), *(f"--{name}={value}" for name, value in options.items())]
    result = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    check(f"tt-lang-sim, {case}", result["error"])
    return Measured(statistics.median(result["seconds"]), result["error"], nodes)


def compare(cases, repeat, python):
    table = Table(title="32x32x32 products per second", title_justify="left", caption_justify="left")
    table.add_column("GEMM, blocks in tiles")
    for column in ("emulator", "tt-lang-sim", "on 1 node", "ratio"):
        table.add_column(column, justify="right")
    for case in cases:
        ours = run_emulator(case, repeat)
        theirs = [run_tt_lang(case, nodes, repeat, python) for nodes in (ours.cores, 1)] if python else []
        rates = [case.rate(measured.seconds) for measured in (ours, *theirs)]
        ratio = f"{rates[0] / max(rates[1:]):.1f}" if theirs else ""
        table.add_row(str(case), *(f"{rate:,.0f}" for rate in rates), *[""] * (3 - len(rates)), ratio)
    return table


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--tt-lang-python", default=sys.executable, help="the Python that has tt-lang-sim")
    arguments.add_argument("--repeat", type=int, default=5)
    arguments.add_argument("--large", type=int, default=2048, help="M = N = K with blocks of 4x4 tiles")
    arguments.add_argument("--small", type=int, default=512, help="M = N = K with blocks of one tile")
    options = arguments.parse_args()
    console = Console(highlight=False)
    python = options.tt_lang_python if has_tt_lang(options.tt_lang_python) else None
    if python is None:
        console.print(f"tt-lang-sim cannot be imported by {options.tt_lang_python}: ours only")
    console.print(compare([Case(options.large, 4), Case(options.small, 1)], options.repeat, python))
    launch = run_emulator(Case(256, 1), 4 * options.repeat)
    console.print(f"emulator, 256^3 on {launch.cores} cores, a whole call: {launch.seconds:.4f} s (goal: below 0.1 s)")


if __name__ == "__main__":
    main()
