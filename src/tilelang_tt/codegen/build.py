"""Code generation as a whole: a persistent function in, a program's data and its sources out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx

from .. import attrs
from ..devices import Device
from ..errors import Code, UnsupportedError
from ..formats import storage_format, tile_bytes
from ..language.plain import plain_attrs
from ..partition import WorkPartition
from ..program.spec import (
    MULTICAST_ARGS,
    ComputeConfig,
    KernelSpec,
    ProgramSpec,
    Role,
    ShardSpec,
    StorageSpec,
    TensorSpec,
)
from ..transform.grid_to_persistent_tt import SHARD_COORD_VARS, SHARD_LOOP_VAR
from .cexpr import identifier
from .cpp import metalium
from .cpp.l1 import check_l1
from .cpp.render import buffer_indices, render_kernel
from .cpp.streams import Define, Line, Node, Stream, configurations, settle_configurations, without_unused
from .from_tir.extract import extract
from .lower.context import Context, Shard, Staging
from .lower.multicast import check_lock_step, multicast_tensors
from .lower.walk import lower
from .tile_program.hazards import refuse_reading_back
from .tile_program.statements import TensorInfo, TileProgram


@dataclass(frozen=True)
class ShardPlacement:
    """How a tensor's shards lie in memory, and along which axes of the work plane ("M", "N") its matrix is cut."""

    spec: ShardSpec
    row_axis: str | None
    column_axis: str | None


def build(
    func: tirx.PrimFunc, device: Device, shards: Mapping[str, ShardPlacement], out_idx: Sequence[int]
) -> tuple[ProgramSpec, dict[str, str]]:
    """The program of a function that went through the whole pipeline, and its sources by file name.

    Raises:
        UnsupportedError: ``unsupported``, naming the construct and its line.
        CapacityError: ``l1-capacity``, when it does not fit a core's L1.
    """
    plain = plain_attrs(func)
    partition = WorkPartition.from_attrs(plain)
    program = extract(func)
    refuse_reading_back(program)
    tensors = tuple(_tensor_spec(tensor, plain, shards) for tensor in program.tensors)
    staging = {t.name: Staging(t.data_format, plain[f"{attrs.CB_PREFIX}{t.name}"]["depth"]) for t in tensors}
    multicasts = multicast_tensors(partition)
    check_lock_step(program, multicasts)
    config = _compute_config(plain)
    ctx = lower(program, staging, _resident(shards, partition), multicasts, config)
    _check_dst(ctx)
    check_l1(ctx.buffers.places(), tensors, device)
    sources = {f"{role}.cpp": _source(ctx, role, partition, program) for role in ("reader", "compute", "writer")}
    spec = ProgramSpec(
        name=program.name,
        device=device,
        tensors=tensors,
        circular_buffers=tuple(buffer.to_spec() for buffer in ctx.buffers.places()),
        kernels=(
            KernelSpec("reader", "reader.cpp", tuple(ctx.accessors["reader"])),
            KernelSpec("compute", "compute.cpp", compute=config),
            KernelSpec("writer", "writer.cpp", tuple(ctx.accessors["writer"])),
        ),
        partition=partition.to_spec(),
        semaphores=tuple(semaphore for tensor in multicasts.values() for semaphore in tensor.semaphores()),
        out_idx=tuple(out_idx),
        metalium_api=metalium.VERSION,
    )
    return spec, sources


def _compute_config(plain: Mapping[str, Any]) -> ComputeConfig:
    chosen = plain[attrs.COMPUTE]
    return ComputeConfig(chosen[attrs.MATH_FIDELITY], chosen[attrs.DST_TYPE] == "float32")


def _check_dst(ctx: Context) -> None:
    """Refuse a 16-bit DST where values go through it that have more bits.

    Raises:
        UnsupportedError: ``unsupported``.
    """
    wide = next((buffer for buffer in ctx.buffers if buffer.data_format in ("Float32", "Int32", "Float16")), None)
    if not ctx.config.fp32_dest_acc and wide is not None:
        raise UnsupportedError(
            Code.UNSUPPORTED,
            f"DST cannot hold bfloat16: circular buffer {wide.name} holds {wide.data_format}",
            subject=attrs.DST_TYPE,
            found=wide.purpose,
            expected="a kernel that keeps no float32, float16 or int32 tiles in L1",
            hint="store them as bfloat16, or leave dst_dtype at float32",
        )


def _tensor_spec(tensor: TensorInfo, plain: Mapping[str, Any], shards: Mapping[str, ShardPlacement]) -> TensorSpec:
    layout = plain[f"{attrs.BUFFER_PREFIX}{tensor.name}"]
    stored = plain.get(f"{attrs.STORAGE_PREFIX}{tensor.name}")
    return TensorSpec(
        name=tensor.name,
        shape=tensor.shape,
        dtype=plain.get(f"{attrs.HOST_PREFIX}{tensor.name}", tensor.dtype),
        data_format=storage_format(layout["dtype"]),
        memory=layout["memory"],
        direction=tensor.direction,
        shard=shards[tensor.name].spec if tensor.name in shards else None,
        storage=None if stored is None else StorageSpec(**{key: tuple(value) for key, value in stored.items()}),
    )


