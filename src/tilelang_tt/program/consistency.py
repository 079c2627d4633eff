"""Whether a program's data agrees with itself: the schema says what each value may be, this what all may be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from math import prod

from .._plain import INT32_MAX
from ..errors import Code, ProgramError, TTError
from ..formats import stored_tiles, tile_bytes
from ..sizes import Size, SizeExpr, evaluate, names_in, size_text
from .relaunch import stored
from .sequence_consistency import sequence_problems
from .sequence_spec import SequenceSpec
from .spec import CircularBufferSpec, DynamicSpec, KernelSpec, ProgramSpec, StorageSpec, TensorSpec

MAX_CIRCULAR_BUFFERS = 32
MAX_SEMAPHORES = 16
SOURCE_NAME = re.compile(r"[A-Za-z0-9_]+\.cpp")
_NAME = re.compile(r"\S+")


def check(spec: ProgramSpec, origin: str) -> None:
    """Refuse data that no compiler of this package wrote.

    Args:
        spec: the program's data, of its schema.
        origin: where it came from, for errors.

    Raises:
        ProgramError: ``program-malformed``, with the part that does not fit the others.
    """
    for problem in _problems(spec):
        raise _inconsistent(problem, origin)


def check_sequence(spec: SequenceSpec, programs: Sequence[ProgramSpec] | None, origin: str) -> None:
    """The same of a sequence and, where they are read already, its programs, each checked by itself."""
    for problem in sequence_problems(spec, programs):
        raise _inconsistent(problem, origin)


def _problems(spec: ProgramSpec) -> Iterable[str]:
    names = [tensor.name for tensor in spec.tensors]
    yield from _repeated("tensor", names)
    for tensor in spec.tensors:
        yield from _tensor_problems(tensor, spec)
    yield from _repeated("circular buffer index", [buffer.index for buffer in spec.circular_buffers])
    for buffer in spec.circular_buffers:
        yield from _buffer_problems(buffer, {tensor.name: tensor for tensor in spec.tensors})
    if sorted(kernel.role for kernel in spec.kernels) != ["compute", "reader", "writer"]:
        yield f"kernels of roles {', '.join(kernel.role for kernel in spec.kernels)}"
    for kernel in spec.kernels:
        yield from _kernel_problems(kernel, names)
    if sorted(set(spec.out_idx)) != list(spec.out_idx) or any(not 0 <= index < len(names) for index in spec.out_idx):
        yield f"out_idx {list(spec.out_idx)} of {len(names)} parameters"
    yield from _repeated("semaphore", [semaphore.id for semaphore in spec.semaphores])
    for semaphore in spec.semaphores:
        if not 0 <= semaphore.id < MAX_SEMAPHORES or not _NAME.fullmatch(semaphore.name):
            yield f"semaphore {semaphore.id} called {semaphore.name!r}"
        if not 0 <= semaphore.initial_value < 2**32:
            yield f"semaphore {semaphore.name!r} with initial value {semaphore.initial_value}"
    for name in spec.partition.multicast:
        if name not in names:
            yield f"a multicast of {name!r}, which is no tensor"
    yield from _partition_problems(spec)
    if spec.dynamic is not None:
        yield from _dynamic_problems(spec, spec.dynamic)


def _inconsistent(problem: str, origin: str) -> ProgramError:
    return ProgramError(
        Code.PROGRAM_MALFORMED,
        "the program's data does not agree with itself",
        subject=origin,
        found=problem,
        expected="a program as tilelang_tt.compile makes it",
    )


def _repeated(what: str, values: list[str] | list[int]) -> Iterable[str]:
    for value in values:
        if values.count(value) > 1:  # type: ignore[arg-type]
            yield f"{what} {value!r} twice"


def _tensor_problems(tensor: TensorSpec, spec: ProgramSpec) -> Iterable[str]:
    if not _NAME.fullmatch(tensor.name):
        yield f"a tensor called {tensor.name!r}"
    if not tensor.shape or min(tensor.shape) < 1:
        yield f"tensor {tensor.name!r} of shape {list(tensor.shape)}"
    if tensor.storage is not None and not _is_view(tensor.storage, tensor.shape):
        yield f"tensor {tensor.name!r} of shape {list(tensor.shape)}, stored as {tensor.storage}"
    shard = tensor.shard
    if shard is None:
        return
    if len(shard.grid) not in (2, len(tensor.shape)) or len(shard.shard_tiles) != len(shard.grid):
        yield f"tensor {tensor.name!r} of shape {list(tensor.shape)} with shards {shard}"
        return
    extents = stored_tiles(tensor.shape, len(shard.grid))
    if min(shard.shard_tiles) < 1 or any(
        parts != -(-extent // size) for parts, extent, size in zip(shard.grid, extents, shard.shard_tiles, strict=True)
    ):
        yield f"tensor {tensor.name!r} of {list(extents)} tiles with shards {shard}"
    holders, shards = len(set(shard.cores)), prod(shard.grid)
    if len(shard.cores) != holders or not 1 <= holders <= shards or (shard.contiguous and shards % holders):
        yield f"tensor {tensor.name!r} with {shards} shards on {holders} cores"
    if tensor.memory == "DRAM":
        if any(bank >= spec.device.dram_banks or y for bank, y in shard.cores):
            yield f"tensor {tensor.name!r} with a shard off the {spec.device.dram_banks} DRAM banks"
    elif any(core not in spec.device for core in shard.cores):
        yield f"tensor {tensor.name!r} with a shard off device {spec.device.name!r}"


def _is_view(storage: StorageSpec, stored: tuple[int, ...]) -> bool:
    """Whether the tensor's elements, reshaped and reordered, make what is stored."""
    split, order = storage.split, storage.order
    if sorted(order) != list(range(len(split))) or min(storage.shape, default=0) < 1 or min(split, default=0) < 1:
        return False
    return prod(storage.shape) == prod(split) and tuple(split[axis] for axis in order) == stored


