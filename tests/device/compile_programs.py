"""Compiles the programs of the device tests: ``python tests/device/compile_programs.py OUT [--device NAME ...]``.

Needs TileLang. ``pytest tests/device --programs OUT`` runs what it writes, which needs ttnn and numpy only. For every
device and case there is a directory ``OUT/<device>/<case>`` with the saved program in ``program`` and ``tensors.npz``:
the inputs by parameter name, what numpy gives in float32 as ``expected.<output>``, and the errors allowed: ``rounding``
relative to each element, beyond it ``tolerance`` relative to the largest. bfloat16 tensors are stored by their bits.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import tilelang.language as T
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import access_kernels
import control_kernels
import cumsum_kernels
import functions
import gather_kernels
import grid_kernels
import integer_kernels
import kernels
import packed_kernels
import part_kernels
import picked_part_kernels
import small_integer_kernels
import stacked_kernels
import written_part_kernels

import tilelang_tt as tt
from tilelang_tt.formats import storage_format, tile_bytes
from tilelang_tt.layout import block_sharded, height_sharded, interleaved, nd_sharded, width_sharded
from tilelang_tt.runtime.tiles import from_pages, tile_shape, to_pages

GALLERY = Path(__file__).parents[2] / "examples" / "gallery"
DEVICES = ("wormhole_n150_full", "blackhole_p150")
"""The grids of the chips without Tensix dispatch, as ttnn gives them with slow dispatch."""

DTYPES = {"bfloat16": np.dtype(ml_dtypes.bfloat16), "float32": np.dtype(np.float32), "int32": np.dtype(np.int32)} | {
    "float16": np.dtype(np.float16)
}
FLOATS = ("bfloat16", "float32")
# The matrix engine takes float32 as TF32 and sums products aligned to 12 bits (measured: 1.5e-3 and 3.4e-4 of the
# largest output); accumulators on their way to an epilogue may be cut to TF32 as well.
TOLERANCE = 2e-3
EXACT = 0.0
# Packing rounds to half a unit in the last place of the output's mantissa.
ROUNDING = {"bfloat16": 2.0**-8, "float32": 2.0**-24, "int32": 0.0, "float16": 2.0**-11}
ROUNDING |= {"bool": 0.0, "int8": 0.0, "uint8": 0.0}

Tensors = dict[str, np.ndarray]


@dataclass
class Case:
    """One program and one call of it, or several with tensors of other sizes."""

    name: str
    func: Any
    inputs: Tensors
    expected: Tensors
    tolerance: float = TOLERANCE
    """Largest error but for the rounding of the output, relative to the largest expected element."""
    layout: Mapping[str, Any] = field(default_factory=dict)
    schedule: Mapping[str, Any] = field(default_factory=dict)
    out_idx: int | None = None
    more: list[tuple[Tensors, Tensors]] = field(default_factory=list)
    """Inputs and expected outputs of further calls, for which nothing is compiled again."""


def random(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(DTYPES[dtype])


def f32(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32)


def gemm(name, shape, block, dtype="bfloat16", out_dtype=None, relu=False, stages=2, accum="float32", **more) -> Case:
    m, n, k = shape
    func = kernels.gemm.get_tir(m, n, k, *block, dtype, out_dtype, stages, relu, accum)
    a, b = random((m, k), dtype, 1), random((k, n), dtype, 2)
    c = f32(a) @ f32(b)
    return Case(name, func, {"A": a, "B": b}, {"C": np.maximum(c, 0) if relu else c}, **more)


def transposed(name, shape, block, trans_a, trans_b, dtype="bfloat16", **options) -> Case:
    m, n, k = shape
    a, b = random((m, k), dtype, 1), random((k, n), dtype, 2)
    stored = {name: np.ascontiguousarray(x.T) if t else x for name, x, t in (("A", a, trans_a), ("B", b, trans_b))}
    func = kernels.gemm_transposed.get_tir(m, n, k, *block, trans_a, trans_b, dtype)
    return Case(name, func, stored, {"C": f32(a) @ f32(b)}, **options)


def bias(name, shape, block, dtype="bfloat16", residual=False, **options) -> Case:
    m, n, k = shape
    a, b, v, r = (random(s, dtype, i) for i, s in enumerate([(m, k), (k, n), (n,), (m, n)]))
    c = np.maximum(f32(a) @ f32(b) + f32(v), 0)
    func = kernels.gemm_bias.get_tir(m, n, k, *block, dtype=dtype, residual=residual)
    inputs = {"A": a, "B": b, "bias": v, "R": r}
    return Case(name, func, inputs, {"C": c * 0.5 - f32(r) if residual else c}, **options)


def binary(name, shape, block, op="add", dtype="bfloat16", **options) -> Case:
    a, b = random(shape, dtype, 1), random(shape, dtype, 2)
    c = {"add": np.add, "sub": np.subtract, "mul": np.multiply}[op](f32(a), f32(b))
    func = kernels.binary.get_tir(*shape, *block, op, dtype)
    return Case(name, func, {"A": a, "B": b}, {"C": c}, **options)


def copy(name, shape, block, dtype, out_dtype, tolerance, **options) -> Case:
    a = random(shape, dtype, 1)
    func = kernels.copy.get_tir(*shape, *block, dtype, out_dtype)
    return Case(name, func, {"A": a}, {"B": f32(a)}, tolerance, **options)


def gemm_cases() -> Iterator[Case]:
    for dtype in FLOATS:
        for block in ((32, 32, 32), (64, 64, 32), (128, 128, 32), (32, 96, 64), (96, 32, 128)):
            label = "x".join(map(str, block))
            yield gemm(f"gemm_{dtype}_{label}", (384, 384, 256), block, dtype)
            yield gemm(f"gemm_relu_{dtype}_{label}", (384, 384, 256), block, dtype, relu=True)
        for block in ((32, 64, 32), (128, 64, 32)):
            for residual in (False, True):
                label = "x".join(map(str, block)) + ("_residual" if residual else "")
                yield bias(f"gemm_bias_relu_{dtype}_{label}", (128, 128, 96), block, dtype, residual)
    for stages in (0, 1, 3):
        yield gemm(f"gemm_stages_{stages}", (128, 128, 128), (64, 64, 32), stages=stages)
    yield gemm("gemm_float32_out", (128, 128, 64), (128, 128, 32), out_dtype="float32")
    yield gemm("gemm_float32_out_relu", (128, 128, 64), (128, 128, 32), out_dtype="float32", relu=True)
    yield gemm("gemm_all_cores", (512, 512, 64), (32, 32, 32))
    yield gemm("gemm_one_core", (256, 256, 256), (256, 256, 64), relu=True)
    yield gemm("gemm_out_idx", (128, 128, 128), (64, 64, 32), out_idx=-1)
    for trans_a in (False, True):
        for trans_b in (False, True):
            for block in ((64, 64, 64), (128, 96, 32)):
                label = f"{'t' if trans_a else 'n'}{'t' if trans_b else 'n'}_{'x'.join(map(str, block))}"
                yield transposed(f"gemm_{label}", (256, 192, 128), block, trans_a, trans_b)
    yield transposed("gemm_tt_float32", (128, 192, 128), (64, 96, 32), True, True, "float32")
    a, b = random((3, 64, 64), "bfloat16", 1), random((3, 64, 96), "bfloat16", 2)
    func = kernels.batched_gemm.get_tir(3, 64, 96, 64, 32, 32, 32)
    yield Case("gemm_batched", func, {"A": a, "B": b}, {"C": f32(a) @ f32(b)})


def elementwise_cases() -> Iterator[Case]:
    for dtype in FLOATS:
        for op in ("add", "sub", "mul"):
            yield binary(f"{op}_{dtype}", (128, 192), (64, 96), op, dtype)
        yield copy(f"copy_{dtype}", (96, 128), (32, 64), dtype, dtype, EXACT)
    yield binary("add_many_tiles_per_core", (1024, 1024), (32, 32))
    yield copy("copy_float32_to_bfloat16", (64, 64), (32, 32), "float32", "bfloat16", TOLERANCE)
    yield copy("copy_bfloat16_to_float32", (64, 64), (32, 32), "bfloat16", "float32", EXACT)


def sharded_cases() -> Iterator[Case]:
    for block in ((32, 32, 32), (64, 64, 64), (128, 64, 32)):
        for dtype in FLOATS:
            layout = {"C": block_sharded((256, 512), (2, 4))}
            label = "x".join(map(str, block))
            yield gemm(f"shard_gemm_relu_{dtype}_{label}", (256, 512, 128), block, dtype, relu=True, layout=layout)
    shape = (256, 256)
    kinds = {
        "block": block_sharded(shape, (4, 2)),
        "height": height_sharded(shape, 4),
        "width": width_sharded(shape, 4),
        "columnwise": block_sharded(shape, (4, 2), orientation="col_major"),
        "block_by_columns": block_sharded(shape, (4, 2), order="col_major", orientation="col_major"),
        "scattered": block_sharded(shape, (2, 2), core_ranges=[[5, 3, 5, 3], [1, 1, 2, 1], [0, 6, 0, 6]]),
        "height_scattered": height_sharded(shape, 4, core_ranges=[[5, 3, 5, 3], [0, 6, 1, 6], [4, 0, 4, 0]]),
    }
    for kind, layout in kinds.items():
        for buffers in ("C", "A", "ABC"):
            layouts = dict.fromkeys(buffers, layout)
            yield binary(f"shard_add_{kind}_{buffers}", shape, (32, 64), layout=layouts)
    uneven = block_sharded((320, 224), (3, 2))
    yield binary("shard_add_uneven", (320, 224), (32, 32), layout={"A": uneven, "C": uneven})
    yield copy("shard_copy", shape, (64, 64), "bfloat16", "bfloat16", EXACT, layout={"B": kinds["block"]})
    rows = height_sharded((256, 128), 8, axes=("M", "K"))
    yield gemm("shard_gemm_by_a", (256, 64, 128), (32, 64, 32), layout={"A": rows})
    by_k = width_sharded((64, 256), 4, axes=("K", "N"))
    yield transposed("shard_gemm_by_b", (64, 256, 64), (64, 64, 32), False, False, layout={"B": by_k})
    by_n = height_sharded((256, 64), 4, axes=("N", "K"))
    yield transposed("shard_gemm_by_b_transposed", (64, 256, 64), (64, 64, 32), False, True, layout={"B": by_n})
    square = (128, 128)
    over_network = {"A": block_sharded(square, (2, 2), axes=("M", "K")), "C": block_sharded(square, (2, 2))}
    options = {"layout": over_network, "schedule": {"partition_mode": "global"}}
    yield gemm("shard_gemm_global", (128, 128, 128), (64, 64, 32), **options)
    yield bias("shard_gemm_bias", (256, 256, 96), (64, 64, 32), layout={"C": kinds["block"]})
    in_l1 = {name: interleaved("L1") for name in "ABC"}
    yield binary("l1_interleaved_add", square, (64, 64), layout=in_l1)
    yield gemm("l1_interleaved_gemm", (128, 128, 128), (64, 64, 32), layout=in_l1)


def batched(name, **options) -> Case:
    a, b = random((3, 128, 64), "bfloat16", 1), random((3, 64, 96), "bfloat16", 2)
    func = kernels.batched_gemm.get_tir(3, 128, 96, 64, 32, 32, 32)
    return Case(name, func, {"A": a, "B": b}, {"C": f32(a) @ f32(b)}, **options)


def distribution_cases() -> Iterator[Case]:
    """Shards in DRAM, and several shards per core."""
    shape, cores = (320, 224), [[1, 1, 3, 1], [0, 4, 0, 5]]
    in_turn = {"distribution": "round_robin", "core_ranges": cores}
    kinds = {
        "dram_height": height_sharded(shape, 10, "DRAM", banks=list(range(1, 8))),
        "dram_width": width_sharded(shape, 7, "DRAM"),
        "dram_block": block_sharded(shape, (5, 4), "DRAM"),
        "dram_block_few_banks": block_sharded(shape, (5, 4), "DRAM", banks=[5, 1, 7]),
        "dram_contiguous": block_sharded(shape, (5, 4), "DRAM", distribution="contiguous", banks=[5, 1, 7, 0]),
        "in_turn_height": height_sharded(shape, 10, **in_turn),
        "in_turn_uneven": block_sharded(shape, (4, 3), align=(32, 64), **in_turn),
        "in_turn_by_columns": block_sharded(shape, (5, 4), orientation="col_major", **in_turn),
        "in_turn_few": block_sharded(shape, (2, 4), **in_turn),
        "consecutive": block_sharded(shape, (5, 4), distribution="contiguous", core_ranges=[[2, 2, 3, 3]]),
    }
    for kind, layout in kinds.items():
        for buffers in ("C", "A", "ABC"):
            yield binary(f"shards_{kind}_{buffers}", shape, (32, 32), layout=dict.fromkeys(buffers, layout))
        apart = {"layout": dict.fromkeys("AC", layout), "schedule": {"partition_mode": "global"}}
        yield binary(f"shards_{kind}_global", shape, (32, 32), **apart)
    in_blocks = block_sharded((384, 512), (6, 4), distribution="round_robin", core_ranges=[[0, 0, 4, 0]])
    yield gemm("shards_gemm_in_turn", (384, 512, 128), (64, 64, 32), relu=True, layout={"C": in_blocks})
    blocks_of_k = nd_sharded((384, 128), (64, 64), axes=("M", "K"), distribution="round_robin")
    options = {"layout": {"A": blocks_of_k, "B": width_sharded((128, 512), 8, "DRAM", axes=("K", "N"))}}
    yield gemm("shards_gemm_operands", (384, 512, 128), (64, 64, 32), **options)
    cores = {"distribution": "round_robin", "core_ranges": [[0, 0, 1, 0], [3, 3, 3, 3]]}
    for shard in ((1, 128, 96), (1, 64, 96), (1, 64, 32), (2, 128, 32), (3, 128, 32)):
        label = "x".join(map(str, shard))
        yield batched(f"shards_batched_{label}", layout={"C": nd_sharded((3, 128, 96), shard)})
        yield batched(f"shards_batched_in_turn_{label}", layout={"C": nd_sharded((3, 128, 96), shard, **cores)})
    axes = ("B", "M", "K")
    for memory, where in (("DRAM", {}), ("L1", cores)):
        layouts = {
            "A": nd_sharded((3, 128, 64), (2, 32, 32), memory, axes=axes, **where),
            "B": nd_sharded((3, 64, 96), (2, 32, 64), memory, axes=("B", "K", "N"), **where),
            "C": nd_sharded((3, 128, 96), (2, 64, 32), memory, **where),
        }
        yield batched(f"shards_batched_nd_{memory}", layout=layouts, schedule={"partition_mode": "global"})
    linear = {name: nd_sharded((3, 128, 64), (1, 32, 64), axes=axes, **cores) for name in "A"}
    yield batched("shards_batched_rows_in_turn", layout=linear)


def policy_cases() -> Iterator[Case]:
    schedules = {
        "contiguous_column_major": {"order": "column_major"},
        "contiguous_block_linear": {"order": "block_linear(2)"},
        "contiguous_match_shard": {"order": "match_shard(3,2)"},
        "cyclic": {"policy": "block_cyclic"},
        "cyclic_3_column_major": {"policy": "block_cyclic(3)", "order": "column_major"},
        "cyclic_block_linear": {"policy": "block_cyclic(4)", "order": "block_linear(2)"},
        "block_2d": {"policy": "block_2d"},
        "block_2d_column_major": {"policy": "block_2d(3,2)", "order": "column_major"},
        "few_cores": {"num_cores": 5},
        "core_ranges": {"core_ranges": [[1, 2, 3, 4], [5, 0, 5, 5]]},
    }
    for name, schedule in schedules.items():
        yield gemm(f"policy_{name}", (288, 352, 96), (32, 32, 32), relu=True, schedule=schedule)
    yield binary("policy_cyclic_add", (288, 352), (32, 32), schedule={"policy": "block_cyclic(2)", "num_cores": 7})


def multicast_cases() -> Iterator[Case]:
    """Operands read by one core of a row or column of cores and multicast to the others."""

    def schedule(policy, *names, **more):
        return {"policy": policy, "multicast": list(names), **more}

    both = schedule("block_2d(3,4)", "A", "B")
    for dtype in ("bfloat16", "float32"):
        yield gemm(f"multicast_{dtype}", (192, 512, 160), (32, 64, 32), dtype, schedule=both)
        yield gemm(f"multicast_relu_{dtype}", (192, 512, 160), (64, 128, 32), dtype, relu=True, schedule=both)
    yield gemm("multicast_whole_chip", (288, 256, 96), (32, 32, 32), schedule=schedule("block_2d(9,8)", "B", "A"))
    yield gemm("multicast_columns", (288, 352, 96), (32, 32, 32), schedule=schedule("block_2d(3,4)", "B"))
    yield gemm("multicast_row", (96, 512, 128), (96, 64, 64), schedule=schedule("block_2d(1,8)", "A"))
    area = schedule("block_2d(1,24)", "A", core_ranges=[[1, 0, 6, 3]])
    yield gemm("multicast_rectangle", (32, 768, 128), (32, 32, 64), schedule=area)
    yield gemm("multicast_one_column", (256, 32, 128), (32, 32, 32), schedule=schedule("block_2d(8,1)", "B"))
    inner = schedule("block_2d(2,3)", "A", "B", core_ranges=[[2, 3, 4, 4]])
    yield gemm("multicast_inner_cores", (256, 384, 96), (64, 64, 32), schedule=inner)
    by_column = schedule("block_2d(2,4)", "A", "B", order="column_major")
    yield gemm("multicast_column_major", (256, 256, 96), (32, 32, 32), schedule=by_column)
    for stages in (0, 1, 3):
        yield gemm(
            f"multicast_stages_{stages}",
            (128, 256, 256),
            (64, 64, 32),
            stages=stages,
            schedule=schedule("block_2d(2,4)", "A", "B"),
        )
    for trans_a in (False, True):
        for trans_b in (False, True):
            name = f"multicast_{'t' if trans_a else 'n'}{'t' if trans_b else 'n'}"
            grid = schedule("block_2d(2,3)", "A", "B")
            yield transposed(name, (256, 192, 128), (64, 64, 32), trans_a, trans_b, schedule=grid)
    yield bias(
        "multicast_bias",
        (256, 256, 96),
        (64, 64, 32),
        residual=True,
        schedule=schedule("block_2d(2,4)", "A", "B", "bias"),
    )
    yield gemm("multicast_odd", (250, 250, 100), (64, 64, 32), schedule=schedule("block_2d(2,4)", "A", "B"))
    yield gemm("multicast_past_k", (128, 128, 149), (64, 64, 96), schedule=schedule("block_2d(2,2)", "A", "B"))
    yield gemm("multicast_past_all", (420, 290, 70), (96, 128, 96), schedule=schedule("block_2d(3,3)", "A", "B"))
    rows, columns = schedule("block_2d(2,4)", "A", "B"), schedule("block_2d(2,3)", "A", "B", order="column_major")
    yield gemm("multicast_unequal_rows", (160, 256, 96), (32, 32, 32), schedule=rows)
    yield gemm("multicast_unequal_columns", (128, 224, 96), (32, 32, 32), stages=3, schedule=columns)
    line = schedule("block_2d(1,3)", "A")
    yield gemm("multicast_unequal_line", (64, 448, 64), (64, 64, 32), relu=True, schedule=line)
    sharded = {"C": block_sharded((256, 512), (2, 4))}
    yield gemm("multicast_shards", (256, 512, 128), (64, 64, 32), layout=sharded, schedule={"multicast": ["A", "B"]})


def odd_cases() -> Iterator[Case]:
    for shape, block in [((100, 70, 50), (64, 64, 32)), ((200, 200, 200), (128, 64, 64))]:
        name = f"bias_odd_{shape[0]}x{shape[1]}x{shape[2]}"
        yield bias(name, shape, block, residual=True)
    yield copy("copy_odd", (77, 130), (64, 96), "bfloat16", None, EXACT)


def edge_cases() -> Iterator[Case]:
    """Shapes that hardware tiles do not divide: the tests leave no numbers in what is past their end."""
    for trans_a, trans_b in itertools.product((False, True), (False, True)):
        label = f"{'t' if trans_a else 'n'}{'t' if trans_b else 'n'}"
        yield transposed(f"edges_gemm_{label}", (100, 70, 50), (64, 64, 32), trans_a, trans_b)
    yield gemm("edges_gemm_float32", (100, 70, 33), (64, 64, 32), "float32")
    yield bias("edges_bias", (64, 100, 32), (32, 64, 32), residual=True)
    shards = {"A": height_sharded((96, 50), 3, axes=("M", "K"))}
    yield gemm("edges_gemm_shards", (96, 70, 50), (32, 32, 32), layout=shards)
    shards["A"] = nd_sharded(
        (96, 50), (32, 64), axes=("M", "K"), distribution="round_robin", core_ranges=[[0, 0, 1, 0]]
    )
    yield gemm("edges_gemm_shards_in_turn", (96, 70, 50), (32, 32, 32), layout=shards)
    dram = {"A": nd_sharded((96, 50), (32, 32), "DRAM", axes=("M", "K"))}
    yield gemm("edges_gemm_dram_shards", (96, 70, 50), (32, 32, 32), layout=dram)
    in_place = dict.fromkeys("ABC", block_sharded((90, 70), (3, 3)))
    yield binary("edges_add_shards", (90, 70), (32, 32), layout=in_place)
    together = {"policy": "block_2d(2,2)", "multicast": ["A", "B"]}
    yield gemm("edges_multicast", (120, 118, 70), (64, 64, 32), schedule=together)


def gallery_cases() -> Iterator[Case]:
    """The gallery's kernels of one step, at their first shape, in both modes."""
    import importlib

    import torch

    sys.path.append(str(GALLERY))
    themes = sorted(path.stem for path in GALLERY.glob("*.py") if path.stem != "example")
    for theme in themes:
        for example in importlib.import_module(theme).EXAMPLES:
            if len(example.kernels) > 1 or example.sizes:
                continue
            shape = example.shapes[0]
            func = example.kernels[0].get_tir(*shape)
            buffers = [func.buffer_map[param] for param in func.params]
            outputs = [index % len(buffers) for index in example.outputs]
            torch.manual_seed(0)
            specs = [
                SimpleNamespace(name=str(b.name), host_shape=[int(dim) for dim in b.shape], dtype=str(b.dtype))
                for b in buffers
            ]
            draw = example.draw or importlib.import_module("example").random
            given = {spec.name: draw(spec) for index, spec in enumerate(specs) if index not in outputs}
            found = example.reference(*(tensor.double() for tensor in given.values()))
            results = list(found) if isinstance(found, (tuple, list)) else [found]
            inputs = {name: x.float().numpy().astype(DTYPES[str(x.dtype)[6:]]) for name, x in given.items()}
            expected = {str(buffers[index].name): x.float().numpy() for index, x in zip(outputs, results, strict=True)}
            layouts = {"": {}} | ({"_sharded": example.sharded(*shape)} if example.sharded else {})
            for suffix, layout in layouts.items():
                name = f"gallery_{theme}_{example.name}{suffix}"
                yield Case(name, func, inputs, expected, example.tolerance, layout)


