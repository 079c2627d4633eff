"""The work partition: which core works on which work tiles."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from .. import attrs
from .._plain import int_tuple, is_int, str_tuple
from ..devices import Core, Device
from ..errors import Code, PartitionError
from ..program.spec import MulticastSpec
from .policies import BLOCK_2D, COLUMN_MAJOR, CONTIGUOUS, ROW_MAJOR, Named, Rectangles
from .traversal import number_at, shard_at, shard_visits, tile_at, visited_number
from .verify import verify_partition

if TYPE_CHECKING:
    from ..program.spec import PartitionSpec

CoreRow = tuple[int, int, int, int, int, int]
"""x, y, x, y, start, count."""

_COORDS = (attrs.SHARD_COORD_Y, attrs.SHARD_COORD_X)


@dataclass(frozen=True)
class WorkPartition:
    """The attributes that LayoutAwareWorkPartitionTT writes, as plain values. Every count is in work tiles.

    Attributes:
        mode: "global" or "local_shard".
        grid_tiles: (Mt, Nt), the whole plane.
        shard_grid: (Gy, Gx), shards along M and N; (1, 1) in global mode.
        local_shape_tiles: (Sm, Sn), one shard; (Mt, Nt) in global mode. The last shards are clipped at the plane's end.
        runtime_arg_names: the per-core runtime arguments in canonical order.
        runtime_constants: those of them that are the same on every core, by name.
        core_ranges: per core with work (x, y, x, y, start, count); start and count are shard-local in local_shard mode.
        core_runtime_args: row for row, (start, count) and in local_shard mode the (sy, sx) of its (first) shard.
        driving_buffer: the buffer whose shards decided the partition, or None.
        resident_buffers: the buffers of which every core holds all elements that its work tiles need.
        policy: how tile numbers were shared out over cores in global mode, with its sizes, as ``block_2d(4,8)``; in
            local_shard mode ``shards_in_turn`` where cores hold several shards.
        order: how tiles are numbered, over the plane or within a shard, with its sizes, as ``block_linear(4)``.
        multicast: the buffers whose blocks one core of a group reads and sends to the others, see :mod:`.multicast`.
    """

    mode: str
    grid_tiles: tuple[int, int]
    shard_grid: tuple[int, int]
    local_shape_tiles: tuple[int, int]
    runtime_arg_names: tuple[str, ...]
    runtime_constants: Mapping[str, int]
    core_ranges: tuple[CoreRow, ...]
    core_runtime_args: tuple[tuple[int, ...], ...]
    driving_buffer: str | None = None
    resident_buffers: tuple[str, ...] = ()
    policy: str = CONTIGUOUS
    order: str = ROW_MAJOR
    multicast: Mapping[str, MulticastSpec] = field(default_factory=dict)

    @property
    def run(self) -> tuple[int, int] | None:
        """How many consecutive tile numbers a core visits at a time and how far apart those runs start; None: all."""
        return self._constant_pair(attrs.RUN_ARGS)

    @property
    def block(self) -> tuple[int, int] | None:
        """Rows and columns of a block of the numbering, in work tiles; None where tiles are numbered row by row."""
        return self._constant_pair(attrs.BLOCK_ARGS)

    @property
    def several_shards(self) -> tuple[int, int] | None:
        """The most shards of a core, and how far apart the numbers of two successive ones are; None: one per core."""
        return self._constant_pair(attrs.SHARD_STEP_ARGS)

    def _constant_pair(self, names: tuple[str, str]) -> tuple[int, int] | None:
        first, second = (self.runtime_constants.get(name) for name in names)
        return None if first is None or second is None else (first, second)

    @property
    def cores(self) -> tuple[Core, ...]:
        """The cores with work, in the order of the per-core rows."""
        return tuple((row[0], row[1]) for row in self.core_ranges)

    @cached_property
    def _row_of_core(self) -> dict[Core, int]:
        return {core: row for row, core in enumerate(self.cores)}

    @cached_property
    def _starts(self) -> tuple[list[int], list[int]]:
        rows = sorted(range(len(self.core_ranges)), key=lambda row: self.core_ranges[row][4])
        return [self.core_ranges[row][4] for row in rows], rows

    @cached_property
    def _row_of_shard(self) -> dict[tuple[int, int], int]:
        return {(args[2], args[3]): row for row, args in enumerate(self.core_runtime_args)}

    def owner(self, m: int, n: int) -> Core:
        """The core that works on work tile (m, n), in time logarithmic in cores.

        Raises :class:`PartitionError` (``bad-value``) for a tile outside [0, Mt) x [0, Nt).
        """
        mt, nt = self.grid_tiles
        if not (0 <= m < mt and 0 <= n < nt):
            raise PartitionError(
                Code.BAD_VALUE,
                "there is no such work tile",
                subject="work tile",
                found=(m, n),
                expected=f"(m, n) within {mt} x {nt}",
            )
        if self.mode == attrs.GLOBAL:
            number = m * nt + n if self.block is None else number_at(m, n, mt, nt, self.block)
            starts, rows = self._starts
            row = rows[bisect_right(starts, self._first_number(number)) - 1]
        else:
            sm, sn = self.local_shape_tiles
            row = self._row_of_shard[self._first_shard(m // sm, n // sn)]
        return self.core_ranges[row][0], self.core_ranges[row][1]

    def _first_shard(self, sy: int, sx: int) -> tuple[int, int]:
        """The first shard of the core that has shard (sy, sx)."""
        if self.several_shards is None:
            return sy, sx
        (per_core, step), columns = self.several_shards, self.shard_grid[1]
        number = sy * columns + sx
        first = number // per_core * per_core if step == 1 else number % step
        return divmod(first, columns)

    def _first_number(self, number: int) -> int:
        """The first tile number of the core that has ``number``; any of its numbers where the policy is contiguous."""
        if self.run is None:
            return number
        run, stride = self.run
        line, place = divmod(number, stride)
        return line // self._lines_per_core * self._lines_per_core * stride + place // run * run

    @cached_property
    def _lines_per_core(self) -> int:
        """How many strides a core visits, one run in each: the height of its rectangle, or all there are."""
        named, (mt, nt) = Named.parse(self.policy), self.grid_tiles
        if named is None or named.kind != BLOCK_2D:
            return mt * nt
        rectangles = Rectangles.cut(self.grid_tiles, (named.sizes[0], named.sizes[1]))
        return rectangles.shape[1] if self.order == COLUMN_MAJOR else rectangles.shape[0]

    def tiles(self, core: Core) -> Iterator[tuple[int, int]]:
        """The work tiles (m, n) of ``core`` in the order that its loop visits them; none for a core without work."""
        row = self._row_of_core.get(core)
        if row is None:
            return
        start, count = self.core_runtime_args[row][:2]
        for m0, n0, height, width in self._areas(row):
            for step in range(count if self.several_shards is None else height * width):
                number = start + step if self.run is None else visited_number(step, start, *self.run)
                m, n = divmod(number, width) if self.block is None else tile_at(number, height, width, self.block)
                yield m0 + m, n0 + n

    def _areas(self, row: int) -> Iterator[tuple[int, int, int, int]]:
        """First m, first n, rows and columns of the plane, or of each shard, in which the row's tiles are numbered."""
        mt, nt = self.grid_tiles
        if self.mode == attrs.GLOBAL:
            yield 0, 0, mt, nt
            return
        sm, sn = self.local_shape_tiles
        for sy, sx in self.shards_of(row):
            yield sy * sm, sx * sn, max(0, min(sm, mt - sy * sm)), max(0, min(sn, nt - sx * sn))

    def shards_of(self, row: int) -> Iterator[tuple[int, int]]:
        """The shards (sy, sx) of the core of a row, in the order that its loop visits them; none in global mode."""
        coords, (gy, gx) = self.core_runtime_args[row][2:4], self.shard_grid
        if self.several_shards is None:
            if coords:
                yield coords[0], coords[1]
            return
        (per_core, step), first = self.several_shards, coords[0] * gx + coords[1]
        for visit in range(shard_visits(first, per_core, step, gy * gx)):
            yield shard_at(visit, first, step, gx)

    def core_payload(self, core: Core) -> tuple[int, ...]:
        """The values of all runtime arguments of ``core``, in the order of ``runtime_arg_names``.

        Raises :class:`PartitionError` (``bad-value``) for a core without work.
        """
        if core not in self._row_of_core:
            raise PartitionError(
                Code.BAD_VALUE, f"core {core} has no work", subject="core", found=core, expected="a core of core_ranges"
            )
        args = self.core_runtime_args[self._row_of_core[core]]
        own = dict(zip((attrs.START_TILE, attrs.TILE_COUNT, *_COORDS), args, strict=False))
        values = {**self.runtime_constants, **own}
        return tuple(values[name] for name in self.runtime_arg_names)

    def verify(self, device: Device, *, kt: int | None = None) -> None:
        """Prove that every work tile has exactly one core of ``device``, and that the attributes agree with each other.

        Takes time by cores, not by tiles. ``kt`` is the kernel's real number of reduction steps where it is known.
        Raises :class:`PartitionError` (``partition-invalid``) naming the attribute at fault.
        """
        verify_partition(self, device, kt)

    def core_map(self, device: Device) -> str:
        """The device's grid as text: work tiles per core, '.' for a core without work, blank where there is no core."""
        counts = {(row[0], row[1]): str(row[5]) for row in self.core_ranges}
        columns, rows = device.grid
        width = 1 + max(len(text) for text in (*counts.values(), str(columns - 1)))
        label = len(str(rows - 1)) + 2
        how = "".join(f", {word}" for word in (self.policy, self.order) if word not in (CONTIGUOUS, ROW_MAJOR))
        lines = [
            f"{self.mode}{how}: {self.grid_tiles[0]} x {self.grid_tiles[1]} work tiles on {len(counts)} of "
            f"{len(device.cores)} cores of {device.name}",
            " " * label + "".join(f"{x:>{width}}" for x in range(columns)),
        ]
        for y in range(rows):
            cells = (counts.get((x, y), "." if device.has_core((x, y)) else "") for x in range(columns))
            lines.append((f"{y:>{label}}" + "".join(f"{cell:>{width}}" for cell in cells)).rstrip())
        return "\n".join(lines)

    def to_spec(self) -> PartitionSpec:
        """The partition as a saved program holds it."""
        # Imported here: program.spec is needed by executors, which need no partitioner, and the other way round.
        from ..program.spec import PartitionSpec

        return PartitionSpec(
            mode="global" if self.mode == attrs.GLOBAL else "local_shard",
            grid_tiles=self.grid_tiles,
            shard_grid=self.shard_grid,
            local_shape_tiles=self.local_shape_tiles,
            runtime_arg_names=self.runtime_arg_names,
            runtime_constants=dict(self.runtime_constants),
            core_ranges=self.core_ranges,
            core_runtime_args=self.core_runtime_args,
            driving_buffer=self.driving_buffer,
            resident_buffers=self.resident_buffers,
            policy=self.policy,
            order=self.order,
            multicast=dict(self.multicast),
        )

    @classmethod
    def from_spec(cls, spec: PartitionSpec) -> WorkPartition:
        """The partition of a saved program; not verified."""
        return cls(**{field: getattr(spec, field) for field in spec.__struct_fields__})

    def to_attrs(self) -> dict[str, Any]:
        """The function attributes, as plain values.

        ``tt.driving_buffer`` and ``tt.multicast`` only where there is one, ``tt.policy`` and ``tt.order`` only where
        they are not the legacy contiguous and row_major.
        """
        values: dict[str, Any] = {
            attrs.PARTITION_MODE: self.mode,
            attrs.GRID_TILES: list(self.grid_tiles),
            attrs.SHARD_GRID: list(self.shard_grid),
            attrs.LOCAL_SHAPE_TILES: list(self.local_shape_tiles),
            attrs.RUNTIME_ARG_NAMES: list(self.runtime_arg_names),
            attrs.RUNTIME_CONSTANTS: dict(self.runtime_constants),
            attrs.CORE_RANGES: [list(row) for row in self.core_ranges],
            attrs.CORE_RUNTIME_ARGS: [list(row) for row in self.core_runtime_args],
            attrs.RESIDENT_BUFFERS: list(self.resident_buffers),
        }
        if self.driving_buffer is not None:
            values[attrs.DRIVING_BUFFER] = self.driving_buffer
        if self.policy != CONTIGUOUS:
            values[attrs.POLICY] = self.policy
        if self.order != ROW_MAJOR:
            values[attrs.ORDER] = self.order
        if self.multicast:
            values[attrs.MULTICAST] = {
                name: {"follows": item.follows, "groups": [list(group) for group in item.groups]}
                for name, item in self.multicast.items()
            }
        return values

    @classmethod
    def from_func(cls, func: Any) -> WorkPartition:
        """The partition in the attributes of a TIR function; not verified. Raises as :meth:`from_attrs`."""
        # Imported here: reading TIR needs TileLang, the partition itself does not.
        from ..language.plain import plain_attrs

        return cls.from_attrs(plain_attrs(func))

    @classmethod
    def from_attrs(cls, attributes: Mapping[str, Any]) -> WorkPartition:
        """The partition in a function's attributes (plain values; others are ignored); not verified.

        Raises :class:`PartitionError`: ``metadata-missing`` for an absent attribute, ``partition-invalid`` for one of a
        wrong type or shape.
        """
        return cls(
            mode=_string(attributes, attrs.PARTITION_MODE),
            grid_tiles=_pair(attributes, attrs.GRID_TILES),
            shard_grid=_pair(attributes, attrs.SHARD_GRID),
            local_shape_tiles=_pair(attributes, attrs.LOCAL_SHAPE_TILES),
            runtime_arg_names=_strings(attributes, attrs.RUNTIME_ARG_NAMES),
            runtime_constants=_constants(attributes),
            core_ranges=tuple((r[0], r[1], r[2], r[3], r[4], r[5]) for r in _rows(attributes, attrs.CORE_RANGES, 6)),
            core_runtime_args=_rows(attributes, attrs.CORE_RUNTIME_ARGS, None),
            driving_buffer=_string(attributes, attrs.DRIVING_BUFFER) if attrs.DRIVING_BUFFER in attributes else None,
            resident_buffers=_strings(attributes, attrs.RESIDENT_BUFFERS),
            policy=_string(attributes, attrs.POLICY) if attrs.POLICY in attributes else CONTIGUOUS,
            order=_string(attributes, attrs.ORDER) if attrs.ORDER in attributes else ROW_MAJOR,
            multicast=_multicast(attributes),
        )


