"""Small hand-written programs for the emulator's tests, in the style of generated ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ml_dtypes
import numpy as np

from tilelang_tt.devices import Device, load_device
from tilelang_tt.formats import tile_bytes
from tilelang_tt.program.spec import (
    CircularBufferSpec,
    ComputeConfig,
    KernelSpec,
    PartitionSpec,
    ProgramSpec,
    ShardSpec,
    TensorSpec,
)
from tilelang_tt.runtime.tiles import FORMAT_DTYPES

BF16 = np.dtype(ml_dtypes.bfloat16)
FORMATS = {dtype.name: name for name, dtype in FORMAT_DTYPES.items()}

_HEADERS = """
common compute_kernel_hw_startup matmul tile_move_copy pack reconfig_data_format eltwise_binary bcast transpose reduce
eltwise_binary_sfpu binary_max_min compute_kernel_api eltwise_unary/relu eltwise_unary/exp eltwise_unary/sqrt
eltwise_unary/recip eltwise_unary/gelu eltwise_unary/negative eltwise_unary/fill eltwise_unary/typecast
eltwise_unary/binop_with_scalar eltwise_unary/where eltwise_unary/comp
"""
COMPUTE_HEADERS = "#include <cstdint>\n" + "".join(f'#include "api/compute/{name}.h"\n' for name in _HEADERS.split())

# Reads the same pages [start, start + count) of every input i into circular buffer i.
READER = """#include "api/dataflow/dataflow_api.h"
void kernel_main() {
    const uint32_t start = get_arg_val<uint32_t>(0), count = get_arg_val<uint32_t>(1);
%s    for (uint32_t page = start; page < start + count; ++page) {
%s        noc_async_read_barrier();
%s    }
}
"""
WRITER = """#include "api/dataflow/dataflow_api.h"
void kernel_main() {
    const uint32_t start = get_arg_val<uint32_t>(0), count = get_arg_val<uint32_t>(1);
    constexpr auto out_args = TensorAccessorArgs<0>();
    const auto out = TensorAccessor(out_args, get_common_arg_val<uint32_t>(INPUTS), get_tile_size(16));
    for (uint32_t page = start; page < start + count; ++page) {
        cb_wait_front(16, 1);
        noc_async_write_page(page, out, get_read_ptr(16));
        noc_async_writes_flushed();
        cb_pop_front(16, 1);
    }
    noc_async_write_barrier();
}
"""


def reader(inputs: int) -> str:
    """A reader that streams all inputs page by page."""
    opens, reads, pushes, offset = "", "", "", "0"
    for i in range(inputs):
        opens += f"    constexpr auto args{i} = TensorAccessorArgs<{offset}>();\n"
        opens += (
            f"    const auto in{i} = TensorAccessor(args{i}, get_common_arg_val<uint32_t>({i}), get_tile_size({i}));\n"
        )
        offset = f"args{i}.next_compile_time_args_offset()"
        reads += f"        cb_reserve_back({i}, 1);\n        noc_async_read_page(page, in{i}, get_write_ptr({i}));\n"
        pushes += f"        cb_push_back({i}, 1);\n"
    return READER % (opens, reads, pushes)


def compute(startup: str, body: str, inputs: int = 1, once: str = "") -> str:
    """A compute kernel that makes one output page of one page of each input; ``body`` leaves it in DST tile 0."""
    waits = "".join(f"cb_wait_front({i}, 1); " for i in range(inputs))
    pops = "".join(f"cb_pop_front({i}, 1); " for i in range(inputs))
    return f"""{COMPUTE_HEADERS}void kernel_main() {{
    const uint32_t count = get_arg_val<uint32_t>(1);
    {startup}
    {once}
    for (uint32_t i = 0; i < count; ++i) {{
        {waits}
        tile_regs_acquire();
        {body}
        tile_regs_commit();
        {pops}
        cb_reserve_back(16, 1);
        tile_regs_wait();
        pack_tile(0, 16);
        tile_regs_release();
        cb_push_back(16, 1);
    }}
}}
"""


COPY = compute("compute_kernel_hw_startup(0, 16);", "copy_tile(0, 0, 0);", once="copy_init(0);")


def tensor(
    name: str,
    shape: Sequence[int],
    dtype: np.dtype,
    direction: str,
    shard: ShardSpec | None = None,
    memory: str = "DRAM",
) -> TensorSpec:
    """A tensor's specification."""
    dtype = np.dtype(dtype)
    return TensorSpec(name, tuple(shape), dtype.name, FORMATS[dtype.name], memory, direction, shard)


