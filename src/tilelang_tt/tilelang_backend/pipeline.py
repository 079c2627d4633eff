"""The lowering of target ``tenstorrent`` as a whole: a TileLang function in, a host and a device function out.

All the work is done by :func:`tilelang_tt.compiler.compile`. What TileLang builds from is then

- a host function of the same parameters, for the CPU, whose body is one call of :mod:`.host_entry` with the program;
- a device function without a body that carries the kernels' sources to :mod:`.codegen`.
"""

from __future__ import annotations

import tilelang
from tilelang import tvm
from tvm import tirx

from ..compiler import compile
from ..language.kernel import kernel_name, only_function
from ..language.symbols import symbols_of
from ..program import Compiled, Program, ProgramSequence, saved
from .backend import RUN_FUNCTION
from .codegen import KERNELS_ATTR
from .target import device_of_target


def lower(mod: tvm.IRModule, target: tvm.target.Target) -> tvm.IRModule:
    """The host and the device function of the one function in ``mod``.

    Raises:
        TTError: as :func:`tilelang_tt.compile`.
    """
    _, func = only_function(mod)
    # TileLang allocates the outputs that it returns, so that its host function has all tensors.
    program = compile(func, device=device_of_target(target), out_idx=())
    lowered = tvm.IRModule({kernel_name(func): _host_function(func, program, target.host or tvm.target.Target("c"))})
    lowered = tirx.transform.AnnotateEntryFunc()(lowered)
    lowered = tilelang.transform.MakePackedAPI()(lowered)
    device_function = _device_function(func, program, target)
    lowered[str(device_function.attrs["global_symbol"])] = device_function
    return lowered


def _host_function(func: tirx.PrimFunc, program: Program | ProgramSequence, host: tvm.target.Target) -> tirx.PrimFunc:
    text = tirx.StringImm(saved.encode(program))
    arguments = [func.buffer_map[param].data if param in func.buffer_map else param for param in func.params]
    # TileLang's host function reads them from the tensors, and checks that each has one value.
    sizes = symbols_of(func).variables.values()
    body = tirx.Evaluate(tirx.call_packed(RUN_FUNCTION, text, *sizes, *arguments))
    # Bound to the host alone: MakePackedAPI lets it take the tensors of its target's device, which is the CPU.
    attributes = {"global_symbol": kernel_name(func), "target": tvm.target.Target(host, host)}
    return tirx.PrimFunc(func.params, body, func.ret_type, func.buffer_map).with_attr(attributes)


def _device_function(func: tirx.PrimFunc, program: Compiled, target: tvm.target.Target) -> tirx.PrimFunc:
    attributes = {
        "global_symbol": f"{kernel_name(func)}_kernel",
        "calling_conv": int(tvm.ir.CallingConv.DEVICE_KERNEL_LAUNCH),
        "target": target,
        KERNELS_ATTR: program.kernels,
    }
    return tirx.PrimFunc([], tirx.Evaluate(0)).with_attr(attributes)