def _resident(shards: Mapping[str, ShardPlacement], partition: WorkPartition) -> dict[str, Shard]:
    """The tensors that every core uses in its own L1, with the origin of the shard that it works on."""
    several = partition.several_shards is not None
    names = SHARD_COORD_VARS if several else (attrs.SHARD_COORD_Y, attrs.SHARD_COORD_X)
    coords: dict[str, str] = dict(zip("MN", names, strict=True))
    resident: dict[str, Shard] = {}
    for name in partition.resident_buffers:
        placement = shards[name]
        rows, cols = placement.spec.shard_tiles
        row0, col0 = (
            "0" if axis is None else f"{coords[axis]} * {size}"
            for axis, size in ((placement.row_axis, rows), (placement.column_axis, cols))
        )
        number = SHARD_LOOP_VAR if several else "0"
        resident[name] = Shard(name, rows, cols, row0, col0, placement.spec.shards_per_core, number)
    return resident


def _source(ctx: Context, role: Role, partition: WorkPartition, program: TileProgram) -> str:
    stream: Stream = getattr(ctx, role)
    nodes = settle_configurations(stream.nodes)
    if role == "compute":
        nodes = [*_startup(ctx, stream.nodes), *nodes]
    nodes = without_unused([*_declarations(ctx, role, partition, program), *nodes])
    return render_kernel(_headers(ctx, role), _comment(role, program, partition), metalium.HELPERS, nodes)


def _declarations(ctx: Context, role: Role, partition: WorkPartition, program: TileProgram) -> list[Node]:
    nodes: list[Node] = list(buffer_indices(list(ctx.buffers)))
    for index, name in enumerate(partition.runtime_arg_names):
        nodes.append(Define(name, f"get_arg_val<uint32_t>({index})"))
    for place, size in enumerate(program.sizes, len(program.tensors)):
        nodes.append(Define(size, f"get_common_arg_val<uint32_t>({place})"))
    for tensor in ctx.multicasts.values():
        nodes += tensor.definitions(role, len(partition.runtime_arg_names))
    if role == "compute":
        return nodes
    order = [tensor.name for tensor in program.tensors]
    offset = "0"
    for tensor in ctx.accessors[role]:
        name = identifier(tensor)
        page = tile_bytes(ctx.staging[tensor].data_format)
        address = f"get_common_arg_val<uint32_t>({order.index(tensor)})"
        nodes.append(Define(f"{name}_args", f"TensorAccessorArgs<{offset}>()", "constexpr auto"))
        nodes.append(Define(f"tensor_{name}", f"TensorAccessor({name}_args, {address}, {page})", "const auto"))
        offset = f"{name}_args.next_compile_time_args_offset()"
    return nodes


def _startup(ctx: Context, nodes: list[Node]) -> list[Node]:
    """The one-time configuration of the engines, for the first operation that they do."""
    found = configurations(nodes)
    if not found:
        return []
    target = next(node.operands[0] for node in found if node.unit == "pack")
    math = next((node for node in found if node.unit == "math"), None)
    operands = [target] if math is None else list(math.operands)
    order = "<SrcOrder::Reverse>" if math is not None and math.mode.startswith("matmul ") else ""
    return [Line(f"compute_kernel_hw_startup{order}({', '.join([*operands, target])});")]


def _headers(ctx: Context, role: Role) -> list[str]:
    if role != "compute":
        return list(metalium.DATAFLOW_HEADERS)
    always = (metalium.PACK_HEADER, metalium.RECONFIG_HEADER)
    return [*metalium.COMPUTE_HEADERS, *sorted({*always, *ctx.headers})]


_DUTY = {
    "reader": "brings blocks of the tensors it reads into circular buffers",
    "compute": "computes on blocks in circular buffers",
    "writer": "takes finished blocks from circular buffers to the tensors it writes",
}


def _comment(role: Role, program: TileProgram, partition: WorkPartition) -> list[str]:
    mt, nt = partition.grid_tiles
    words = ", ".join(MULTICAST_ARGS)
    multicast = [f"and for its part in the multicast of {name}: {words}" for name in partition.multicast]
    made = f"{mt} x {nt} work tiles on {len(partition.core_ranges)} cores"
    if program.sizes:
        made = f"made at launch from {', '.join(program.sizes)}"
    return [
        f"{program.name}, {role} kernel: {_DUTY[role]}.",
        f"Work partition: {partition.mode}, {made}.",
        f"Runtime arguments of a core: {'; '.join([', '.join(partition.runtime_arg_names), *multicast])}.",
    ]
