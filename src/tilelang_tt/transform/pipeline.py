"""The whole pass order, from an annotated TileLang function to a verified persistent one."""

from __future__ import annotations

from tilelang import tvm

from ..devices import Device
from .grid_to_persistent_tt import GridToPersistentTT
from .infer_default_tt_schedule import InferDefaultTTSchedule
from .infer_tt_compute import InferTTCompute
from .infer_tt_layout import InferTTLayout
from .infer_tt_storage import InferTTStorage
from .layout_aware_work_partition_tt import LayoutAwareWorkPartitionTT
from .lower_atomic_adds_tt import LowerAtomicAddsTT
from .propagate_tt_layout import PropagateTTLayout
from .split_grids_tt import SplitGridsTT
from .verify_tt_partition import VerifyTTPartition


def tt_passes(device: str | Device | None = None) -> list[tvm.transform.Pass]:
    """Every pass, in order."""
    return [
        SplitGridsTT(),
        LowerAtomicAddsTT(),
        InferTTStorage(),
        InferDefaultTTSchedule(device),
        InferTTLayout(),
        PropagateTTLayout(),
        InferTTCompute(),
        LayoutAwareWorkPartitionTT(device),
        VerifyTTPartition(device),
        GridToPersistentTT(),
        VerifyTTPartition(device),
    ]


def TTPipeline(device: str | Device | None = None) -> tvm.transform.Pass:
    """All passes as one."""
    return tvm.transform.Sequential(tt_passes(device), name="tl.tt.Pipeline")
