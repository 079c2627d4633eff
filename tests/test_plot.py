"""Pictures of partitions."""

from __future__ import annotations

import kernels
import pytest
from partition_support import refused

import tilelang_tt as tt
from tilelang_tt.cli import main
from tilelang_tt.errors import Code
from tilelang_tt.layout import block_sharded
from tilelang_tt.partition import WorkGrid, partition

pytest.importorskip("matplotlib")
from tilelang_tt.plot import core_map, owner_map, save


@pytest.fixture(scope="module")
def program():
    func = kernels.gemm.get_tir(256, 256, 64, 32, 32, 32)
    return tt.compile(func, layout={"C": block_sharded((256, 256), (4, 2))})


@pytest.mark.parametrize("by", ["tiles", "bytes"])
def test_the_command_draws_a_saved_program(program, tmp_path, by):
    program.save(tmp_path / "saved")
    pictures = [tmp_path / "first.svg", tmp_path / "second.svg"]
    for picture in pictures:
        assert main(["plot", str(tmp_path / "saved"), str(picture), "--by", by]) == 0
    first, second = (picture.read_text() for picture in pictures)
    assert first == second
    assert "shards of C" in first
    assert ("work tiles" if by == "tiles" else "MB read") in first


def test_every_core_with_work_has_its_number(program):
    explanation = program.explain()
    figure = core_map([("one", explanation.chosen)], program.spec.device, "tiles")
    assert [text.get_text() for text in figure.axes[0].texts].count("8") == 8
    assert len(figure.axes[0].texts) == 64


def test_the_plane_tile_by_tile(tmp_path, program):
    figure = owner_map([("one", program.partition), ("two", program.partition)])
    save(figure, tmp_path / "owners.png")
    assert (tmp_path / "owners.png").stat().st_size > 1000
    with refused(Code.BAD_VALUE, subject="grid_tiles"):
        owner_map([("large", partition(WorkGrid(1000, 1000), 1, program.spec.device))])
