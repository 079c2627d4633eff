"""VerifyTTPartition: the partition's invariants, checked on any annotated function before or after
GridToPersistentTT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from math import prod
from typing import Any

from tilelang import tvm
from tvm import arith, tirx

from .. import attrs
from ..devices import Device
from ..errors import CapacityError, Code, PartitionError, TTError
from ..formats import storage_format, tile_bytes
from ..language.kernel import BLOCK_ROLES, KernelInfo, LaunchGrid, read_block, read_kernel
from ..language.nodes import loop_over, nodes
from ..language.plain import plain_attrs
from ..language.symbols import symbols_of
from ..layout import shard_holders, stored_shards
from ..partition import (
    UserSchedule,
    WorkGrid,
    WorkPartition,
    parse_user_schedule,
    repartition,
    verify_buffers,
    verify_schedule,
)
from ..partition.policies import AUTO_POLICY
from ..sizes import from_plain
from .common import device_of, dynamic_attrs, function_pass, grid_exprs, layout_of, placed_buffer
from .grid_to_persistent_tt import (
    LOOP_VAR,
    SHARD_LOOP_VAR,
    index_recovery,
    is_one,
    shard_loop_extent,
    shard_recovery,
)


def VerifyTTPartition(device: str | Device | None = None) -> tvm.transform.Pass:
    """The pass. Changes nothing.

    Raises, when run:
        PartitionError: ``partition-invalid`` where the attributes are no partition of the launch grid on the device,
            ``persistent-invalid`` where the persistent loop does not visit exactly the partition's work tiles,
            ``metadata-missing`` where attributes are absent.
        CapacityError: ``l1-capacity``, when a core's shards alone are more than its L1.
    """

    def verify(func: tirx.PrimFunc) -> tirx.PrimFunc:
        plain = plain_attrs(func)
        target = device_of(plain, device)
        partition = WorkPartition.from_attrs(plain)
        if loop_over(func, LOOP_VAR) is None:
            kernel = _verify_before(func, partition, target, plain)
        else:
            partition.verify(target, kt=_reduction_steps(plain))
            kernel = verify_persistent(func, partition, plain)
        _verify_inputs(kernel, partition, target, plain)
        _verify_l1(kernel, target, plain)
        return func

    return function_pass("VerifyTTPartition", verify)


def _verify_before(
    func: tirx.PrimFunc, partition: WorkPartition, device: Device, plain: Mapping[str, Any]
) -> KernelInfo:
    kernel = read_kernel(func)
    launched = (kernel.grid.gy * kernel.grid.gz, kernel.grid.gx)
    if partition.grid_tiles != launched:
        raise PartitionError(
            Code.PARTITION_INVALID,
            f"{attrs.GRID_TILES} is not the launch grid",
            subject=attrs.GRID_TILES,
            found=list(partition.grid_tiles),
            expected=list(launched),
        )
    partition.verify(device, kt=kernel.kt)
    _verify_dynamic(kernel, plain)
    verify_other_sizes(kernel, partition, device, parse_user_schedule(plain.get(attrs.USER_SCHEDULE)))
    return kernel


def _verify_inputs(kernel: KernelInfo, partition: WorkPartition, device: Device, plain: Mapping[str, Any]) -> None:
    """The partition must be one that the user's schedule and the tensors' layouts ask for."""
    schedule = parse_user_schedule(plain.get(attrs.USER_SCHEDULE))
    if attrs.USER_SCHEDULE in plain:
        verify_schedule(partition, device, schedule)
    if all(f"{attrs.BUFFER_PREFIX}{tensor.name}" in plain for tensor in kernel.tensors):
        buffers = [placed_buffer(plain, kernel, tensor) for tensor in kernel.tensors]
        verify_buffers(partition, device, buffers, chosen_freely=schedule.policy == AUTO_POLICY)


def _reduction_steps(plain: Mapping[str, Any]) -> int:
    key = attrs.REDUCTION_STEPS
    if key not in plain:
        raise PartitionError(
            Code.METADATA_MISSING, f"the function has no {key}", subject=key, hint="run GridToPersistentTT first"
        )
    return plain[key]


def _verify_dynamic(kernel: KernelInfo, plain: Mapping[str, Any]) -> None:
    expected = dynamic_attrs(kernel).get(attrs.DYNAMIC)
    if plain.get(attrs.DYNAMIC) != expected:
        raise PartitionError(
            Code.PARTITION_INVALID,
            f"{attrs.DYNAMIC} is not what the kernel's sizes are",
            subject=attrs.DYNAMIC,
            found=plain.get(attrs.DYNAMIC),
            expected=expected,
        )


def verify_other_sizes(kernel: KernelInfo, partition: WorkPartition, device: Device, schedule: UserSchedule) -> None:
    """Prove that the work is shared out rightly for other sizes too: the least, and some around the representative one.

    Raises:
        PartitionError: ``partition-invalid`` naming the attribute at fault.
    """
    for scale in (Fraction(0), Fraction(1, 2), Fraction(2)):
        sizes = {name: max(1, int(size * scale) + 1) for name, size in kernel.symbols.sizes.items()}
        symbols = replace(kernel.symbols, sizes=sizes)
        extents = [symbols.value(kernel.grid.expr(tag)) for tag in BLOCK_ROLES]
        kt = symbols.value(kernel.kt_expr)
        if not sizes or kt is None or any(extent is None or extent < 1 for extent in extents):
            continue
        gx, gy, gz = (extent for extent in extents if extent is not None)
        try:
            other = repartition(partition, WorkGrid(gx, gy, gz), device, kt=kt, schedule=schedule)
        except TTError as error:
            # Shards in L1 hold so much and no more: a launch with more is refused.
            if error.code not in (Code.SHARD_GRID_COVERAGE, Code.NUMBER_TOO_LARGE):
                raise
            continue
        other.verify(device, kt=kt)


def verify_persistent(func: tirx.PrimFunc, partition: WorkPartition, plain: Mapping[str, Any]) -> KernelInfo:
    """Prove that ``func`` is well-formed and that its loop visits, over all cores, exactly the partition's work tiles.

    Returns what the kernel does in one work tile.

    Raises:
        PartitionError: ``persistent-invalid``, with what is wrong.
    """
    tirx.analysis.verify_well_formed(func)
    scalars = _trailing_scalars(func, partition.runtime_arg_names)
    if _has_block_loops(func):
        raise _invalid("a loop over blockIdx is left", found="blockIdx", expected="none")
    loop, visited = loop_over(func, LOOP_VAR), loop_over(func, SHARD_LOOP_VAR)
    assert loop is not None
    own: Mapping[str, tirx.PrimExpr] = scalars
    inlined: dict[tirx.Var, tirx.PrimExpr] = {}
    if attrs.SHARD_STEP in scalars:
        if visited is None:
            raise _invalid("there is no loop over a core's shards", found="none", expected=SHARD_LOOP_VAR)
        _verify_range(visited, shard_loop_extent(scalars), inlined, "the loop over a core's shards")
        own = shard_recovery(scalars, visited.loop_var)
        inlined = _inlined(visited.body)
    elif visited is not None:
        raise _invalid("there is a loop over a core's shards, which are one", found=SHARD_LOOP_VAR, expected="none")
    _verify_range(loop, own[attrs.TILE_COUNT], inlined, "the persistent loop")
    grid = _verify_recovery(func, loop, own, inlined, partition, plain)
    return read_block(func, loop.body, grid)


def _verify_range(loop: tirx.For, extent: tirx.PrimExpr, inlined: Mapping[Any, tirx.PrimExpr], name: str) -> None:
    found = tirx.stmt_functor.substitute(loop.extent, inlined)
    starts_at_zero = isinstance(loop.min, tirx.IntImm) and int(loop.min) == 0
    if not starts_at_zero or not _same(found, extent):
        raise _invalid(f"{name} has another range", found=f"{loop.min} to {loop.extent}", expected=f"0 to {extent}")


def _same(found: tirx.PrimExpr, expected: tirx.PrimExpr) -> bool:
    return bool(tvm.ir.structural_equal(found, expected) or arith.Analyzer().can_prove_equal(found, expected))


def _inlined(body: Any, outer: Mapping[Any, tirx.PrimExpr] | None = None) -> dict[tirx.Var, tirx.PrimExpr]:
    """The variables that a loop's body binds first, by what they are, none of it in terms of the others."""
    values: dict[tirx.Var, tirx.PrimExpr] = dict(outer or {})
    for bind in _leading_binds(body):
        values[bind.var] = tirx.stmt_functor.substitute(bind.value, values)
    return values


