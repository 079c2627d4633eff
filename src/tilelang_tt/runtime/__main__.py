"""``python -m tilelang_tt.runtime DIR --inputs x.npz [--output out.npz]``: runs a saved program on arrays from a file.

The input file holds one array per tensor that the program reads, by parameter name; outputs that it does not hold start
as zeros. The output file gets every tensor that the program writes. numpy's files know no bfloat16: such arrays are
stored by their bits, as 2-byte items (what ``numpy.savez`` makes of ml_dtypes' bfloat16) or uint16, and read back with
``array.view(ml_dtypes.bfloat16)``.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Code, ProgramError, TTError, nearest
from ..program.sequence_spec import SequenceSpec
from ..program.spec import ProgramSpec, TensorSpec
from . import load
from .call import EXECUTOR_ENV, EXECUTORS, call, launch_specs, shapes_of
from .report import RunReport, SequenceReport
from .tiles import dtype_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 on success, 1 with the error on standard error."""
    options = _parser().parse_args(arguments)
    try:
        program = load(options.directory)
        arrays = _read(options.inputs)
        _check_names(program.spec, arrays)
        shapes = shapes_of(program.spec, [arrays.get(tensor.name) for tensor in program.spec.tensors])
        spec = program.spec_for(shapes)
        tensors = [_tensor(tensor, arrays.get(tensor.name)) for tensor in spec.tensors]
        given = [tensor for index, tensor in enumerate(tensors) if index not in program.spec.out_idx]
        result, report = call(program, given, executor=options.executor)
        returned = result if len(program.spec.out_idx) > 1 else [result]
        for index, tensor in zip(program.spec.out_idx, returned, strict=False):
            tensors[index] = tensor
        written = {s.name: t for s, t in zip(program.spec.tensors, tensors, strict=True) if s.direction != "in"}
        if options.output is not None:
            np.savez(options.output, **written)
    except (TTError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{spec.name}: {', then '.join(_cores(each) for each in launch_specs(program, spec))}")
    for name, tensor in written.items():
        print(f"  {name}: {tensor.dtype.name} {list(tensor.shape)}")
    reports = report.grids if isinstance(report, SequenceReport) else [] if report is None else [report]
    for number, each in enumerate(reports):
        lines = [f"grid {number}"] if len(reports) > 1 else []
        print("\n".join(f"  {line}" for line in [*lines, *_counts(each)]))
    return 0


def _cores(spec: ProgramSpec) -> str:
    return f"{len(spec.partition.core_ranges)} cores of {spec.device.name}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tilelang_tt.runtime",
        description="Run a saved program on arrays from a file.",
        epilog="bfloat16 arrays are stored by their bits, as 2-byte items or uint16.",
    )
    parser.add_argument("directory", metavar="DIR", help="directory that Program.save wrote")
    parser.add_argument("--inputs", required=True, type=Path, help=".npz file with the tensors by parameter name")
    parser.add_argument("--output", type=Path, help=".npz file for the tensors that the program writes")
    parser.add_argument("--executor", choices=EXECUTORS, help=f"default: {EXECUTOR_ENV}, else emulator")
    return parser


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.lib.npyio.NpzFile):
            with file:
                return dict(file)
    except (ValueError, EOFError, zipfile.BadZipFile):
        # Whatever numpy makes of such a file, it is none of named arrays.
        pass
    raise ProgramError(
        Code.BAD_VALUE,
        "the inputs cannot be read",
        subject=str(path),
        expected="an .npz file of plain arrays, as numpy.savez writes it",
    )


def _check_names(spec: ProgramSpec | SequenceSpec, arrays: Mapping[str, np.ndarray]) -> None:
    """An array for every parameter."""
    names = [tensor.name for tensor in spec.tensors]
    for name in arrays:
        if name not in names:
            raise ProgramError(
                Code.UNKNOWN_BUFFER,
                f"{spec.name} has no tensor {name!r}",
                subject=name,
                found=name,
                expected=", ".join(names),
                hint=nearest(name, names),
            )
    missing = [tensor.name for tensor in spec.tensors if tensor.direction != "out" and tensor.name not in arrays]
    if missing:
        raise ProgramError(
            Code.ARGUMENT_COUNT,
            f"the inputs lack {', '.join(missing)}",
            subject=missing[0],
            found=", ".join(arrays) or "no arrays",
            expected=", ".join(tensor.name for tensor in spec.tensors if tensor.direction != "out"),
        )


def _tensor(spec: TensorSpec, array: np.ndarray | None) -> Any:
    dtype = dtype_of(spec.dtype)
    if array is None:
        return np.zeros(spec.host_shape, dtype)
    bits = array.dtype == np.uint16 or array.dtype == np.dtype("V2")
    return array.view(dtype) if bits and spec.dtype == "bfloat16" else array


def _counts(report: RunReport) -> list[str]:
    noc, tiles = report.noc, report.tiles
    return [
        f"DRAM: {noc.dram_read:,} bytes read, {noc.dram_written:,} written",
        f"L1 of other cores: {noc.l1_remote_read:,} bytes read, {noc.l1_remote_written:,} written",
        f"tiles: {tiles.products:,} products, {tiles.eltwise:,} element-wise, {tiles.sfpu:,} vector operations",
    ]


if __name__ == "__main__":
    sys.exit(main())
