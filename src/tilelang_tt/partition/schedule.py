"""The user's schedule, ``tt.user_schedule``: checked and typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, get_args

from .._plain import INT32_MAX, core_range_tuple, int_tuple, is_int, str_tuple
from ..attrs import DST_TYPE, DYNAMIC_KEY, FLOAT16_AS, GLOBAL, LOCAL_SHARD, MATH_FIDELITY
from ..devices import Core, CoreRange, Device, expand_ranges
from ..engines import DstType, Fidelity
from ..errors import Code, ScheduleError, SourceLocation, nearest
from .policies import CONTIGUOUS, ORDERS, POLICIES, ROW_MAJOR, Named

Mode = Literal["global", "local_shard"]

AUTO = "auto"
_MODES = (GLOBAL, LOCAL_SHARD, AUTO)
_PAIRS = {
    "grid_tiles": "[Mt, Nt]",
    "shard_grid": "[Gy, Gx]",
    "local_shape_tiles": "[Sm, Sn]",
    "core_grid": "[x, y]",
}
_WORDS = {
    MATH_FIDELITY: get_args(Fidelity),
    FLOAT16_AS: ("bfloat16", "float32"),
    DST_TYPE: get_args(DstType),
}
_KEYS = (
    *("partition_mode", *_PAIRS, "runtime_args", "num_cores", "core_ranges", "policy", "order", "multicast"),
    DYNAMIC_KEY,
    *_WORDS,
)


@dataclass(frozen=True)
class UserSchedule:
    """What the user says about the partition; None (or "auto") for what is left to the partitioner.

    Attributes:
        partition_mode: "global", "local_shard", or "auto".
        grid_tiles: (Mt, Nt); must be those of the launch grid.
        shard_grid: (Gy, Gx), shards along M and N.
        local_shape_tiles: (Sm, Sn), work tiles of one shard.
        runtime_args: names of the per-core runtime arguments; must be the canonical ones of the mode in their order.
        num_cores: how many cores may get work.
        core_grid: (x, y), the rectangle of cores at (0, 0) to use.
        core_ranges: the rectangles x0, y0, x1, y1 of cores to use.
        policy: how work tiles are shared out over cores in global mode, a name of :data:`POLICIES`; "auto" leaves mode,
            cores, policy and order to the cost model.
        order: how work tiles are numbered, a name of :data:`ORDERS`: over the plane in global mode, within a shard in
            local_shard mode.
        multicast: the tensors whose blocks one core of a group reads and sends to the others; None for none, or with
            policy "auto" for what is modelled fastest.
        dynamic: symbolic size -> the size that the partition is made for before the real one is known.
        math_fidelity: how many passes the matrix engine makes: "LoFi" (1), "HiFi2", "HiFi3", "HiFi4"; None for the
            fewest that multiply all bits of what the kernel multiplies.
        float16_as: what float16 tensors and on-chip buffers are stored and computed as: "bfloat16" or "float32".
        dst_dtype: what the registers of the engines (DST) hold, sums of products included: "float32" or "bfloat16";
            None for bfloat16 where the kernel sums up in it and has nothing wider, else float32.
    """

    partition_mode: Literal["global", "local_shard", "auto"] = "auto"
    grid_tiles: tuple[int, int] | None = None
    shard_grid: tuple[int, int] | None = None
    local_shape_tiles: tuple[int, int] | None = None
    runtime_args: tuple[str, ...] | None = None
    num_cores: int | None = None
    core_grid: tuple[int, int] | None = None
    core_ranges: tuple[CoreRange, ...] | None = None
    policy: str = "contiguous"
    order: str = "row_major"
    multicast: tuple[str, ...] | None = None
    dynamic: tuple[tuple[str, int], ...] = ()
    math_fidelity: Fidelity | None = None
    float16_as: str | None = None
    dst_dtype: DstType | None = None

    @property
    def is_legacy(self) -> bool:
        """Whether work is shared out as the legacy schedule does it: contiguous runs of row-major tile ids."""
        return self.policy == CONTIGUOUS and self.order == ROW_MAJOR

    def available_cores(self, device: Device) -> tuple[Core, ...]:
        """The cores that core_grid or core_ranges allow, all of ``device`` without them.

        Those of core_ranges come range after range, all others row by row. Raises :class:`ScheduleError`
        (``too-many-cores``) and :class:`DeviceError` (``core-off-device``, ``core-ranges-overlap``).
        """
        if self.core_grid is not None:
            columns, rows = self.core_grid
            check_core_count(columns * rows, len(device.cores), "core_grid", f"device {device.name!r}")
            return expand_ranges(device, [(0, 0, columns - 1, rows - 1)], subject="core_grid")
        if self.core_ranges is not None:
            return expand_ranges(device, self.core_ranges, subject="core_ranges")
        return device.row_major_cores

    def core_set(self, device: Device) -> str:
        """What :meth:`available_cores` are, in words."""
        limits = [key for key in ("core_grid", "core_ranges", "num_cores") if getattr(self, key) is not None]
        return f"device {device.name!r}" + (f" within {' and '.join(limits)}" if limits else "")


def check_core_count(asked: int, available: int, key: str, where: str) -> None:
    """Raise :class:`ScheduleError` (``too-many-cores``) where ``key`` asks for more cores than are available."""
    if asked > available:
        raise ScheduleError(
            Code.TOO_MANY_CORES,
            f"{key} asks for more cores than there are",
            subject=key,
            found=f"{asked} cores",
            expected=f"at most {available}, the cores of {where}",
        )


def parse_user_schedule(raw: Any, location: SourceLocation | None = None) -> UserSchedule:
    """The schedule from its dictionary of plain values; None or an empty one leaves everything to the partitioner.

    Raises :class:`ScheduleError`: ``unknown-key``, ``schedule-malformed`` for values of a wrong type, length or size,
    ``schedule-conflict`` for keys that contradict each other, ``unsupported`` for policies and orders there are not.
    """
    try:
        return _parse({} if raw is None else raw)
    except ScheduleError as error:
        error.at(location)
        raise


def _parse(raw: Any) -> UserSchedule:
    if not isinstance(raw, Mapping):
        _fail("tt.user_schedule", "is not a dictionary", raw, f"a dictionary with keys {', '.join(_KEYS)}")
    for key in raw:
        if key not in _KEYS:
            raise ScheduleError(
                Code.UNKNOWN_KEY,
                f"tt.user_schedule has an unknown key {key!r}",
                subject=str(key),
                found=key,
                expected=f"one of {', '.join(_KEYS)}",
                hint=nearest(str(key), _KEYS),
            )
    if "core_grid" in raw and "core_ranges" in raw:
        raise ScheduleError(
            Code.SCHEDULE_CONFLICT,
            "core_grid and core_ranges both say which cores to use",
            subject="core_grid",
            found=f"core_grid {raw['core_grid']} and core_ranges {raw['core_ranges']}",
            expected="one of them",
        )
    return UserSchedule(
        partition_mode=_mode(raw),
        grid_tiles=_pair(raw, "grid_tiles"),
        shard_grid=_pair(raw, "shard_grid"),
        local_shape_tiles=_pair(raw, "local_shape_tiles"),
        runtime_args=_runtime_args(raw),
        num_cores=_num_cores(raw),
        core_grid=_pair(raw, "core_grid"),
        core_ranges=_core_ranges(raw),
        policy=_named(raw, "policy", POLICIES, "contiguous"),
        order=_named(raw, "order", ORDERS, "row_major"),
        multicast=_buffer_names(raw, "multicast"),
        dynamic=_dynamic(raw),
        **{key: _word(raw, key) for key in _WORDS},
    )


def _word(raw: Mapping[str, Any], key: str) -> Any:
    value = raw.get(key)
    if value is not None and value not in _WORDS[key]:
        _fail(key, "is wrong", repr(value), f"one of {', '.join(_WORDS[key])}", nearest(str(value), _WORDS[key]))
    return value


def _mode(raw: Mapping[str, Any]) -> Any:
    mode = raw.get("partition_mode", AUTO)
    if not isinstance(mode, str) or mode not in _MODES:
        _fail("partition_mode", "is wrong", repr(mode), f"one of {', '.join(_MODES)}", nearest(str(mode), _MODES))
    return mode


def _pair(raw: Mapping[str, Any], key: str) -> tuple[int, int] | None:
    if key not in raw:
        return None
    pair = int_tuple(raw[key], length=2, minimum=1)
    if pair is None:
        _fail(key, "is wrong", raw[key], f"{_PAIRS[key]}, two integers from 1 up")
    return pair[0], pair[1]


def _runtime_args(raw: Mapping[str, Any]) -> tuple[str, ...] | None:
    if "runtime_args" not in raw:
        return None
    names = str_tuple(raw["runtime_args"])
    if names is None:
        _fail("runtime_args", "is wrong", raw["runtime_args"], "a list of argument names")
    return names


def _buffer_names(raw: Mapping[str, Any], key: str) -> tuple[str, ...] | None:
    if key not in raw:
        return None
    names = str_tuple(raw[key])
    if names is None or len(set(names)) != len(names):
        _fail(key, "is wrong", raw[key], "a list of tensor names, each once")
    return names


def _num_cores(raw: Mapping[str, Any]) -> int | None:
    if "num_cores" not in raw:
        return None
    if not is_int(raw["num_cores"], minimum=1):
        _fail("num_cores", "is wrong", raw["num_cores"], "an integer from 1 up")
    return raw["num_cores"]


def _core_ranges(raw: Mapping[str, Any]) -> tuple[CoreRange, ...] | None:
    if "core_ranges" not in raw:
        return None
    ranges = core_range_tuple(raw["core_ranges"])
    if ranges is None:
        expected = "rectangles [x0, y0, x1, y1] with 0 <= x0 <= x1 and 0 <= y0 <= y1"
        _fail("core_ranges", "is wrong", raw["core_ranges"], expected)
    return ranges


def _dynamic(raw: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    sizes = raw.get(DYNAMIC_KEY, {})
    expected = f"a dictionary from symbolic sizes to integers from 1 to {INT32_MAX}"
    if not isinstance(sizes, Mapping):
        _fail(DYNAMIC_KEY, "is wrong", sizes, expected)
    for name, size in sizes.items():
        if not isinstance(name, str) or not is_int(size, minimum=1) or size > INT32_MAX:
            _fail(DYNAMIC_KEY, "is wrong", f"{name}: {size}", expected)
    return tuple(sizes.items())


def _named(raw: Mapping[str, Any], key: str, known: Mapping[str, tuple[int, ...]], default: str) -> str:
    value = raw.get(key, default)
    names = tuple(known)
    if not isinstance(value, str):
        _fail(key, "is wrong", value, f"one of {', '.join(names)}")
    named = Named.parse(value)
    if named is None or named.kind not in known:
        raise ScheduleError(
            Code.UNSUPPORTED,
            f"{key} {value!r} is not available",
            subject=key,
            found=repr(value),
            expected=f"one of {', '.join(names)}",
            hint=nearest(value.partition("(")[0], names),
        )
    if len(named.sizes) not in known[named.kind]:
        counts = " or ".join(map(str, known[named.kind]))
        _fail(key, "has a wrong number of sizes in parentheses", repr(value), f"{counts} after {named.kind}")
    return str(named)


def _fail(key: str, message: str, found: object, expected: str, hint: str | None = None) -> NoReturn:
    raise ScheduleError(
        Code.SCHEDULE_MALFORMED, f"{key} {message}", subject=key, found=found, expected=expected, hint=hint
    )