def _verify_recovery(
    func: tirx.PrimFunc,
    loop: tirx.For,
    scalars: Mapping[str, tirx.PrimExpr],
    outer: Mapping[Any, tirx.PrimExpr],
    partition: WorkPartition,
    plain: Mapping[str, Any],
) -> LaunchGrid:
    """The block indices must be the inverse of the numbering of work tiles."""
    names: Mapping[str, str] = plain.get(attrs.BLOCK_VARS, {})
    keys = dict(zip(BLOCK_ROLES, (attrs.GRID_X, attrs.GRID_Y, attrs.GRID_Z), strict=True))
    extents = {tag: plain[key] for tag, key in keys.items() if key in plain}
    gy, gz, gx = (extents.get(f"blockIdx.{axis}", 1) for axis in "yzx")
    if (gy * gz, gx) != partition.grid_tiles:
        raise _invalid(
            "the launch grid is not the partition's", found=[gy * gz, gx], expected=list(partition.grid_tiles)
        )
    binds = {str(bind.var.name): bind for bind in _leading_binds(loop.body)}
    variables = {tag: binds[name].var for tag, name in names.items() if name in binds}
    grid = LaunchGrid(extents, variables, grid_exprs(func, plain))
    _verify_sizes(func, grid, partition, plain)
    missing = [tag for tag, expr in grid.exprs.items() if not is_one(expr) and tag not in grid.variables]
    if missing:
        raise _invalid("a block index is never recovered", found="no definition", expected=", ".join(missing))
    inlined = _inlined(loop.body, outer)
    for tag, expected in index_recovery(grid, scalars, loop.loop_var):
        found = inlined[binds[names[tag]].var]
        if not _same(found, expected):
            raise _invalid(f"{tag} is not recovered from the work tile's number", found=found, expected=expected)
    return grid