def _get(attributes: Mapping[str, Any], key: str) -> Any:
    if key not in attributes:
        raise PartitionError(
            Code.METADATA_MISSING,
            f"the function has no attribute {key}",
            subject=key,
            hint="run LayoutAwareWorkPartitionTT first",
        )
    return attributes[key]


def _ill_typed(key: str, found: object, expected: str) -> NoReturn:
    raise PartitionError(
        Code.PARTITION_INVALID, f"attribute {key} is malformed", subject=key, found=found, expected=expected
    )


def _string(attributes: Mapping[str, Any], key: str) -> str:
    value = _get(attributes, key)
    if not isinstance(value, str):
        _ill_typed(key, value, "a string")
    return value


def _strings(attributes: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = str_tuple(_get(attributes, key))
    if value is None:
        _ill_typed(key, attributes[key], "a list of strings")
    return value


def _pair(attributes: Mapping[str, Any], key: str) -> tuple[int, int]:
    value = int_tuple(_get(attributes, key), length=2)
    if value is None:
        _ill_typed(key, attributes[key], "two integers")
    return value[0], value[1]


def _constants(attributes: Mapping[str, Any]) -> dict[str, int]:
    key = attrs.RUNTIME_CONSTANTS
    value = _get(attributes, key)
    if not isinstance(value, Mapping) or not all(isinstance(k, str) and is_int(v) for k, v in value.items()):
        _ill_typed(key, value, "a dictionary of integers")
    return dict(value)


def _multicast(attributes: Mapping[str, Any]) -> dict[str, MulticastSpec]:
    try:
        return msgspec.convert(attributes.get(attrs.MULTICAST, {}), dict[str, MulticastSpec])
    except msgspec.ValidationError as error:
        _ill_typed(attrs.MULTICAST, error, "for every buffer follows and groups, a row of 7 integers per core")


def _rows(attributes: Mapping[str, Any], key: str, length: int | None) -> tuple[tuple[int, ...], ...]:
    value = _get(attributes, key)
    expected = f"rows of {length} integers" if length else "rows of integers"
    if not isinstance(value, (list, tuple)):
        _ill_typed(key, value, expected)
    rows = []
    for item in value:
        row = int_tuple(item, length=length)
        if row is None:
            _ill_typed(key, item, expected)
        rows.append(row)
    return tuple(rows)