def buffer(index: int, name: str, data_format: str, pages: int, **options: object) -> CircularBufferSpec:
    """A circular buffer's specification."""
    return CircularBufferSpec(index, name, data_format, tile_bytes(data_format), pages, **options)


def partition(cores: Sequence[tuple[int, int]], rows: Sequence[tuple[int, int]], **constants: int) -> PartitionSpec:
    """A partition in global mode: ``rows`` are each core's start and count."""
    constants = {"Mt": 1, "Kt": 1, "Nt": sum(count for _, count in rows), **constants}
    return PartitionSpec(
        "global",
        (constants["Mt"], constants["Nt"]),
        (1, 1),
        (constants["Mt"], constants["Nt"]),
        ("tt_start_tile", "tt_tile_count", "Mt", "Kt", "Nt"),
        constants,
        tuple((x, y, x, y, *row) for (x, y), row in zip(cores, rows, strict=True)),
        tuple(rows),
    )


def spread(total: int, cores: int) -> list[tuple[int, int]]:
    """Start and count of ``total`` tiles spread over ``cores``."""
    rows, start = [], 0
    for i in range(cores):
        count = total // cores + (i < total % cores)
        rows.append((start, count))
        start += count
    return rows


def stream_program(
    inputs: Sequence[TensorSpec],
    output: TensorSpec,
    compute_source: str,
    *,
    cores: int = 1,
    config: ComputeConfig | None = None,
    device: Device | str = "wormhole_n150",
    pages: int = 2,
    extra: Sequence[CircularBufferSpec] = (),
    to_dest: bool = False,
    replace: Mapping[str, str] | None = None,
) -> tuple[ProgramSpec, dict[str, str]]:
    """A program that streams pages: inputs -> compute -> output. ``replace`` swaps whole sources, by role."""
    device = load_device(device) if isinstance(device, str) else device
    total = 1
    for size in output.shape:
        total *= size
    total = max(1, total // 1024)
    cbs = [buffer(i, f"in{i}", spec.data_format, pages, unpack_to_dest_fp32=to_dest) for i, spec in enumerate(inputs)]
    cbs.append(buffer(16, "out", output.data_format, pages))
    sources = {
        "reader.cpp": reader(len(inputs)),
        "compute.cpp": compute_source,
        "writer.cpp": WRITER.replace("INPUTS", str(len(inputs))),
    }
    for role, source in (replace or {}).items():
        sources[f"{role}.cpp"] = source
    spec = ProgramSpec(
        "stream",
        device,
        (*inputs, output),
        (*cbs, *extra),
        (
            KernelSpec("reader", "reader.cpp", tuple(item.name for item in inputs)),
            KernelSpec("compute", "compute.cpp", compute=config or ComputeConfig()),
            KernelSpec("writer", "writer.cpp", (output.name,)),
        ),
        partition(device.cores[:cores], spread(total, cores)),
    )
    return spec, sources


def bf16(array: np.ndarray) -> np.ndarray:
    """Rounded to bfloat16."""
    return np.asarray(array, np.float32).astype(BF16)


def pack_bf16(array: np.ndarray) -> np.ndarray:
    """float32 to bfloat16 as the packer rounds: half away from zero."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return ((bits + 0x8000) & 0xFFFF0000).astype(np.uint32).view(np.float32).astype(BF16)
