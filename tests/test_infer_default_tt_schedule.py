"""InferDefaultTTSchedule writes the legacy schedule where there is none, and keeps what is there."""

import kernels
import pytest

import tilelang_tt as tt
from tilelang_tt.errors import Code, ScheduleError
from tilelang_tt.transform import InferDefaultTTSchedule


def gemm(m=256, n=512):
    return kernels.gemm.get_tir(m, n, 64, 32, 32, 32)


def test_contiguous_row_major_ranges_over_all_cores(run, plain):
    written = plain(run(gemm(), InferDefaultTTSchedule("wormhole_n150")))
    assert (written["tt_grid_x"], written["tt_grid_y"], written["tt_grid_z"]) == (16, 8, 1)
    assert written["tt_num_cores"] == 64
    assert written["tt_tiles_per_core"] == [[2 * core, 2] for core in range(64)]


def test_the_first_cores_take_the_remainder(run, plain):
    written = plain(run(gemm(32 * 7, 32 * 10), InferDefaultTTSchedule("wormhole_n150")))
    assert written["tt_tiles_per_core"][:7] == [[0, 2], [2, 2], [4, 2], [6, 2], [8, 2], [10, 2], [12, 1]]
    assert written["tt_tiles_per_core"][-1] == [69, 1]


def test_cores_without_work_do_not_appear(run, plain):
    written = plain(run(gemm(64, 64), InferDefaultTTSchedule("blackhole_p150")))
    assert written["tt_num_cores"] == 4


def test_batches_count_along_z(run, plain):
    func = kernels.batched_gemm.get_tir(3, 64, 96, 64, 32, 32, 32)
    written = plain(run(func, InferDefaultTTSchedule()))
    assert (written["tt_grid_x"], written["tt_grid_y"], written["tt_grid_z"]) == (3, 2, 3)
    assert written["tt_num_cores"] == 18


def test_a_given_schedule_is_kept(run, plain):
    func = gemm(64, 64).with_attr({"tt_tiles_per_core": [[0, 3], [3, 1]], "tt_num_cores": 2})
    written = plain(run(func, InferDefaultTTSchedule()))
    assert written["tt_tiles_per_core"] == [[0, 3], [3, 1]]
    assert written["tt_num_cores"] == 2
    assert written["tt_grid_x"] == 2


def test_a_given_number_of_cores_is_kept(run, plain):
    written = plain(run(gemm(64, 64).with_attr("tt_num_cores", 2), InferDefaultTTSchedule()))
    assert written["tt_tiles_per_core"] == [[0, 2], [2, 2]]


def test_the_users_num_cores_is_honoured(run, plain):
    func = tt.annotate_tt_schedule(gemm(64, 64), {"num_cores": 3})
    assert plain(run(func, InferDefaultTTSchedule()))["tt_tiles_per_core"] == [[0, 2], [2, 1], [3, 1]]


def test_a_malformed_schedule_is_refused(run):
    with pytest.raises(ScheduleError) as refused:
        run(gemm(64, 64).with_attr("tt_tiles_per_core", [[0, 3, 1]]), InferDefaultTTSchedule())
    assert refused.value.code is Code.SCHEDULE_MALFORMED
    assert "tt_tiles_per_core" in str(refused.value)


def test_the_module_given_is_left_as_it_was(run, plain):
    func = gemm()
    run(func, InferDefaultTTSchedule())
    assert plain(func) == {}
