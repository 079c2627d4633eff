"""What a compiled program is: plain, schema-versioned data that every executor reads.

``program.json`` in a saved program's directory is a :class:`ProgramSpec`; the kernels' C++ sources lie beside it in
``kernels/``. Needs neither tilelang nor torch. All sizes are in bytes, all coordinates logical worker coordinates (x,
y).
"""

from __future__ import annotations

from math import prod
from typing import Any, Literal

import msgspec

from ..devices import Device
from ..engines import Fidelity
from ..formats import DataFormat
from ..sizes import Size

SCHEMA_VERSION = 1

Role = Literal["reader", "compute", "writer"]


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What all data of programs has in common."""


class ShardSpec(Spec, frozen=True, forbid_unknown_fields=True):
    """How a sharded tensor is cut, and who holds which shard.

    The tensor is an array of 32x32 hardware tiles: a matrix where ``grid`` has two entries, all dimensions but the last
    folded into the rows, else of the tensor's own dimensions. Shards are numbered row-major over the grid, and inside a
    shard its tiles lie row-major, contiguous; a core's shards lie one behind the other.
    """

    grid: tuple[int, ...]
    """Number of shards along each dimension."""
    shard_tiles: tuple[int, ...]
    """Hardware tiles of one shard along each dimension; the last shards may hold fewer."""

    cores: tuple[tuple[int, int], ...]
    """The cores, in DRAM (bank, 0): shard i lies on ``cores[i % len(cores)]``."""

    contiguous: bool = False
    """Every core holds as many consecutive shards instead: shard i lies on ``cores[i // shards_per_core]``."""

    @property
    def shards_per_core(self) -> int:
        """The most shards that a core holds."""
        return -(-prod(self.grid) // len(self.cores))

    @property
    def pages_per_core(self) -> int:
        """The hardware tiles that the shards of such a core have room for."""
        return self.shards_per_core * prod(self.shard_tiles)

    def core_of(self, shard: int) -> tuple[int, int]:
        """The core of shard number ``shard``."""
        return self.cores[shard // self.shards_per_core if self.contiguous else shard % len(self.cores)]


class StorageSpec(Spec, frozen=True, forbid_unknown_fields=True):
    """How the caller's tensor of ``shape`` is stored: reshaped to ``split``, its dimensions then put in ``order``."""

    shape: tuple[int, ...]
    split: tuple[int, ...]
    order: tuple[int, ...]


class TensorSpec(Spec, frozen=True, forbid_unknown_fields=True):
    """A tensor parameter, in parameter order."""

    name: str
    shape: tuple[int, ...]
    """Shape in elements, as stored.

    A vector [n] is stored as the matrix [1, n]; the last two dimensions are padded to 32.
    """

    dtype: str
    """The name that numpy has for it, or bfloat16."""

    data_format: DataFormat
    memory: Literal["DRAM", "L1"]
    direction: Literal["in", "out", "inout"]
    """Whether the kernels read it, write it, or both."""

    shard: ShardSpec | None = None
    """None: interleaved, hardware tile (page) i on bank i mod banks."""

    storage: StorageSpec | None = None
    """None: stored in the order of its own dimensions."""

    @property
    def host_shape(self) -> tuple[int, ...]:
        """Shape in elements of the caller's tensor."""
        return self.shape if self.storage is None else self.storage.shape


class CircularBufferSpec(Spec, frozen=True, forbid_unknown_fields=True):
    """A circular buffer of every core of the program."""

    index: int
    name: str
    data_format: DataFormat
    page_size: int
    """Bytes of one page: one hardware tile."""

    num_pages: int
    tensor: str | None = None
    """The tensor whose L1 shard this buffer lies on, or None for a buffer of its own."""
    unpack_to_dest_fp32: bool = False
    """Float32 pages go from L1 to DST at full precision, not through SrcA as TF32."""

    kept: bool = False
    """Its pages keep what they hold when they are popped: they are pushed again with some of them packed anew."""


class SemaphoreSpec(Spec, frozen=True, forbid_unknown_fields=True):
    """A semaphore of every core of the program: a word of L1 that its kernels wait for and those of any core set."""

    id: int
    name: str
    initial_value: int = 0


class ComputeConfig(Spec, frozen=True, forbid_unknown_fields=True):
    """How the matrix and vector engines run."""

    math_fidelity: Fidelity = "HiFi4"
    fp32_dest_acc: bool = True
    """DST holds float32 (4 tiles per half), not 16-bit (8 tiles per half)."""

    math_approx_mode: bool = False


class KernelSpec(Spec, frozen=True, forbid_unknown_fields=True):
    """One kernel, run on every core of the program.

    Its source is ``kernels/<source>``. Compile-time arguments are, in order, those of a ``TensorAccessor`` for each
    of ``accessors`` (encoded by the executor), and ``named_args`` by name. Per-core runtime arguments are the
    program's canonical ones (``WorkPartition.core_payload``) and behind them, for each of the partition's ``multicast``
    in their order, ``MULTICAST_ARGS``; the same for all three kernels. Common runtime arguments are the addresses of
    all tensors, in parameter order, then the symbolic sizes (:class:`DynamicSpec`).
    """

    role: Role
    source: str
    accessors: tuple[str, ...] = ()
    named_args: dict[str, int] = {}
    compute: ComputeConfig | None = None
    """Given for the compute kernel only."""


MULTICAST_ARGS = ("destinations", "sender_x", "sender_y", "x0", "y0", "x1", "y1", "steps")
"""Runtime arguments of a core for one multicast tensor: how many other cores it sends to, 0 for one that receives; who
sends to it; the corners of its group's rectangle; and the work tiles that its group goes through. In NoC coordinates,
which executors know."""


class MulticastSpec(Spec, frozen=True, forbid_unknown_fields=True):
    """A tensor whose blocks one core of a group reads from memory and multicasts to the others of its group."""

    follows: Literal["M", "N", ""]
    """The axis of the work plane along which its block moves: a group works on one row ("M") or column ("N") of work
    tiles at a time; "" for a block that is the same for all."""
    groups: tuple[tuple[int, int, int, int, int, int, int], ...]
    """Per core of the partition, in its order: the rectangle (x0, y0, x1, y1) of its group, who sends (x, y),
    and how many work tiles the sender has, the most of the group."""


class PartitionSpec(Spec, frozen=True, forbid_unknown_fields=True):
    """The work partition, by the attributes that LayoutAwareWorkPartitionTT writes."""

    mode: Literal["global", "local_shard"]
    grid_tiles: tuple[int, int]
    shard_grid: tuple[int, int]
    local_shape_tiles: tuple[int, int]
    runtime_arg_names: tuple[str, ...]
    runtime_constants: dict[str, int]
    core_ranges: tuple[tuple[int, int, int, int, int, int], ...]
    core_runtime_args: tuple[tuple[int, ...], ...]
    driving_buffer: str | None = None
    resident_buffers: tuple[str, ...] = ()
    policy: str = "contiguous"
    order: str = "row_major"
    multicast: dict[str, MulticastSpec] = {}
    """By tensor, in the order of their runtime arguments."""


class TensorUseSpec(Spec, frozen=True, forbid_unknown_fields=True):
    """How the kernel uses one tensor: what the partitioner knows of it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    roles: tuple[str, ...]
    """What moves the block along each dimension: "M", "N", "K" (reduction), "B" (batch), or "" for nothing."""
    block_elems: tuple[int, ...]
    """Elements of each dimension that one work tile and reduction step covers."""
    read: bool
    written: bool
    layout: dict[str, Any]
    """Where it lives, as ``annotate_tt_layout`` takes it."""
    depth: int = 2
    """Blocks of it that its circular buffer holds."""
    follows: Literal["M", "N", ""] | None = None
    """The axis of the plane that its block moves along, "" for neither, where the kernel only reads it; None for
    anything else."""


class WorkloadSpec(Spec, frozen=True, forbid_unknown_fields=True):
    """What the partition was made for: all that planning it again needs."""

    grid: tuple[int, int, int]
    """The launch grid: extents of blockIdx.x, y and z."""
    kt: int
    """Reduction steps."""
    products: int
    """Matrix products of 32 x 32 x 32 elements that one work tile takes."""
    tensors: tuple[TensorUseSpec, ...]
    schedule: dict[str, Any]
    """The user's schedule."""
    legacy_ranges: bool = False
    """Whether the user's own legacy schedule says which core gets which tiles."""
    math_fidelity: Fidelity = "HiFi4"
    """How many passes the matrix engine makes."""


class DynamicSpec(Spec, frozen=True, forbid_unknown_fields=True):
    """What of a program is another at every launch, and how it follows from the tensors' shapes.

    The program's tensors and partition are those at ``sizes``; :func:`tilelang_tt.program.relaunch.at_sizes` gives them
    at others.
    """

    sizes: dict[str, int]
    """Symbol -> size, in the order in which they follow the addresses in the kernels' common runtime arguments."""
    shapes: tuple[tuple[Size, ...], ...]
    """Of every tensor, in parameter order; each symbol is a whole dimension of one of them."""
    grid: tuple[Size, Size, Size]
    """Extents of blockIdx.x, y and z."""
    kt: Size
    """Reduction steps."""
    schedule: dict[str, Any]
    """The user's schedule, which every partition of the program keeps to."""
    cores: tuple[tuple[int, int], ...]
    """The cores that have work at some size: a device launches the program on all of them."""
    numbers: tuple[str, ...] = ()
    """The sizes that are parameters of the same name, tensors of one element: what it holds is the size. In ``shapes``
    it has the size as its only dimension."""


class ProgramSpec(Spec, frozen=True, forbid_unknown_fields=True):
    """A whole program: what to place where, and what each core runs."""

    name: str
    device: Device
    tensors: tuple[TensorSpec, ...]
    circular_buffers: tuple[CircularBufferSpec, ...]
    kernels: tuple[KernelSpec, ...]
    partition: PartitionSpec
    semaphores: tuple[SemaphoreSpec, ...] = ()
    workload: WorkloadSpec | None = None
    """None in programs that were saved without it."""
    dynamic: DynamicSpec | None = None
    """None for a program whose shapes are fixed."""
    out_idx: tuple[int, ...] = ()
    """Parameters that a call allocates and returns instead of taking."""

    metalium_api: str = "ttnn-0.81"
    """The kernel API version the sources are written against."""

    schema_version: int = SCHEMA_VERSION

    @property
    def all_tensors(self) -> tuple[TensorSpec, ...]:
        """The tensors of a launch: the parameters."""
        return self.tensors