def control_cases() -> Iterator[Case]:
    """Branches, loops that carry what they load, and bounds, conditions and places that tensors hold."""
    yield control("control_block", control_kernels.branches_on_the_block())
    yield control("control_loop", control_kernels.branches_in_a_loop())
    yield control("control_nested", control_kernels.branches_inside_branches())
    yield control("control_signed", control_kernels.signed_conditions())
    yield control("control_carried", control_kernels.loads_that_loops_carry("block"))
    yield control("control_reload", control_kernels.reload_of_a_buffer_in_use())
    yield control("control_lengths", control_kernels.lengths_of_batches("some"))
    yield control("control_lengths_odd", control_kernels.lengths_of_batches("odd"))
    yield control("control_pages", control_kernels.pages_of_a_table())
    yield control("control_persistent", control_kernels.persistent_kernels("T.Persistent"))
    yield control("control_exits", control_kernels.variables_and_exits())


def control(name: str, example: control_kernels.Example, **options: Any) -> Case:
    """A kernel of control_kernels.py or access_kernels.py."""
    given = example.all_inputs()
    results = example.reference(*(value.double() for value in given.values()))
    results = results if isinstance(results, list) else [results]
    names = [str(example.kernel.buffer_map[param].name) for param in example.kernel.params[-example.outputs :]]
    expected = {name: value.numpy().astype(np.float32) for name, value in zip(names, results, strict=True)}
    floats = {name: value for name, value in given.items() if value.dtype.is_floating_point}
    inputs = {name: value.float().numpy().astype(DTYPES[str(value.dtype)[6:]]) for name, value in floats.items()}
    inputs |= {name: value.numpy() for name, value in given.items() if not value.dtype.is_floating_point}
    return Case(name, example.kernel, inputs, expected, **options)


