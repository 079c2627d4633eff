"""Tensor layouts: the user's dictionaries, checked and typed, and their projection onto the work plane."""

from .constructors import block_sharded, height_sharded, interleaved, width_sharded
from .parse import parse_user_layout
from .placement import place_shards
from .projection import Misfit, Projection, project
from .shards import MatrixShards, matrix_shards
from .types import TILE, BufferLayout, MajorOrder, Memory, NdShard, Placement

__all__ = [
    "TILE",
    "BufferLayout",
    "MajorOrder",
    "MatrixShards",
    "Memory",
    "Misfit",
    "NdShard",
    "Placement",
    "Projection",
    "block_sharded",
    "height_sharded",
    "interleaved",
    "matrix_shards",
    "parse_user_layout",
    "place_shards",
    "project",
    "width_sharded",
]
