"""What importing the package brings in, each in a process of its own."""

import subprocess
import sys

import pytest

HEAVY = ("tilelang", "tvm", "torch", "ttnn")


def imported_by(code):
    """Which of the heavy packages ``code`` imports, in a Python where importing any of them fails."""
    guard = f"import sys\nfor name in {HEAVY}: sys.modules[name] = None\n"
    result = subprocess.run([sys.executable, "-c", guard + code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "module",
    [
        "tilelang_tt",
        "tilelang_tt.runtime",
        "tilelang_tt.runtime.call",
        "tilelang_tt.runtime.emulator",
        "tilelang_tt.runtime.ttnn_executor",
        "tilelang_tt.runtime.ttnn_executor.call",
        "tilelang_tt.runtime.__main__",
        "tilelang_tt.program",
        "tilelang_tt.layout",
        "tilelang_tt.partition",
        "tilelang_tt.devices",
    ],
)
def test_modules_import_without_tilelang_torch_and_ttnn(module):
    imported_by(f"import {module}")


def test_importing_the_package_does_not_import_what_is_installed():
    code = f"import sys, tilelang_tt.runtime.ttnn_executor; print([n for n in {HEAVY} if n in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_programs_run_without_tilelang_torch_and_ttnn(tmp_path):
    from emulator_programs import BF16, COPY, stream_program, tensor

    from tilelang_tt.program import Program

    specs = tensor("A", (32, 64), BF16, "in"), tensor("B", (32, 64), BF16, "out")
    Program(*stream_program([specs[0]], specs[1], COPY)).save(tmp_path / "program")
    imported_by(
        f"""
import ml_dtypes, numpy as np
from tilelang_tt.runtime import load
a, b = np.ones((32, 64), ml_dtypes.bfloat16), np.zeros((32, 64), ml_dtypes.bfloat16)
load({str(tmp_path / "program")!r})(a, b)
assert (a == b).all()
"""
    )
