"""The work partition: its engine, the schedules that steer it, and the partition itself with its verifier."""

from .candidate import Candidate
from .cost import Access, Cost, cost_of
from .engine import partition
from .grid import WorkGrid
from .legacy import LegacySchedule, default_legacy_schedule, parse_legacy_schedule
from .placed_buffers import PlacedBuffer
from .planner import Plan, plan
from .relaunch import launch_cores, repartition
from .schedule import UserSchedule, parse_user_schedule
from .shard_maps import ShardMap
from .verify_inputs import verify_buffers, verify_schedule
from .work_partition import WorkPartition

__all__ = [
    "Access",
    "Candidate",
    "Cost",
    "LegacySchedule",
    "PlacedBuffer",
    "Plan",
    "ShardMap",
    "UserSchedule",
    "WorkGrid",
    "WorkPartition",
    "cost_of",
    "default_legacy_schedule",
    "launch_cores",
    "parse_legacy_schedule",
    "parse_user_schedule",
    "partition",
    "plan",
    "repartition",
    "verify_buffers",
    "verify_schedule",
]
