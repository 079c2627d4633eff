"""``tilelang_tt.compile``: a TileLang function in, a program out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from tilelang import tvm
from tvm import tirx

from . import attrs
from .codegen.build import ShardPlacement, build
from .codegen.cpp.l1 import check_l1_of_all
from .devices import Device
from .errors import Code, UnsupportedError
from .language.annotate import annotate_tt_layout, annotate_tt_schedule
from .language.early_binds import without_early_binds
from .language.im2col import without_im2col
from .language.kernel import TensorAccess, kernel_name, read_kernel, tensor_params
from .language.plain import plain_attrs
from .language.read_through import integers_read_through
from .language.region_sizes import with_constant_sizes
from .language.source import location_of
from .language.symbols import symbols_of
from .layout.shards import check_alignment
from .partition import WorkPartition, launch_cores, parse_user_schedule
from .program import Program, ProgramSequence
from .program.sequence import sequence_of
from .program.spec import DynamicSpec, ShardSpec, WorkloadSpec
from .sizes import Size, from_plain, names_in
from .transform.common import device_of, layout_of, projection_of
from .transform.flat_views import with_views_as_tensors
from .transform.infer_tt_storage import InferTTStorage
from .transform.lower_atomic_adds_tt import LowerAtomicAddsTT
from .transform.pipeline import TTPipeline
from .transform.scalar_parameters import numbers_as_tensors
from .transform.split_grids_tt import SplitGridsTT, split_grids
from .transform.stand_in_dtypes import with_stand_in_dtypes
from .transform.workload import workload_of

OUT_IDX_ATTR = "tilelang_out_idx"
"""Where TileLang notes the outputs that a kernel declares with T.empty."""


def compile(
    func: tirx.PrimFunc,
    device: str | Device | None = None,
    layout: Mapping[str, Any] | None = None,
    schedule: Mapping[str, Any] | None = None,
    *,
    out_idx: int | Sequence[int] | None = None,
) -> Program | ProgramSequence:
    """Compile ``func`` for ``device``.

    Args:
        func: a PrimFunc, or what ``@tilelang.jit(...).get_tir(...)`` returns. A parameter that is a number becomes a
            tensor of one element; calls take it as a number.
        device: a product's name (``devices.device_names()``), the path of a device file, or a Device; default what the
            function's ``tt.device`` says, else a Wormhole n150.
        layout: where tensors live, as :func:`annotate_tt_layout` takes it; for a tensor's layout, a ttnn tensor that
            lives where the kernel's will.
        schedule: how to schedule, as :func:`annotate_tt_schedule` takes it.
        out_idx: the parameters that a call returns instead of taking, as TileLang's jit has it; default what ``func``
            declares.

    Returns:
        The program, ready to be called, saved, or asked for its partition and kernels. Of a function that launches
        several grids, or allocates device memory, a sequence with the program of each grid, to be called alike.

    Raises:
        TTError: for everything that cannot be honoured exactly; ``func`` is left as it was.
    """
    if not isinstance(func, tirx.PrimFunc):
        raise UnsupportedError(
            Code.UNSUPPORTED,
            "this is no TIR function",
            subject="func",
            found=type(func).__name__,
            expected="a PrimFunc",
            hint="pass kernel.get_tir(...) of a @tilelang.jit kernel" if hasattr(func, "get_tir") else None,
        )
    func = numbers_as_tensors(without_early_binds(without_im2col(with_constant_sizes(func))))
    func = with_stand_in_dtypes(integers_read_through(func))
    chip = device_of(plain_attrs(func), device)
    outputs = _outputs(func, out_idx)
    if layout:
        func = annotate_tt_layout(func, _dictionaries(func, layout))
    if schedule:
        func = annotate_tt_schedule(func, schedule)
    func = with_views_as_tensors(func)
    func = func.with_attr(attrs.DEVICE, chip.to_dict())
    split = tvm.transform.Sequential([SplitGridsTT(), LowerAtomicAddsTT(), InferTTStorage()])
    grids = _functions(split(tvm.IRModule({"main": func})))
    lowered = _functions(TTPipeline()(tvm.IRModule({kernel_name(grid): grid for grid in grids})))
    if attrs.GRID_OF not in plain_attrs(grids[0]):
        return _program(grids[0], lowered[0], chip, outputs)
    _refuse_numbers(func)
    programs = [_program(grid, done, chip) for grid, done in zip(grids, lowered, strict=True)]
    parameters = [str(buffer.name) for buffer in tensor_params(func)]
    try:
        made = sequence_of(kernel_name(func), programs, parameters, outputs, tuple(symbols_of(func).variables))
    except UnsupportedError as error:
        raise error.at(location_of(func)) from None
    for program in programs:
        check_l1_of_all(program.spec, made.spec.all_tensors)
    return made


def _refuse_numbers(func: tirx.PrimFunc) -> None:
    """Refuse numbers in one of several launch grids."""
    numbers = plain_attrs(func).get(attrs.NUMBERS, ())
    if numbers:
        raise UnsupportedError(
            Code.UNSUPPORTED,
            f"parameter {numbers[0]} is a number and in one of several launch grids",
            subject=str(numbers[0]),
            expected="one T.Kernel",
            hint="make it a constant of the function that makes the kernel",
            location=location_of(func),
        )


def _functions(mod: tvm.IRModule) -> list[tirx.PrimFunc]:
    """The functions of a module: the one that it has, or the grids of one in their order."""
    functions = [func for _, func in mod.functions_items()]
    return sorted(functions, key=lambda func: plain_attrs(func).get(attrs.GRID_OF, {"number": 0})["number"])


def _program(func: tirx.PrimFunc, lowered: tirx.PrimFunc, chip: Device, outputs: tuple[int, ...] = ()) -> Program:
    """The program of a function with one grid."""
    spec, sources = build(lowered, chip, _shards(func, lowered, chip), outputs)
    workload, dynamic = _workload(func, lowered), _dynamic(func, lowered, chip)
    return Program(msgspec.structs.replace(spec, workload=workload, dynamic=dynamic), sources)


def _dictionaries(func: tirx.PrimFunc, layout: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """``layout`` with ttnn tensors replaced by where they live."""
    raw = dict(layout)
    tensors = {name: value for name, value in raw.items() if hasattr(value, "memory_config")}
    if tensors:
        from .runtime.ttnn_executor import layout_of as layout_of_ttnn

        grids = [read_kernel(grid) for grid in reversed(split_grids(func))]
        roles = {tensor.name: tensor.roles for grid in grids for tensor in grid.tensors}
        raw |= {name: layout_of_ttnn(value, axes=_axes(roles.get(name))) for name, value in tensors.items()}
    return raw


def _axes(roles: Sequence[str] | None) -> list[str] | None:
    """A letter for every dimension: its role, or one that no other has where the kernel takes it whole."""
    if roles is None:
        return None
    spare = [letter for letter in "KBNM" if letter not in roles]
    return [role or spare.pop(0) for role in roles]


def _workload(func: tirx.PrimFunc, lowered: tirx.PrimFunc) -> WorkloadSpec:
    """What the partition was made for, for :meth:`Program.explain`."""
    workload = workload_of(func, read_kernel(func), plain_attrs(lowered))
    return msgspec.structs.replace(workload, legacy_ranges=attrs.TILES_PER_CORE in plain_attrs(func))


def _dynamic(func: tirx.PrimFunc, lowered: tirx.PrimFunc, device: Device) -> DynamicSpec | None:
    """What a launch at other sizes needs; None where all sizes are fixed."""
    plain = plain_attrs(lowered)
    if attrs.DYNAMIC not in plain:
        return None
    described, numbers = plain[attrs.DYNAMIC], tuple(plain.get(attrs.NUMBERS, ()))
    schedule = dict(plain.get(attrs.USER_SCHEDULE, {}))
    legacy_cores = plain_attrs(func).get(attrs.NUM_CORES)
    if legacy_cores is not None:
        schedule["num_cores"] = min(legacy_cores, schedule.get("num_cores", legacy_cores))
    gx, gy, gz = (from_plain(size) for size in described["grid"])
    return DynamicSpec(
        sizes=dict(described["sizes"]),
        shapes=tuple(
            (tensor.name,) if tensor.name in numbers else _host_dims(tensor, plain)
            for tensor in read_kernel(func).tensors
        ),
        grid=(gx, gy, gz),
        kt=from_plain(described["Kt"]),
        schedule=schedule,
        cores=launch_cores(WorkPartition.from_attrs(plain), device, parse_user_schedule(schedule)),
        numbers=numbers,
    )


def _host_dims(tensor: TensorAccess, plain: Mapping[str, Any]) -> tuple[Size, ...]:
    """The dimensions of the caller's tensor."""
    stored = plain.get(f"{attrs.STORAGE_PREFIX}{tensor.name}")
    if stored is None:
        return tensor.dims
    shape, split = stored["shape"], dict(zip(stored["order"], tensor.dims, strict=True))
    if not any(map(names_in, tensor.dims)):
        return tuple(shape)
    return tuple(split[axis] for axis in range(len(shape)))


