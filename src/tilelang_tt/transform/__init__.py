"""The passes, one file each; ``pipeline.py`` lists them in order.

Each is a TVM pass object.
"""

from .grid_to_persistent_tt import GridToPersistentTT
from .infer_default_tt_schedule import InferDefaultTTSchedule
from .infer_tt_compute import InferTTCompute
from .infer_tt_layout import InferTTLayout
from .infer_tt_storage import InferTTStorage
from .layout_aware_work_partition_tt import LayoutAwareWorkPartitionTT
from .lower_atomic_adds_tt import LowerAtomicAddsTT
from .pipeline import TTPipeline
from .propagate_tt_layout import PropagateTTLayout
from .split_grids_tt import SplitGridsTT
from .verify_tt_partition import VerifyTTPartition

__all__ = [
    "GridToPersistentTT",
    "InferDefaultTTSchedule",
    "InferTTCompute",
    "InferTTLayout",
    "InferTTStorage",
    "LayoutAwareWorkPartitionTT",
    "LowerAtomicAddsTT",
    "PropagateTTLayout",
    "SplitGridsTT",
    "TTPipeline",
    "VerifyTTPartition",
]
