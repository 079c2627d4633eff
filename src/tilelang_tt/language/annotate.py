"""The two annotations of the user: where tensors live, and how the work is to be scheduled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from .. import attrs

Func = TypeVar("Func")


def annotate_tt_layout(func: Func, layout: Mapping[str, Mapping[str, Any]]) -> Func:
    """``func`` (a PrimFunc) with ``tt.user_layout``: tensor parameter name -> layout dictionary.

    A layout dictionary holds ``memory`` ("DRAM" or "L1"), ``layout`` ("interleaved" or "sharded"), ``tile_shape``,
    ``dtype`` and, when sharded, ``nd_shard`` (``axes``, ``grid``, ``shard_shape_elems``, ``order``, ``orientation``,
    ``core_ranges``); ``tilelang_tt.layout`` has constructors. Annotating again adds to or replaces what was said of a
    buffer. The function given is not changed. InferTTLayout checks the values.
    """
    return _merged(func, attrs.USER_LAYOUT, dict(layout))


def annotate_tt_schedule(func: Func, schedule: Mapping[str, Any]) -> Func:
    """``func`` (a PrimFunc) with ``tt.user_schedule``: ``partition_mode`` ("global", "local_shard" or "auto"),
    ``grid_tiles``, ``shard_grid``, ``local_shape_tiles``, ``runtime_args``, ``num_cores``, ``core_ranges``, ``policy``,
    ``order``, ``multicast``.

    Annotating again adds to or replaces what was said. The function given is not changed. LayoutAwareWorkPartitionTT
    checks the values.
    """
    return _merged(func, attrs.USER_SCHEDULE, dict(schedule))


def _merged(func: Func, key: str, added: dict[str, Any]) -> Func:
    from .plain import plain_attrs, to_plain

    prim_func: Any = func
    before = plain_attrs(prim_func).get(key, {})
    return prim_func.with_attr(key, {**before, **to_plain(added)})
