"""Multicast: of the cores that need the same blocks of a tensor at the same time, one reads them and sends them to all.

A block that moves along M only is needed by all cores that work on the same rows of work tiles, one along N only by
those of the same columns. They form a group where their cores are a rectangle, and take part in every block together
if they go through the same rows (columns) step by step. Cores that have fewer steps than others of their group, at the
plane's end, take part in the rest as well, without using what they get; one with most steps sends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NoReturn

from .. import attrs
from ..devices import Core
from ..errors import Code, PartitionError, ScheduleError
from ..program.spec import MulticastSpec
from .placed_buffers import Follows, PlacedBuffer
from .policies import BLOCK_2D, COLUMN_MAJOR, ROW_MAJOR, Named, Rectangles

if TYPE_CHECKING:
    from .work_partition import WorkPartition

Group = tuple[int, int, int, int, int, int, int]
"""x0, y0, x1, y1 of the group's rectangle of cores, x and y of the core that sends, and the work tiles of that core."""
Area = tuple[int, int, int, int]
"""First m, first n, rows and columns of work tiles of a core."""

AXES: Final = ("M", "N", "")


class Irregular(Exception):
    """Why cores cannot share what a tensor's blocks hold."""


def areas(made: WorkPartition) -> list[Area] | None:
    """The rectangle of work tiles of every core; None where cores do not work on rectangles."""
    mt, nt = made.grid_tiles
    if made.several_shards is not None:
        return None
    if made.mode == attrs.LOCAL_SHARD:
        sm, sn = made.local_shape_tiles
        corners = [(args[2] * sm, args[3] * sn) for args in made.core_runtime_args]
    else:
        named = Named.parse(made.policy)
        if named is None or named.kind != BLOCK_2D:
            return None
        sm, sn = Rectangles.cut(made.grid_tiles, (named.sizes[0], named.sizes[1])).shape
        starts = [args[0] for args in made.core_runtime_args]
        by_column = made.order == COLUMN_MAJOR
        corners = [(start % mt, start // mt) if by_column else divmod(start, nt) for start in starts]
    return [(m0, n0, min(sm, mt - m0), min(sn, nt - n0)) for m0, n0 in corners]


def groups_of(made: WorkPartition, follows: Follows, turn: int = 0) -> tuple[Group, ...]:
    """The group of every core for a tensor that moves along ``follows``, core by core.

    The senders of neighbouring groups lie on a diagonal, ``turn`` cores further for another tensor: in one line they
    would share its links.

    Raises:
        Irregular: where the cores that need the same blocks are no rectangle, or do not step together.
    """
    found = areas(made)
    if found is None:
        raise Irregular(f"policy {made.policy} does not give cores rectangles of work tiles")
    members: dict[int, list[int]] = {}
    for number, area in enumerate(found):
        members.setdefault({"M": area[0], "N": area[1], "": 0}[follows], []).append(number)
    rows: list[Group | None] = [None] * len(found)
    for place, key in enumerate(sorted(members)):
        numbers = members[key]
        cores = sorted((made.cores[number] for number in numbers), key=_row_major)
        if len({_walk(made, follows, found[number]) for number in numbers}) > 1:
            shapes = {found[number][2:] for number in numbers}
            shown = " and ".join(f"{height} x {width}" for height, width in sorted(shapes)[:2])
            raise Irregular(f"cores that need the same blocks have {shown} work tiles, in order {made.order}")
        if len(cores) == 1:
            raise Irregular(f"core {cores[0]} needs its blocks alone")
        rectangle, steps = _rectangle(cores), max(found[number][2] * found[number][3] for number in numbers)
        longest = [number for number in numbers if found[number][2] * found[number][3] == steps]
        senders = sorted((made.cores[number] for number in longest), key=_row_major)
        for number in numbers:
            rows[number] = (*rectangle, *senders[(place + turn) % len(senders)], steps)
    return tuple(row for row in rows if row is not None)


def _row_major(core: Core) -> Core:
    return core[1], core[0]


def _walk(made: WorkPartition, follows: str, area: Area) -> tuple[int, ...]:
    """What decides, but for its end, the sequence of rows, columns or steps that a core goes through."""
    m0, n0, height, width = area
    if follows == "":
        return ()
    first = m0 if follows == "M" else n0
    # Along a single row (column) the shares may differ: all stay in it.
    apart = width if height > 1 or follows == "N" else 0
    below = height if width > 1 or follows == "M" else 0
    if made.order == ROW_MAJOR:
        return first, apart
    return (first, below) if made.order == COLUMN_MAJOR else (first, height, width)


def _rectangle(cores: Sequence[Core]) -> tuple[int, int, int, int]:
    xs, ys = [x for x, _ in cores], [y for _, y in cores]
    area = (min(xs), min(ys), max(xs), max(ys))
    if (area[2] - area[0] + 1) * (area[3] - area[1] + 1) != len(cores):
        raise Irregular(f"the {len(cores)} cores that need the same blocks, {cores[0]} the first, are no rectangle")
    return area


def has_rest(made: WorkPartition, name: str) -> bool:
    """Whether some core has fewer work tiles than others of its group for this buffer."""
    groups = made.multicast[name].groups
    return any(row[5] < group[-1] for row, group in zip(made.core_ranges, groups, strict=True))


def with_multicast(made: WorkPartition, asked: Sequence[str], buffers: Sequence[PlacedBuffer]) -> WorkPartition:
    """``made`` with the tensors ``asked`` for read by one core of each group.

    Raises:
        ScheduleError: ``unknown-buffer``, or ``schedule-conflict`` with the reason why one cannot be multicast.
    """
    by_name = {buffer.name: buffer for buffer in buffers}
    planned: dict[str, MulticastSpec] = {}
    for turn, name in enumerate(asked):
        if name not in by_name:
            raise ScheduleError(
                Code.UNKNOWN_BUFFER,
                f"multicast names {name!r}, which is no tensor of the kernel",
                subject="multicast",
                found=name,
                expected=f"some of {', '.join(by_name)}",
            )
        follows = by_name[name].follows
        if name in made.resident_buffers:
            _refuse(name, "every core uses it where it lies in its own L1", "a tensor that cores read over the NoC")
        if follows is None:
            expected = "a tensor that is only read, in blocks that blockIdx.x or blockIdx.y alone moves"
            _refuse(name, "its blocks are not the same on several cores at a time", expected)
        try:
            planned[name] = MulticastSpec(follows, groups_of(made, follows, turn))
        except Irregular as reason:
            expected = "policy block_2d(Gy,Gx), or shards in L1, that gives every core of a rectangle as much work"
            _refuse(name, str(reason), expected)
    return replace(made, multicast=planned)


def _refuse(name: str, reason: str, expected: str) -> NoReturn:
    raise ScheduleError(
        Code.SCHEDULE_CONFLICT,
        f"tensor {name!r} cannot be multicast: {reason}",
        subject="multicast",
        found=name,
        expected=expected,
        hint="leave it out of multicast",
    )


def verify_multicast(made: WorkPartition) -> None:
    """Prove that every core of a group takes part in each of its multicasts, at the same step as the others.

    Raises :class:`PartitionError` (``partition-invalid``).
    """
    for name, multicast in made.multicast.items():
        if multicast.follows not in AXES:
            _fail(name, "follows no axis", multicast.follows, "M, N or an empty string")
        if len(multicast.groups) != len(made.core_ranges):
            expected = f"{len(made.core_ranges)} rows, as tt.core_ranges"
            _fail(name, "has other rows than tt.core_ranges", f"{len(multicast.groups)} rows", expected)
        if name in made.resident_buffers:
            _fail(name, "is given for a buffer used in place", name, "a buffer that is read over the NoC")
        found = areas(made)
        if found is None:
            _fail(name, "is given, but cores do not work on rectangles", made.policy, "block_2d or local_shard")
        _verify_groups(name, multicast, made, found)


def _verify_groups(name: str, multicast: MulticastSpec, made: WorkPartition, found: Sequence[Area]) -> None:
    members: dict[Group, list[int]] = {}
    for number, group in enumerate(multicast.groups):
        members.setdefault(group, []).append(number)
    for group, numbers in members.items():
        x0, y0, x1, y1, x, y, steps = group
        cores = {made.cores[number]: found[number][2] * found[number][3] for number in numbers}
        # Distinct cores of the partition inside the rectangle: it is full when their number is right.
        inside = all(x0 <= column <= x1 and y0 <= row <= y1 for column, row in cores)
        if not inside or len(cores) != (x1 - x0 + 1) * (y1 - y0 + 1):
            _fail(name, "has a rectangle that is not the cores of its group", list(group), f"cores {sorted(cores)[:4]}")
        if len(cores) < 2 or (x, y) not in cores:
            _fail(name, "has a group without a sender or a receiver", list(group), "a sender among several cores")
        if not cores[x, y] == steps == max(cores.values()):
            _fail(name, "has a sender with fewer steps than its group", list(group), f"{max(cores.values())} steps")
        if len({_walk(made, multicast.follows, found[number]) for number in numbers}) != 1:
            _fail(name, "has cores in a group that do not step together", list(group), "the same rows or columns")


def _fail(name: str, problem: str, found: object, expected: str) -> NoReturn:
    key = attrs.MULTICAST
    raise PartitionError(
        Code.PARTITION_INVALID, f"{key} of {name!r} {problem}", subject=key, found=found, expected=expected
    )
