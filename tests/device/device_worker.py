"""Runs saved programs on the device, one per line of standard input; results go, as JSON lines, to a file descriptor.

A process of its own, because a kernel that hangs or stops a chip takes the process that runs it along.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from tilelang_tt.errors import TTError
from tilelang_tt.formats import BLOCK_FORMATS, TILE
from tilelang_tt.program import Program
from tilelang_tt.program.spec import TensorSpec
from tilelang_tt.runtime import load
from tilelang_tt.runtime.call import call, shapes_of
from tilelang_tt.runtime.tiles import dtype_of
from tilelang_tt.runtime.ttnn_executor import call as executor
from tilelang_tt.runtime.ttnn_executor.devices import close_device, current_device, device_of
from tilelang_tt.runtime.ttnn_executor.layouts import memory_config
from tilelang_tt.runtime.ttnn_executor.versions import ttnn_api

RUNS = 2
"""Runs of each program: the second finds it cached, and circular buffers as the first left them."""


def tensor(spec, arrays):
    """The array for a parameter: an input's own, or NaN (the least int32), which no kernel may leave in an output."""
    if spec.name in arrays:
        return arrays[spec.name].view(dtype_of(spec.dtype))
    dtype = dtype_of(spec.dtype)
    return np.full(spec.host_shape, np.iinfo(dtype).min if dtype.kind == "i" else np.nan, dtype)


def upload_among_garbage(spec: TensorSpec, array: np.ndarray, device: Any) -> Any:
    """The executor's upload, but with padding that no kernel may use: no number, or a large integer."""
    ttnn = ttnn_api().ttnn
    shape = (1, *spec.shape) if len(spec.shape) == 1 else spec.shape
    stored = (*shape[:-2], *(-(-size // TILE) * TILE for size in shape[-2:]))
    whole_numbers = spec.data_format in ("Int32", "UInt32")
    padded = np.full(stored, 1 << 20 if whole_numbers else np.nan, np.int32 if whole_numbers else np.float32)
    padded[..., : shape[-2], : shape[-1]] = array.reshape(shape)
    if spec.data_format in BLOCK_FORMATS:
        # Elements share exponents with their neighbours, so these are repeated: larger ones would change them.
        widths = [(0, whole - size) for whole, size in zip(stored, shape, strict=True)]
        padded = np.pad(array.reshape(shape).astype(np.float32), widths, mode="edge")
    host = ttnn.Tensor(padded, data_type=ttnn_api().data_format(spec.data_format), layout=ttnn.TILE_LAYOUT)
    return ttnn.reshape(host, ttnn.Shape(shape), ttnn.Shape(stored)).to(device, memory_config(spec))


def run(case: Path) -> dict:
    """All calls of a case: the first, and those with tensors of other sizes."""
    program, device = load(case / "program"), current_device()
    result = run_once(program, case / "tensors.npz")
    compiled = device.num_program_cache_entries()
    for path in sorted(case.glob("tensors[0-9]*.npz")):
        again = run_once(program, path)
        result["errors"] |= {f"{name} of {path.stem}": error for name, error in again["errors"].items()}
        result["repeatable"] &= again["repeatable"]
    return {**result, "compiled_again": device.num_program_cache_entries() - compiled}


def run_once(program: Program, path: Path) -> dict:
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    given = [arrays.get(spec.name, arrays.get(f"expected.{spec.name}")) for spec in program.spec.tensors]
    tensors = [tensor(spec, arrays) for spec in program.spec_for(shapes_of(program.spec, given)).tensors]
    returned = program.spec.out_idx
    outcomes = []
    for _ in range(RUNS):
        for i, spec in enumerate(program.spec.tensors):
            if spec.direction == "inout" and spec.name in arrays:
                tensors[i] = tensor(spec, arrays).copy()
        result, _ = call(program, [x for i, x in enumerate(tensors) if i not in returned], executor="ttnn")
        if returned:
            tensors[returned[0]] = result
        outcomes.append([x.copy() for x in tensors])
    names = [spec.name for spec in program.spec.tensors]
    errors = {}
    for name in (key.removeprefix("expected.") for key in arrays if key.startswith("expected.")):
        index, want = names.index(name), arrays[f"expected.{name}"].astype(np.float64)
        found = outcomes[0][index].astype(np.float64)
        error = (np.abs(found - want) - float(arrays["rounding"]) * np.abs(want)).max() / np.abs(want).max()
        errors[name] = float(error) if np.isfinite(found).all() else float("inf")
    same = all(x.tobytes() == y.tobytes() for x, y in zip(outcomes[0], outcomes[-1], strict=True))
    return {"errors": errors, "tolerance": float(arrays["tolerance"]), "repeatable": same}


def main() -> None:
    results = os.fdopen(int(sys.argv[1]), "w", buffering=1)

    def answer(values: dict) -> None:
        results.write(json.dumps(values) + "\n")

    executor.upload = upload_among_garbage
    device = device_of(current_device())
    answer({"device": device.name, "arch": device.arch})
    for line in sys.stdin:
        try:
            answer(run(Path(line.strip())))
        except TTError as error:
            answer({"code": error.code.value, "failure": str(error)})
        except Exception:
            answer({"failure": traceback.format_exc()})
    close_device()


if __name__ == "__main__":
    main()
