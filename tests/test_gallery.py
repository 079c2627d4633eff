"""Every kernel of the gallery against torch on the emulator: all of its shapes, in both modes, and on one core."""

import importlib
import sys
from pathlib import Path

import pytest

GALLERY = Path(__file__).parent.parent / "examples" / "gallery"
sys.path.append(str(GALLERY))
partitions = importlib.import_module("example").partitions

THEMES = sorted(path.stem for path in GALLERY.glob("*.py") if path.stem != "example")
EXAMPLES = [
    pytest.param(example, id=f"{theme}-{example.name}")
    for theme in THEMES
    for example in importlib.import_module(theme).EXAMPLES
]
RUNS = [
    pytest.param(example, shape, mode, id=f"{param.id}-{'x'.join(map(str, shape))}-{mode}")
    for param in EXAMPLES
    for example in param.values
    for shape in example.shapes
    for mode in (("global", "local_shard") if example.sharded else ("global",))
]


@pytest.mark.parametrize(("example", "shape", "mode"), RUNS)
def test_against_torch(example, shape, mode):
    programs = example.programs(shape, sharded=mode == "local_shard")
    assert partitions(programs)[0].mode == mode
    assert example.run(programs) <= example.tolerance


@pytest.mark.parametrize("example", EXAMPLES)
def test_all_blocks_on_one_core(example):
    programs = example.programs(example.shapes[0], schedule={"num_cores": 1})
    assert all(len(partition.core_ranges) == 1 for partition in partitions(programs))
    assert example.run(programs) <= example.tolerance


def test_every_kernel_of_the_gallery_is_run():
    for theme in THEMES:
        module = importlib.import_module(theme)
        run = {kernel.func.__name__ for example in module.EXAMPLES for kernel in example.kernels}
        assert run == {name for name, value in vars(module).items() if hasattr(value, "get_tir")}
