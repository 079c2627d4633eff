"""The package's one exception family.

Every rejected input raises a :class:`TTError` (a ``ValueError``) with a stable :class:`Code`, what is at fault, what
was found, what was expected and a hint; where the kernel's IR carries a source span, its file and line too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum


class Code(str, Enum):
    """Stable error codes.

    A code is never renamed or given another meaning.
    """

    # layouts
    UNKNOWN_KEY = "unknown-key"
    UNKNOWN_BUFFER = "unknown-buffer"
    BAD_VALUE = "bad-value"
    ND_SHARD_MISSING = "nd-shard-missing"
    ND_SHARD_MALFORMED = "nd-shard-malformed"
    ND_SHARD_UNEXPECTED = "nd-shard-unexpected"
    AXES_WITHOUT_MN = "axes-without-mn"
    AXES_MISMATCH = "axes-mismatch"
    SHARD_UNALIGNED = "shard-unaligned"
    SHARD_NOT_WORK_TILES = "shard-not-work-tiles"
    SHARD_GRID_COVERAGE = "shard-grid-coverage"
    SHARD_GRID_MISMATCH = "shard-grid-mismatch"
    TOO_MANY_SHARDS = "too-many-shards"
    HALO_UNSUPPORTED = "halo-unsupported"
    LAYOUT_UNSUPPORTED = "layout-unsupported"
    # devices and core ranges
    UNKNOWN_DEVICE = "unknown-device"
    DEVICE_MALFORMED = "device-malformed"
    CORE_OFF_DEVICE = "core-off-device"
    CORE_RANGES_OVERLAP = "core-ranges-overlap"
    # schedules
    TOO_MANY_CORES = "too-many-cores"
    SCHEDULE_INCOMPLETE = "schedule-incomplete"
    SCHEDULE_MALFORMED = "schedule-malformed"
    SCHEDULE_CONFLICT = "schedule-conflict"
    GRID_TILES_MISMATCH = "grid-tiles-mismatch"
    LEGACY_RANGES = "legacy-ranges"
    # partitions
    NUMBER_TOO_LARGE = "number-too-large"
    PARTITION_INVALID = "partition-invalid"
    PERSISTENT_INVALID = "persistent-invalid"
    METADATA_MISSING = "metadata-missing"
    # lowering
    UNSUPPORTED = "unsupported"
    L1_CAPACITY = "l1-capacity"
    # programs and execution
    PROGRAM_MALFORMED = "program-malformed"
    ARGUMENT_COUNT = "argument-count"
    ARGUMENT_SHAPE = "argument-shape"
    ARGUMENT_DTYPE = "argument-dtype"
    ARGUMENT_LAYOUT = "argument-layout"
    TOOLCHAIN = "toolchain"
    KERNEL_FAULT = "kernel-fault"
    DEADLOCK = "deadlock"
    TIMEOUT = "timeout"
    EXECUTOR_UNAVAILABLE = "executor-unavailable"
    DEVICE_MISMATCH = "device-mismatch"
    DEVICE_FAULT = "device-fault"


@dataclass(frozen=True)
class SourceLocation:
    """A place in the user's kernel source: file path and 1-based line."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    @classmethod
    def parse(cls, text: str | None) -> SourceLocation | None:
        """The location that prints as ``text``; None for None."""
        if text is None:
            return None
        file, _, line = text.rpartition(":")
        return cls(file, int(line))


class TTError(ValueError):
    """A rejected input.

    Subclasses say which stage rejected it; ``code`` says why and is stable. An error can be rebuilt from its own text
    alone (``type(error)(str(error))``), which is how it crosses pickling and TVM's foreign-function boundary unharmed.

    Attributes:
        code: the stable reason.
        message: what is wrong, in one sentence.
        subject: the buffer, key, core or construct at fault, or None.
        found, expected: what was found and what was expected, as text, or None.
        hint: what to do about it, or None.
        location: where in the kernel's source, or None where the IR does not say.
    """

    def __init__(
        self,
        code: Code | str,
        message: str | None = None,
        *,
        subject: str | None = None,
        found: object = None,
        expected: object = None,
        hint: str | None = None,
        location: SourceLocation | None = None,
    ) -> None:
        if message is None:
            code, message, details = _parse(str(code))
            subject, found, expected, hint = (details.get(name) for name in ("subject", "found", "expected", "hint"))
            location = SourceLocation.parse(details.get("at"))
        self.code = Code(code)
        self.message = message
        self.subject = subject
        self.found = None if found is None else str(found)
        self.expected = None if expected is None else str(expected)
        self.hint = hint
        self.location = location
        super().__init__(self._render())

    def _render(self) -> str:
        details = (
            ("subject", self.subject),
            ("found", self.found),
            ("expected", self.expected),
            ("hint", self.hint),
            ("at", self.location),
        )
        lines = [f"[{self.code.value}] {self.message}"]
        for name, value in details:
            if value is not None:
                lines.append(f"  {name}: " + str(value).replace("\n", "\n    "))
        return "\n".join(lines)

    def at(self, location: SourceLocation | None) -> TTError:
        """The same error with a source location, kept as it is when it has one already."""
        if location is not None and self.location is None:
            self.location = location
            self.args = (self._render(),)
        return self


_HEAD = re.compile(r"\[([a-z0-9-]+)\] (.*)", re.DOTALL)
_DETAIL = re.compile(r"\n  (subject|found|expected|hint|at): ")


def _parse(text: str) -> tuple[Code, str, dict[str, str]]:
    """Code, message and details of a rendered error."""
    head, *rest = _DETAIL.split(text)
    match = _HEAD.fullmatch(head)
    if match is None:
        return Code.BAD_VALUE, text, {}
    details = {name: value.replace("\n    ", "\n") for name, value in zip(rest[::2], rest[1::2], strict=True)}
    return Code(match[1]), match[2], details


class LayoutError(TTError):
    """A tensor layout (``tt.user_layout``) was rejected."""


class DeviceError(TTError):
    """A device description or a set of cores was rejected."""


class ScheduleError(TTError):
    """A schedule (``tt.user_schedule`` or the legacy attributes) was rejected."""


class PartitionError(TTError):
    """A work partition is impossible, or an annotated function breaks its invariants."""


class UnsupportedError(TTError):
    """The kernel uses a construct that cannot be lowered to Tensix."""


class CapacityError(TTError):
    """The program needs more L1 than a core has."""


class ProgramError(TTError):
    """A saved program is malformed, or a program was called with wrong arguments."""


class ExecutionError(TTError):
    """An executor could not run a program, or its kernels did something wrong."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """A hint naming the known word closest to ``name``, or None when none is close."""
    close = get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else None


FAMILY: tuple[type[TTError], ...] = (
    TTError,
    LayoutError,
    DeviceError,
    ScheduleError,
    PartitionError,
    UnsupportedError,
    CapacityError,
    ProgramError,
    ExecutionError,
)
