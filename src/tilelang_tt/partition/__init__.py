"""The work partition: its engine, the schedules that steer it, and the partition itself with its verifier."""

from .engine import PlacedBuffer, partition
from .grid import WorkGrid
from .legacy import LegacySchedule, default_legacy_schedule, parse_legacy_schedule
from .schedule import UserSchedule, parse_user_schedule
from .shard_maps import ShardMap
from .work_partition import WorkPartition

__all__ = [
    "LegacySchedule",
    "PlacedBuffer",
    "ShardMap",
    "UserSchedule",
    "WorkGrid",
    "WorkPartition",
    "default_legacy_schedule",
    "parse_legacy_schedule",
    "parse_user_schedule",
    "partition",
]