def function_cases() -> Iterator[Case]:
    for name, group in functions.GROUPS.items():
        a, *b = (operand.numpy() for operand in group.operands)
        expected = group.reference(*(operand.double() for operand in group.operands)).float().numpy()
        inputs = {"A": a} | ({"B": b[0]} if b else {})
        yield Case(f"functions_{name}", group.kernel(), inputs, {"C": expected}, max(group.tolerance, TOLERANCE))


def small_integer_cases() -> Iterator[Case]:
    """Masks and integers of 8 bits."""
    for name, made in small_integer_kernels.ALL.items():
        yield control(f"small_{name}", control_kernels.Example(*made()))


def part_cases() -> Iterator[Case]:
    for name in ("copied_parts", "rotated_halves", "products_of_parts", "reduced_parts", "parts_under_way"):
        yield control(name, control_kernels.Example(*getattr(part_kernels, name)()))
    yield control("parts_of_vectors", control_kernels.Example(*part_kernels.parts_of_vectors()), tolerance=2**-7)
    for name, made in written_part_kernels.ALL.items():
        yield control(f"written_{name}", control_kernels.Example(*made()), tolerance=2**-7)
    for name, made in stacked_kernels.ALL.items():
        yield control(f"stacked_{name}", control_kernels.Example(*made()), tolerance=2**-7)
    for name, made in picked_part_kernels.ALL.items():
        yield control(f"picked_{name}", control_kernels.Example(*made()), tolerance=2**-7)


