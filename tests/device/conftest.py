"""Device tests run where there is a Tenstorrent card, or TT_METAL_SIMULATOR names a simulated chip."""

import importlib.util
import os
from pathlib import Path

import pytest

OPTION = "--programs"
COMPILE = "python tests/device/compile_programs.py OUT"


def pytest_addoption(parser):
    parser.addoption(OPTION, type=Path, help=f"the programs to run, as written by `{COMPILE}`")


def missing_device():
    """Why no device test can run, or None."""
    if importlib.util.find_spec("ttnn") is None:
        return "ttnn is not installed"
    if not os.environ.get("TT_METAL_SIMULATOR") and not Path("/dev/tenstorrent").exists():
        return "there is no Tenstorrent card (/dev/tenstorrent) and TT_METAL_SIMULATOR is not set"
    return None


def pytest_collection_modifyitems(items):
    reason = missing_device()
    if reason is None:
        return
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_generate_tests(metafunc):
    if "case" not in metafunc.fixturenames:
        return
    # Without its conftest being an initial one, pytest does not know the option.
    directory = metafunc.config.getoption(OPTION, default=None)
    cases = sorted(path.parent for path in directory.glob("*/*/program")) if directory else []
    if cases:
        metafunc.parametrize("case", cases, ids=lambda path: f"{path.parent.name}/{path.name}")
    else:
        reason = f"no programs in {directory}" if directory else f"no {OPTION}: first run `{COMPILE}`"
        metafunc.parametrize("case", [pytest.param(None, marks=pytest.mark.skip(reason=reason))], ids=["none"])


@pytest.fixture(scope="module")
def device():
    """An open ttnn device."""
    from tilelang_tt.runtime.ttnn_executor.devices import close_device, current_device

    yield current_device()
    close_device()
