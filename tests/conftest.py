"""Shared fixtures: running passes on one kernel, and reading what they wrote.

TileLang is imported where it is needed: the device tests run where it, and hypothesis, are not installed.
"""

import contextlib

import pytest

with contextlib.suppress(ModuleNotFoundError):
    from hypothesis import settings

    # Nothing is asserted of how long an example takes: machines are slow at times.
    settings.register_profile("any machine", deadline=None)
    settings.load_profile("any machine")


@pytest.fixture
def run():
    """``run(func, *passes)``: ``func`` after ``passes``."""
    from tilelang import tvm

    def run_passes(func, *passes):
        return tvm.transform.Sequential(list(passes))(tvm.IRModule({"main": func}))["main"]

    return run_passes


@pytest.fixture
def plain():
    """``plain(func)``: the function's tt attributes as plain values."""
    from tilelang_tt.language.plain import plain_attrs

    return plain_attrs