def gather_cases() -> Iterator[Case]:
    """Rows and elements picked by computed indices."""
    for name, example in gather_kernels.examples().items():
        yield control(f"gather_{name}", example)


def access_cases() -> Iterator[Case]:
    """Buffers and tensors of one row, column or element, transposed access, indices."""
    for dim, reverse in ((0, False), (1, True)):
        made = cumsum_kernels.of_matrices(dim, reverse, (64, 50))
        yield control(f"access_cumsum_{dim}", control_kernels.Example(*made), tolerance=2**-9)
    yield control("access_cumsum_vectors", control_kernels.Example(*cumsum_kernels.of_vectors(True)), tolerance=2**-9)
    yield control("access_kept", control_kernels.Example(*access_kernels.values_kept()))
    written = control_kernels.Example(*access_kernels.parts_of_tiles_written())
    yield control("access_parts_written", written, tolerance=2**-7)
    yield control("access_one_column", control_kernels.Example(*access_kernels.buffers_of_one_column()))
    yield control("access_one_row", control_kernels.Example(*access_kernels.buffers_of_one_row()))
    yield control("access_one_element", control_kernels.Example(*access_kernels.buffers_of_one_element()))
    yield control("access_inputs", control_kernels.Example(*access_kernels.tensors_of_one_row_or_column()))
    yield control("access_elements", control_kernels.Example(*access_kernels.elements_of_tensors()))
    yield control("access_rows", control_kernels.Example(*access_kernels.rows_of_tensors()), tolerance=2**-7)
    yield control("access_both_ways", control_kernels.Example(*access_kernels.vectors_both_ways()), tolerance=4e-3)
    yield control("access_indices", control_kernels.Example(*access_kernels.indices_along_a_column()))
    yield control("access_transposed", control_kernels.Example(*access_kernels.transposed_access()))
    yield control("access_stored_transposed", control_kernels.Example(*access_kernels.stored_transposed()))
    yield control("access_remainders", control_kernels.Example(*access_kernels.remainders_of_indices()))
    yield control("access_maxima", control_kernels.Example(*access_kernels.maxima_of_columns()), tolerance=2**-10)
    a, (func, reference) = random((64, 96), "bfloat16", 1), access_kernels.numbers()
    expected = reference(torch.from_numpy(f32(a)), 0.25, 50).numpy()
    inputs = {"A": a, "s": np.array([0.25], np.float32), "n": np.array([50], np.int32)}
    yield Case("access_numbers", func, inputs, {"C": expected})


