"""What the tests of devices, layouts and partitions share: random cases, and a slow, obvious oracle of ownership."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from hypothesis import strategies as st

from tilelang_tt.devices import Device
from tilelang_tt.errors import Code, TTError
from tilelang_tt.layout import parse_user_layout, project
from tilelang_tt.partition import PlacedBuffer


def device_with(cores, **fields):
    """A device with just these cores."""
    rates = dict.fromkeys(("dram_bytes_per_cycle", "noc_link_bytes_per_cycle", "core_port_bytes_per_cycle"), 1.0)
    values = {"name": "test", "arch": "wormhole", "l1_bytes": 1_000_000, "dram_banks": 8, "clock_ghz": 1.0, **rates}
    return Device(cores=tuple(cores), **{**values, **fields})


def rectangle(columns, rows):
    """The cores of a full grid."""
    return [(x, y) for y in range(rows) for x in range(columns)]


@contextmanager
def refused(code: Code, *texts: str, subject: str | None = None):
    """Expect a TTError with this code whose whole text contains all of ``texts``."""
    with pytest.raises(TTError) as caught:
        yield caught
    assert caught.value.code is code, str(caught.value)
    for text in texts:
        assert text in str(caught.value)
    if subject is not None:
        assert caught.value.subject == subject


@st.composite
def devices(draw):
    """Any device: a grid with any of its cores gone."""
    columns, rows = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    cores = rectangle(columns, rows)
    gone = draw(st.sets(st.sampled_from(cores), max_size=len(cores) - 1))
    return device_with([core for core in cores if core not in gone])


@st.composite
def sharded_buffers(draw, name="C", written=True, **options):
    """(buffer, grid_tiles, shard): a matrix with M and N axes, sharded in L1 in any way that lines up."""
    block = draw(st.sampled_from([(32, 32), (64, 32), (128, 128)]))
    tiles = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    shape = tuple(size * step - draw(st.integers(0, step - 1)) for size, step in zip(tiles, block, strict=True))
    shard_tiles = tuple(draw(st.integers(1, size)) for size in tiles)
    nd_shard = {
        "axes": ["M", "N"],
        "grid": [-(-size // part) for size, part in zip(tiles, shard_tiles, strict=True)],
        "shard_shape_elems": [part * step for part, step in zip(shard_tiles, block, strict=True)],
        "order": draw(st.sampled_from(["row_major", "col_major"])),
        "orientation": draw(st.sampled_from(["row_major", "col_major"])),
        **options,
    }
    return placed(name, nd_shard, shape, ("M", "N"), block, tiles, written=written), tiles, nd_shard


def placed(name, nd_shard, shape, roles, block, tiles, *, written=False, memory="L1", batch=None):
    """A sharded buffer as the partitioner gets it."""
    raw = {"memory": memory, "layout": "sharded", "nd_shard": nd_shard}
    layout = parse_user_layout(name, raw, shape, "bfloat16")
    projection = project(name, layout, shape, roles, block, tiles, batch)
    return PlacedBuffer(name, written, layout.memory, layout.layout, projection)


def oracle_contiguous(grid_tiles, cores):
    """Every tile -> core: cut the list of tiles into runs, longer ones first, for the cores in reading order."""
    tiles = [(m, n) for m in range(grid_tiles[0]) for n in range(grid_tiles[1])]
    cores = sorted(cores, key=lambda core: (core[1], core[0]))
    owner = {}
    for number, core in enumerate(cores):
        share = len(tiles) // len(cores) + (1 if number < len(tiles) % len(cores) else 0)
        for tile in tiles[len(owner) : len(owner) + share]:
            owner[tile] = core
    return owner


def oracle_shard_cores(grid, device, order="row_major", orientation="row_major", core_ranges=None):
    """Every shard (sy, sx) -> core, or None when there are too few cores."""
    gy, gx = grid
    shards = [(sy, sx) for sy in range(gy) for sx in range(gx)]
    direct = {(sy, sx): (sx, sy) if order == orientation else (sy, sx) for sy, sx in shards}
    if core_ranges is None and all(core in device.cores for core in direct.values()):
        return direct
    if order == "col_major":
        shards.sort(key=lambda shard: (shard[1], shard[0]))
    by_column = orientation == "col_major"
    walk = []
    for x0, y0, x1, y1 in core_ranges or [(0, 0, *device.grid)]:
        inside = [(x, y) for x, y in device.cores if x0 <= x <= x1 and y0 <= y <= y1]
        walk += sorted(inside, key=lambda core: core if by_column else core[::-1])
    return dict(zip(shards, walk, strict=False)) if len(walk) >= len(shards) else None


def oracle_sharded(grid_tiles, shard_tiles, shard_cores):
    """Every tile -> core: that of the shard it lies in."""
    return {
        (m, n): shard_cores[m // shard_tiles[0], n // shard_tiles[1]]
        for m in range(grid_tiles[0])
        for n in range(grid_tiles[1])
    }


def assert_is(partition, owner, device):
    """The partition is exactly ``owner``: by owner(), by tiles() of every core, and by its own verifier."""
    assert {tile: partition.owner(*tile) for tile in owner} == owner
    visited = {}
    for core in device.cores:
        for tile in partition.tiles(core):
            assert tile not in visited, f"{tile} visited twice"
            visited[tile] = core
    assert visited == owner
    assert set(partition.cores) == set(owner.values())
    partition.verify(device)
