"""Shared fixtures: running passes on one kernel, and reading what they wrote.

TileLang is imported where it is needed: the device tests run where it is not installed.
"""

import pytest


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