def packed_cases() -> Iterator[Case]:
    """Blocks that begin at any element of a tensor."""
    for dtype in FLOATS:
        for make in (
            packed_kernels.grouped_gemm,
            packed_kernels.blocks_at_any_row,
            packed_kernels.vectors_at_any_place,
            packed_kernels.columns_at_any_place,
        ):
            yield packed(f"packed_{make.__name__}_{dtype}", *make(dtype=dtype))

    places = (((1, 71, 80, 193), (0, 75, 84, 200)), ((0, 5, 9, 12), (0, 5, 9, 12)))
    calls = [packed_kernels.attention_call(*each) for each in places]
    cases = [packed("", packed_kernels.attention(), inputs, [expected], tolerance=8e-3) for inputs, expected in calls]
    cases[0].name, cases[0].more = "packed_attention", [(case.inputs, case.expected) for case in cases[1:]]
    yield cases[0]


def packed(name: str, func: Any, inputs: list[Any], results: list[torch.Tensor], **options: Any) -> Case:
    """A kernel of packed_kernels.py; what its outputs hold before is among the inputs."""
    params = [func.buffer_map.get(param, param) for param in func.params]
    names, dtypes = [str(param.name) for param in params], [str(param.dtype) for param in params]
    tensors = [value if isinstance(value, torch.Tensor) else torch.tensor([value]) for value in inputs]
    values = [value.float().numpy() if value.is_floating_point() else value.numpy() for value in tensors]
    values += [np.full(tuple(value.shape), packed_kernels.BEFORE) for value in results]
    given = {name: value.astype(DTYPES[dtype]) for name, dtype, value in zip(names, dtypes, values, strict=True)}
    expected = [value.numpy().astype(np.float32) for value in results]
    return Case(name, func, given, dict(zip(names[len(inputs) :], expected, strict=True)), **options)