def _outputs(func: tirx.PrimFunc, out_idx: int | Sequence[int] | None) -> tuple[int, ...]:
    count = len(func.params)
    declared = (func.attrs or {}).get(OUT_IDX_ATTR) if out_idx is None else out_idx
    indices = [] if declared is None else [declared] if isinstance(declared, int) else [int(i) for i in declared]
    for index in indices:
        if not -count <= index < count:
            raise UnsupportedError(
                Code.BAD_VALUE, "out_idx names no parameter", subject="out_idx", found=index, expected=f"below {count}"
            )
    return tuple(sorted(index % count for index in indices))


def _shards(func: tirx.PrimFunc, lowered: tirx.PrimFunc, device: Device) -> dict[str, ShardPlacement]:
    """How the sharded tensors lie on the cores and DRAM banks of ``device``."""
    kernel, plain = read_kernel(func), plain_attrs(lowered)
    shards: dict[str, ShardPlacement] = {}
    for tensor in kernel.tensors:
        layout = layout_of(plain, tensor)
        projection = projection_of(kernel, tensor, layout)
        if projection is not None and layout.nd_shard is not None:
            check_alignment(tensor.name, layout.nd_shard)
            holders, stored = projection.holders(device), projection.stored
            spec = ShardSpec(stored.grid, stored.shard_tiles, holders.cores, holders.contiguous)
            shards[tensor.name] = ShardPlacement(spec, projection.row_axis, projection.column_axis)
    return shards
