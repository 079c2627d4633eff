"""VerifyTTPartition: the partition's invariants, checked on any annotated function before or after
GridToPersistentTT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tilelang import tvm
from tvm import arith, tirx

from .. import attrs
from ..devices import Device
from ..errors import CapacityError, Code, PartitionError
from ..formats import ELEMENT_BYTES, data_format
from ..language.kernel import LaunchGrid, read_kernel
from ..language.plain import plain_attrs
from ..partition import WorkPartition, parse_user_schedule, verify_buffers, verify_schedule
from ..partition.policies import AUTO_POLICY
from .common import device_of, function_pass, placed_buffer
from .grid_to_persistent_tt import LOOP_VAR, index_recovery


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
        if _tile_loop(func) is None:
            _verify_before(func, partition, target, plain)
        else:
            partition.verify(target)
            verify_persistent(func, partition, plain)
        _verify_l1(plain, target)
        return func

    return function_pass("VerifyTTPartition", verify)


def _verify_before(func: tirx.PrimFunc, partition: WorkPartition, device: Device, plain: Mapping[str, Any]) -> None:
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
    schedule = parse_user_schedule(plain.get(attrs.USER_SCHEDULE))
    if attrs.USER_SCHEDULE in plain:
        verify_schedule(partition, device, schedule)
    if all(f"{attrs.BUFFER_PREFIX}{tensor.name}" in plain for tensor in kernel.tensors):
        buffers = [placed_buffer(plain, kernel, tensor) for tensor in kernel.tensors]
        verify_buffers(partition, device, buffers, chosen_freely=schedule.policy == AUTO_POLICY)


def verify_persistent(func: tirx.PrimFunc, partition: WorkPartition, plain: Mapping[str, Any]) -> None:
    """Prove that ``func`` is well-formed and that its loop visits, over all cores, exactly the partition's work tiles.

    Raises:
        PartitionError: ``persistent-invalid``, with what is wrong.
    """
    tirx.analysis.verify_well_formed(func)
    scalars = _trailing_scalars(func, partition.runtime_arg_names)
    if _has_block_loops(func):
        raise _invalid("a loop over blockIdx is left", found="blockIdx", expected="none")
    loop = _tile_loop(func)
    assert loop is not None
    count = scalars[attrs.TILE_COUNT]
    starts_at_zero = isinstance(loop.min, tirx.IntImm) and int(loop.min) == 0
    if not starts_at_zero or not loop.extent.same_as(count):
        found = f"{loop.min} to {loop.extent}"
        raise _invalid("the persistent loop has another range", found=found, expected=f"0 to {attrs.TILE_COUNT}")
    _verify_recovery(loop, scalars, partition, plain)


def _verify_recovery(
    loop: tirx.For, scalars: Mapping[str, tirx.Var], partition: WorkPartition, plain: Mapping[str, Any]
) -> None:
    """The block indices must be the inverse of the numbering of work tiles."""
    names: Mapping[str, str] = plain.get(attrs.BLOCK_VARS, {})
    extents = {
        tag: plain[key]
        for tag, key in zip(
            ("blockIdx.x", "blockIdx.y", "blockIdx.z"), (attrs.GRID_X, attrs.GRID_Y, attrs.GRID_Z), strict=True
        )
        if key in plain
    }
    gy, gz, gx = (extents.get(f"blockIdx.{axis}", 1) for axis in "yzx")
    if (gy * gz, gx) != partition.grid_tiles:
        raise _invalid(
            "the launch grid is not the partition's", found=[gy * gz, gx], expected=list(partition.grid_tiles)
        )
    binds = {str(bind.var.name): bind for bind in _leading_binds(loop.body)}
    grid = LaunchGrid(extents, {tag: binds[name].var for tag, name in names.items() if name in binds})
    missing = [tag for tag, extent in extents.items() if extent > 1 and tag not in grid.variables]
    if missing:
        raise _invalid("a block index is never recovered", found="no definition", expected=", ".join(missing))
    analyzer = arith.Analyzer()
    inlined: dict[tirx.Var, tirx.PrimExpr] = {}
    for bind in binds.values():
        inlined[bind.var] = tirx.stmt_functor.substitute(bind.value, inlined)
    for tag, expected in index_recovery(grid, scalars, loop.loop_var):
        found = inlined[binds[names[tag]].var]
        if not (tvm.ir.structural_equal(found, expected) or analyzer.can_prove_equal(found, expected)):
            raise _invalid(f"{tag} is not recovered from the work tile's number", found=found, expected=expected)


def _trailing_scalars(func: tirx.PrimFunc, names: Sequence[str]) -> dict[str, tirx.Var]:
    tail = list(func.params)[len(func.params) - len(names) :]
    found = [str(param.name) for param in tail]
    if found != list(names):
        raise _invalid("the parameters do not end with the runtime arguments", found=found, expected=list(names))
    return dict(zip(names, tail, strict=True))


def _tile_loop(func: tirx.PrimFunc) -> tirx.For | None:
    found: list[tirx.For] = []

    def visit(node: Any) -> None:
        if isinstance(node, tirx.For) and str(node.loop_var.name) == LOOP_VAR:
            found.append(node)

    tirx.stmt_functor.post_order_visit(func.body, visit)
    return found[0] if found else None


def _has_block_loops(func: tirx.PrimFunc) -> bool:
    found: list[tirx.For] = []

    def visit(node: Any) -> None:
        if isinstance(node, tirx.For) and node.thread_binding is not None:
            found.append(node)

    tirx.stmt_functor.post_order_visit(func.body, visit)
    return bool(found)


def _leading_binds(body: Any) -> list[tirx.Bind]:
    statements = list(body.seq) if isinstance(body, tirx.SeqStmt) else [body]
    return [statement for statement in statements if isinstance(statement, tirx.Bind)]


def _verify_l1(plain: Mapping[str, Any], device: Device) -> None:
    sizes: dict[str, int] = {}
    for key, value in plain.items():
        if key.startswith(attrs.BUFFER_PREFIX) and value["memory"] == "L1" and value["layout"] == "sharded":
            elements = 1
            for size in value["nd_shard"]["shard_shape_elems"]:
                elements *= size
            sizes[key.removeprefix(attrs.BUFFER_PREFIX)] = elements * ELEMENT_BYTES[data_format(value["dtype"])]
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