def stored_cases() -> Iterator[Case]:
    """Tensors that are stored as views of themselves, and buffers that are not multiples of hardware tiles."""
    for causal, seq in ((False, 128), (True, 128), (False, 100)):
        shape = (2, seq, 3, 64)
        q, k, v = (random(shape, "bfloat16", seed) for seed in (1, 2, 3))
        scores = np.einsum("bshd,bthd->bhst", f32(q), f32(k)) / 8
        if causal:
            scores = np.where(np.tril(np.ones((seq, seq))) > 0, scores, -np.inf)
        weights = np.exp(scores)
        total = weights.sum(-1, keepdims=True)
        out = np.einsum("bhst,bthd->bshd", weights / total, f32(v))
        func = kernels.attention.get_tir(*shape, causal)
        expected = {"Out": out, "L": np.log2(total[..., 0])}
        name = f"stored_attention_{seq}" + ("_causal" if causal else "")
        yield Case(name, func, {"Q": q, "K": k, "V": v}, expected, 2**-7)
    for m, n, k in ((16, 64, 40), (8, 48, 64), (64, 40, 72)):
        a, b = random((3 * m, k), "bfloat16", 1), random((k, n), "bfloat16", 2)
        e = np.exp(f32(a)) - 9
        func = kernels.small_blocks.get_tir(m, n, k, 3)
        expected = {"C": e @ f32(b), "most": e.max(1)}
        yield Case(f"stored_small_{m}x{n}x{k}", func, {"A": a, "B": b}, expected, 2**-7)
    for whole in (True, False):
        a, b = random((128, 256), "bfloat16", 1), random((256, 96), "bfloat16", 2)
        func = kernels.gemm_split_k.get_tir(128, 96, 256, 64, 96, 32, 4, whole)
        inputs = {"A": a, "B": b, "C": np.zeros((128, 96), np.float32)}
        yield Case(f"stored_split_k_{'blocks' if whole else 'elements'}", func, inputs, {"C": f32(a) @ f32(b)})
    a = random((1, 100, 2, 64), "float32", 1)
    yield Case("stored_convert", kernels.convert.get_tir(1, 100, 2, 64), {"A": a}, {"C": a.transpose(0, 2, 1, 3)})


def wide(seed: int, shape: tuple[int, int] = (64, 128)) -> np.ndarray:
    """int32 of all magnitudes."""
    return np.random.default_rng(seed).integers(-(2**31), 2**31, shape).astype(np.int32)


def integer_cases() -> Iterator[Case]:
    """Those ``from_floats`` unpack no int32, at which the simulated Wormhole stops."""
    a, b = wide(1), wide(2)
    b[::2] = a[::2]
    with np.errstate(over="ignore"):
        for op, (_, value) in integer_kernels.INTEGER_OPS.items():
            func = integer_kernels.integer_binary.get_tir(64, 128, 32, 64, op)
            yield Case(f"int32_{op}", func, {"A": a, "B": b}, {"C": value(a, b)}, EXACT)
        x, y = (np.random.default_rng(seed).integers(-1000, 1000, a.shape).astype(np.float32) for seed in (3, 4))
        y[::2] = x[::2]
        for op, (_, value) in integer_kernels.INTEGER_OPS.items():
            func = integer_kernels.integer_binary.get_tir(64, 128, 32, 64, op, "float32")
            want = value(x.astype(np.int32), y.astype(np.int32))
            yield Case(f"int32_from_floats_{op}", func, {"A": x, "B": y}, {"C": want}, EXACT)
    for dtype in ("int32", "float32", "bfloat16"):
        given = wide(5) % 200 if dtype == "int32" else random(a.shape, dtype, 5) * 100
        func = integer_kernels.integer_casts.get_tir(64, 128, 32, 64, dtype)
        whole = np.trunc(f32(given)).astype(np.int32)
        rows, columns = np.arange(64)[:, None], np.arange(128)
        expected = {"B": whole, "C": (whole * 3 + rows * 1000001 + columns * 7).astype(np.int32)}
        yield Case(f"int32_casts_{dtype}", func, {"A": given.astype(DTYPES[dtype])}, expected, EXACT)
    yield Case(
        "int32_copy",
        kernels.copy.get_tir(77, 130, 64, 96, "int32", None),
        {"A": wide(6, (77, 130))},
        {"B": wide(6, (77, 130))},
        EXACT,
    )


