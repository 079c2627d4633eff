"""Tensor layouts: the user's dictionaries, checked and typed, and their projection onto the work plane."""

from .constructors import block_sharded, default_axes, height_sharded, interleaved, nd_sharded, width_sharded
from .parse import parse_user_layout
from .placement import ShardHolders, place_shards, shard_holders
from .projection import Misfit, Projection, project
from .shards import StoredShards, stored_shards
from .types import TILE, BufferLayout, Distribution, MajorOrder, Memory, NdShard, Placement

__all__ = [
    "TILE",
    "BufferLayout",
    "Distribution",
    "MajorOrder",
    "Memory",
    "Misfit",
    "NdShard",
    "Placement",
    "Projection",
    "ShardHolders",
    "StoredShards",
    "block_sharded",
    "default_axes",
    "height_sharded",
    "interleaved",
    "nd_sharded",
    "parse_user_layout",
    "place_shards",
    "project",
    "shard_holders",
    "stored_shards",
    "width_sharded",
]