def _verify_sizes(func: tirx.PrimFunc, grid: LaunchGrid, partition: WorkPartition, plain: Mapping[str, Any]) -> None:
    """What is said of symbolic sizes must give the launch grid and the reduction steps that the partition is for."""
    symbols = symbols_of(func)
    described = plain.get(attrs.DYNAMIC)
    if (described is None) != (not symbols.variables):
        raise _invalid(f"{attrs.DYNAMIC} is not for this function", found=described, expected=list(symbols.variables))
    if described is None:
        return
    sizes = [[name, size] for name, size in symbols.sizes.items()]
    if described["sizes"] != sizes:
        raise _invalid(f"{attrs.DYNAMIC} has other sizes than the schedule", found=described["sizes"], expected=sizes)
    for tag, expr in grid.exprs.items():
        if symbols.value(expr) != grid.extents.get(tag, 1):
            raise _invalid(f"{attrs.DYNAMIC} has another {tag}", found=expr, expected=grid.extents.get(tag, 1))
    steps, kt = symbols.value(symbols.expr(from_plain(described["Kt"]))), partition.runtime_constants["Kt"]
    if steps != kt:
        raise _invalid(f"{attrs.DYNAMIC} has another Kt", found=steps, expected=kt)


def _trailing_scalars(func: tirx.PrimFunc, names: Sequence[str]) -> dict[str, tirx.Var]:
    tail = list(func.params)[len(func.params) - len(names) :]
    found = [str(param.name) for param in tail]
    if found != list(names):
        raise _invalid("the parameters do not end with the runtime arguments", found=found, expected=list(names))
    return dict(zip(names, tail, strict=True))


def _has_block_loops(func: tirx.PrimFunc) -> bool:
    return any(loop.thread_binding is not None for loop in nodes(func.body, tirx.For))


def _leading_binds(body: Any) -> list[tirx.Bind]:
    statements = list(body.seq) if isinstance(body, tirx.SeqStmt) else [body]
    return [statement for statement in statements if isinstance(statement, tirx.Bind)]


def _verify_l1(kernel: KernelInfo, device: Device, plain: Mapping[str, Any]) -> None:
    sizes: dict[str, int] = {}
    for tensor in kernel.tensors:
        layout = layout_of(plain, tensor) if f"{attrs.BUFFER_PREFIX}{tensor.name}" in plain else None
        if layout is not None and layout.l1_sharded and layout.nd_shard is not None:
            stored = stored_shards(layout.nd_shard, tensor.shape)
            holders = shard_holders(stored.grid, layout.nd_shard, layout.memory, device, subject=tensor.name)
            pages = prod(stored.shard_tiles) * holders.per_core
            sizes[tensor.name] = pages * tile_bytes(storage_format(layout.dtype))
    if sum(sizes.values()) > device.usable_l1_bytes:
        raise CapacityError(
            Code.L1_CAPACITY,
            "the shards of one core are more than its L1",
            subject=", ".join(sizes),
            found=", ".join(f"{name}: {size:,} bytes" for name, size in sizes.items()),
            expected=f"at most {device.usable_l1_bytes:,} bytes on {device.name}",
            hint="more shards, or DRAM",
        )


def _invalid(problem: str, *, found: object, expected: object) -> PartitionError:
    return PartitionError(Code.PERSISTENT_INVALID, problem, subject="persistent loop", found=found, expected=expected)