def dynamic_cases() -> Iterator[Case]:
    """Programs with symbolic sizes, each called with several."""

    def products(*sizes: tuple[int, int, int]) -> list[tuple[Tensors, Tensors]]:
        calls = []
        for m, n, k in sizes:
            a, b = random((m, k), "bfloat16", m), random((k, n), "bfloat16", n)
            calls.append(({"A": a, "B": b}, {"C": f32(a) @ f32(b)}))
        return calls

    def case(name: str, func: Any, calls: list[tuple[Tensors, Tensors]], **options: Any) -> Case:
        return Case(f"dynamic_{name}", func, *calls[0], more=calls[1:], **options)

    m, n, k = (T.dynamic(name) for name in "mnk")
    rows = products(*((size, 128, 96) for size in (300, 64, 1, 700)))
    for label, schedule in {
        "contiguous": {},
        "block_2d": {"policy": "block_2d", "order": "column_major"},
        "cyclic": {"policy": "block_cyclic(2)", "order": "block_linear(2)", "num_cores": 5},
        "auto": {"policy": "auto"},
        "shards": {"partition_mode": "local_shard", "shard_grid": [6, 2], "local_shape_tiles": [2, 1]},
    }.items():
        func = kernels.gemm.get_tir(m, 128, 96, 64, 64, 32)
        yield case(f"rows_{label}", func, rows, schedule={**schedule, "dynamic": {"m": 100}})
    func = kernels.gemm.get_tir(m, n, k, 64, 32, 64)
    yield case("all_sizes", func, products((64, 64, 64), (100, 50, 70), (1, 1, 1), (33, 300, 200)))
    func = kernels.gemm.get_tir(m, 128, 96, 64, 64, 32)
    few = products(*((size, 128, 96) for size in (512, 33, 420)))
    yield case("output_shards", func, few, layout={"C": block_sharded((512, 128), (4, 2))})
    func = kernels.gemm.get_tir(m, 128, 96, 32, 32, 32)
    layout = {"A": height_sharded((512, 96), 8, axes=("M", "K")), "C": height_sharded((512, 128), 8)}
    yield case("input_shards", func, few, layout=layout, out_idx=-1)
    vectors = []
    for rows_now, columns in ((64, 96), (100, 33), (5, 200)):
        a, v, r = (random(s, "bfloat16", 3) for s in ((rows_now, 64), (columns,), (rows_now, columns)))
        b = random((64, columns), "bfloat16", 4)
        expected = np.maximum(f32(a) @ f32(b) + f32(v), 0) * 0.5 - f32(r)
        vectors.append(({"A": a, "B": b, "bias": v, "R": r}, {"C": expected}))
    yield case("vectors", kernels.gemm_bias.get_tir(m, n, 64, 32, 64, 32, residual=True), vectors)
    yield case("attention", *attention_calls())
    calls = []
    for length, rows_now in ((64, 40), (1, 3), (100, 7)):
        a, k, at = random((length, 3, 64), "bfloat16", 1), random((rows_now, 1, 96), "bfloat16", 2), np.arange(length)
        expected = {"C": 2 * f32(a), "E": f32(k)[at % rows_now].repeat(3, 1)}
        calls.append(({"A": a, "K": k, "at": (at % rows_now).astype(np.int32)}, expected))
    yield case("sequences", gather_kernels.sequences_of_any_length()[0], calls)