def _buffer_problems(buffer: CircularBufferSpec, tensors: dict[str, TensorSpec]) -> Iterable[str]:
    if not _NAME.fullmatch(buffer.name) or not 0 <= buffer.index < MAX_CIRCULAR_BUFFERS:
        yield f"circular buffer {buffer.index} called {buffer.name!r}"
    if buffer.page_size != tile_bytes(buffer.data_format) or buffer.num_pages < 1:
        yield f"circular buffer {buffer.name!r} of {buffer.num_pages} pages of {buffer.page_size} bytes"
    if buffer.tensor is not None and (buffer.tensor not in tensors or tensors[buffer.tensor].shard is None):
        yield f"circular buffer {buffer.name!r} on the shards of {buffer.tensor!r}"


def _kernel_problems(kernel: KernelSpec, tensors: list[str]) -> Iterable[str]:
    if not SOURCE_NAME.fullmatch(kernel.source):
        yield f"a kernel's source called {kernel.source!r}"
    for name in kernel.accessors:
        if name not in tensors:
            yield f"an accessor for {name!r}, which is no tensor"
    if (kernel.compute is not None) != (kernel.role == "compute"):
        yield f"compute settings of the {kernel.role} kernel: {kernel.compute}"


def _partition_problems(spec: ProgramSpec) -> Iterable[str]:
    # Imported here: the partition is plain data to whoever only saves a program.
    from ..partition import WorkPartition

    try:
        WorkPartition.from_spec(spec.partition).verify(spec.device)
    except TTError as error:
        yield str(error)


def _dynamic_problems(spec: ProgramSpec, dynamic: DynamicSpec) -> Iterable[str]:
    if len(dynamic.shapes) != len(spec.tensors):
        yield f"shapes of {len(dynamic.shapes)} tensors of {len(spec.tensors)}"
        return
    used = {name for size in (*dynamic.grid, dynamic.kt, *chain(*dynamic.shapes)) for name in names_in(size)}
    whole = {dim for dims in dynamic.shapes for dim in dims if isinstance(dim, str)}
    for name in sorted(used | set(dynamic.sizes)):
        if name not in dynamic.sizes or name not in whole or not 1 <= dynamic.sizes[name] <= INT32_MAX:
            yield f"size {name!r} of {dynamic.sizes.get(name)}, a dimension of {'a' if name in whole else 'no'} tensor"
            return
    for tensor, dims in zip(spec.tensors, dynamic.shapes, strict=True):
        if tensor.name in dynamic.numbers:
            continue
        yield from _differs(f"the shape of {tensor.name!r}", dims, tensor.host_shape, dynamic.sizes)
        symbolic = any(map(names_in, dims))
        if tensor.storage is not None and symbolic and tensor.storage != stored(tensor.storage, tensor.host_shape):
            yield f"a storage of {tensor.name!r} that does more than reorder it"
    yield from _differs(
        "the reduction steps", [dynamic.kt], [spec.partition.runtime_constants.get("Kt")], dynamic.sizes
    )
    gx, gy, gz = dynamic.grid
    rows = SizeExpr("*", gy, gz)
    yield from _differs("the launch grid", [rows, gx], spec.partition.grid_tiles, dynamic.sizes)
    running = {(row[0], row[1]) for row in spec.partition.core_ranges}
    if not running <= set(dynamic.cores) or any(core not in spec.device for core in dynamic.cores):
        yield f"cores {list(dynamic.cores)} for a launch of any size"
    yield from _schedule_problems(dynamic)


def _differs(what: str, found: Sequence[Size], stated: Sequence[int | None], sizes: Mapping[str, int]) -> Iterable[str]:
    try:
        values = [evaluate(size, sizes) for size in found]
    except ZeroDivisionError:
        values = None
    if values != list(stated):
        yield f"{what} as {list(stated)} and as {[size_text(size) for size in found]} of {dict(sizes)}"


def _schedule_problems(dynamic: DynamicSpec) -> Iterable[str]:
    from ..partition import parse_user_schedule

    try:
        parse_user_schedule(dynamic.schedule)
    except TTError as error:
        yield str(error)