def attention_calls() -> tuple[Any, list[tuple[Tensors, Tensors]]]:
    """Causal flash attention over any length and any number of heads."""
    import importlib

    sys.path.append(str(GALLERY))
    attention = importlib.import_module("attention")
    func = attention.flash_attention.get_tir(1, T.dynamic("heads"), 1, T.dynamic("seq"), 64, True, 32, 32)
    calls = []
    for heads, length in ((2, 64), (1, 100), (3, 33)):
        q, k, v = (random((1, heads, length, 64), "bfloat16", seed) for seed in (1, 2, 3))
        scores = f32(q) @ f32(k).swapaxes(-1, -2) / 8
        scores = np.where(np.tri(length, dtype=bool), scores, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        expected = weights / weights.sum(-1, keepdims=True) @ f32(v)
        calls.append(({"Q": q, "K": k, "V": v}, {"Output": expected}))
    return func, calls


def as_stored(array: np.ndarray, dtype: str) -> np.ndarray:
    """What ``array`` is once stored as ``dtype``."""
    data_format = storage_format(dtype)
    pages, back = np.empty((tile_shape(array.shape).pages, tile_bytes(data_format)), np.uint8), f32(array)
    to_pages(array, data_format, pages)
    from_pages(pages, data_format, back)
    return back


def storage_cases() -> Iterator[Case]:
    """Block floats, and float16 as another dtype."""
    for dtype, coarse in (("bfloat8_b", 2**-6), ("bfloat4_b", 2**-2)):
        layout = {name: {"dtype": dtype} for name in ("A", "B", "bias", "R")}
        for block in ((32, 64, 32), (128, 64, 32)):
            m, n, k = 128, 128, 96
            a, b, v, r = (random(s, "bfloat16", i) for i, s in enumerate([(m, k), (k, n), (n,), (m, n)]))
            x, y, w, z = (as_stored(array, dtype) for array in (a, b, v, r))
            func = kernels.gemm_bias.get_tir(m, n, k, *block, residual=True)
            expected = {"C": np.maximum(x @ y + w, 0) * 0.5 - z}
            name = f"storage_{dtype}_gemm_bias_{'x'.join(map(str, block))}"
            yield Case(name, func, {"A": a, "B": b, "bias": v, "R": r}, expected, layout=layout)
        a, b, v, r = (random(s, "bfloat16", i) for i, s in enumerate([(100, 45), (45, 75), (75,), (100, 75)]))
        x, y, w, z = (as_stored(array, dtype) for array in (a, b, v, r))
        func = kernels.gemm_bias.get_tir(100, 75, 45, 64, 64, 32, residual=True)
        expected = {"C": np.maximum(x @ y + w, 0) * 0.5 - z}
        yield Case(f"storage_{dtype}_edges", func, {"A": a, "B": b, "bias": v, "R": r}, expected, layout=layout)
        a = random((77, 130), "bfloat16", 1)
        func = kernels.copy.get_tir(77, 130, 64, 96, "bfloat16", None)
        both = {name: {"dtype": dtype} for name in "AB"}
        yield Case(f"storage_{dtype}_copy", func, {"A": a}, {"B": as_stored(a, dtype)}, EXACT, layout=both)
        a = random((77, 144), "bfloat16", 1)
        func = kernels.copy.get_tir(77, 144, 64, 96, "bfloat16", None)
        yield Case(f"storage_{dtype}_out", func, {"A": a}, {"B": f32(a)}, coarse, layout={"B": {"dtype": dtype}})
        shards = block_sharded((256, 256), (4, 2)) | {"dtype": dtype}
        a, b = random((256, 256), "bfloat16", 1), random((256, 256), "bfloat16", 2)
        func = kernels.binary.get_tir(256, 256, 32, 64)
        expected = {"C": as_stored(a, dtype) + f32(b)}
        yield Case(
            f"storage_{dtype}_shards", func, {"A": a, "B": b}, expected, coarse, layout={"A": shards, "C": shards}
        )
        func = kernels.gemm_transposed.get_tir(64, 96, 64, 64, 96, 32, True, True, "bfloat16")
        a, b = random((64, 64), "bfloat16", 1), random((96, 64), "bfloat16", 2)
        expected = {"C": as_stored(a, dtype).T @ as_stored(b, dtype).T}
        yield Case(f"storage_{dtype}_transposed", func, {"A": a, "B": b}, expected, layout=both)
    both = {name: {"dtype": "bfloat8_b"} for name in "AB"}
    for fidelity, tolerance in (("LoFi", 2**-4), ("HiFi2", TOLERANCE), ("HiFi3", TOLERANCE)):
        case = gemm(f"storage_{fidelity}", (128, 128, 96), (64, 64, 32), out_dtype="float32", layout=both)
        case.expected["C"] = as_stored(case.inputs["A"], "bfloat8_b") @ as_stored(case.inputs["B"], "bfloat8_b")
        case.schedule, case.tolerance = {"math_fidelity": fidelity}, tolerance
        yield case
    for b, tolerance in (("bfloat8_b", TOLERANCE), ("bfloat4_b", TOLERANCE)):
        # One pass (LoFi), two, three and four, as the operands' dtypes ask for.
        for a in ("bfloat8_b", "bfloat16"):
            layout = {"A": {"dtype": a}, "B": {"dtype": b}}
            case = gemm(f"engines_{a}_{b}", (128, 128, 96), (64, 64, 32), out_dtype="float32", layout=layout)
            case.expected["C"] = as_stored(case.inputs["A"], a) @ as_stored(case.inputs["B"], b)
            case.tolerance = tolerance
            yield case
    for block in ((64, 128, 32), (128, 128, 32), (32, 32, 64)):
        case = gemm(
            f"engines_bfloat16_{'x'.join(map(str, block))}", (128, 256, 128), block, accum="bfloat16", relu=True
        )
        case.tolerance = 2**-6
        yield case
    case = gemm("storage_dst_bfloat16", (128, 128, 512), (64, 64, 32))
    case.schedule, case.tolerance = {"dst_dtype": "bfloat16"}, 2**-5
    yield case
    for how in ("bfloat16", "float32"):
        case = bias(f"storage_float16_as_{how}", (128, 128, 96), (64, 64, 32), "float16", True)
        x, y, v, r = (as_stored(case.inputs[name], how) for name in ("A", "B", "bias", "R"))
        case.expected["C"] = np.maximum(x @ y + v, 0) * 0.5 - r
        case.schedule = {"float16_as": how}
        case.tolerance = 2**-8
        yield case


def grid_cases() -> Iterator[Case]:
    """Functions of several grids, with tensors in DRAM and in L1 between them."""
    a = random((96, 64), "float32", 1)
    func = grid_kernels.scaled_then_shifted.get_tir(96, 64, 32)
    yield Case("grids_device_memory", func, {"A": a, "s": np.full(1, 3, np.float32)}, {"B": a * 3 + 1})
    a, b, c = (random(shape, "bfloat16", seed) for seed, shape in enumerate([(128, 64), (64, 128), (128, 192)]))
    ab = (f32(a) @ f32(b)).astype(DTYPES["bfloat16"])
    expected = {"AB": f32(a) @ f32(b), "D": f32(ab) @ f32(c)}
    func = grid_kernels.two_products.get_tir(128, 128, 64, 192, 64)
    layouts = {
        "dram": {},
        "l1": {"AB": height_sharded((128, 128), 2)},
        "blocks": {"AB": block_sharded((128, 128), (2, 2))},
    }
    for label, layout in layouts.items():
        yield Case(f"grids_products_{label}", func, {"A": a, "B": b, "C": c}, expected, 4 * TOLERANCE, layout)
    a = random((2, 64, 3, 32), "float32", 1)
    expected = {"B": (a * np.arange(1, 4)[:, None]).sum(2)}
    yield Case("grids_storage", grid_kernels.heads_in_turn.get_tir(2, 64, 3, 32, 32), {"A": a}, expected)
    calls = []
    for rows in (77, 32, 200):
        a = np.abs(random((rows, 64), "float32", rows)) + 0.1
        calls.append(({"A": a}, {"B": a / a.sum(1, keepdims=True)}))
    yield Case("grids_dynamic", grid_kernels.sums_then_shares.get_tir(64, 32), *calls[0], more=calls[1:], out_idx=1)


FAMILIES: tuple[Callable[[], Iterator[Case]], ...] = (
    gemm_cases,
    elementwise_cases,
    sharded_cases,
    distribution_cases,
    policy_cases,
    multicast_cases,
    odd_cases,
    edge_cases,
    integer_cases,
    storage_cases,
    gallery_cases,
    control_cases,
    stored_cases,
    function_cases,
    access_cases,
    gather_cases,
    packed_cases,
    part_cases,
    small_integer_cases,
    dynamic_cases,
    grid_cases,
)


def write(case: Case, device: str, directory: Path) -> None:
    program = tt.compile(case.func, device, case.layout, case.schedule, out_idx=case.out_idx)
    directory.mkdir(parents=True, exist_ok=True)
    program.save(directory / "program")
    rounding = max(ROUNDING[tensor.dtype] for tensor in program.spec.tensors if tensor.name in case.expected)
    limits = {"tolerance": np.float64(case.tolerance), "rounding": np.float64(rounding if case.tolerance else 0)}
    for number, (inputs, outputs) in enumerate([(case.inputs, case.expected), *case.more]):
        arrays = {name: x.view(np.uint16) if x.dtype == DTYPES["bfloat16"] else x for name, x in inputs.items()}
        expected = {f"expected.{name}": x if x.dtype == DTYPES["int32"] else f32(x) for name, x in outputs.items()}
        np.savez(directory / f"tensors{number or ''}.npz", **limits, **arrays, **expected)


def main() -> int:
    parser = argparse.ArgumentParser(description="Compile the programs of the device tests.")
    parser.add_argument("out", type=Path, help="directory to write to")
    parser.add_argument("--device", action="append", help=f"device to compile for (default: {', '.join(DEVICES)})")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    arguments = parser.parse_args()
    failed = 0
    for device in arguments.device or DEVICES:
        written = 0
        for case in (case for family in FAMILIES for case in family() if arguments.only in case.name):
            try:
                write(case, device, arguments.out / device / case.name)
                written += 1
            except tt.TTError as error:
                failed += 1
                print(f"{device}/{case.name} does not compile: {error}", file=sys.stderr)
        print(f"{device}: {written} programs in {arguments.out / device}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
