"""The kernels as one text, which TileLang shows and caches as a kernel's source."""

from __future__ import annotations

from collections.abc import Mapping

import tvm_ffi
from tilelang import tvm

from ..language.kernel import only_function
from ..language.plain import to_plain

KERNELS_ATTR = "tt.kernels"
"""Role -> C++ source, of the device function that the pipeline makes."""

# Role -> what TT-Metalium defines when it compiles for the processor that runs that kernel.
_PROCESSORS = {"reader": "COMPILE_FOR_NCRISC", "compute": "COMPILE_FOR_TRISC", "writer": "COMPILE_FOR_BRISC"}


def build(mod: tvm.IRModule, _target: tvm.target.Target) -> tvm.runtime.Module:
    """A module that is nothing but the kernels' text.

    TileLang links it into the host's library as C: what the host compiler sees of it is empty.
    """
    _, func = only_function(mod)
    return tvm_ffi.get_global_func("runtime.CSourceModuleCreate")(
        kernel_text(to_plain(func.attrs[KERNELS_ATTR])), "c", [], []
    )


def kernel_text(kernels: Mapping[str, str]) -> str:
    """The kernels (role, or grid/role -> source) in one text, each guarded by the processor that it runs on."""
    parts = []
    for name, source in kernels.items():
        processor = _PROCESSORS[name.rpartition("/")[2]]
        parts.append(f"#ifdef {processor}  // {name}\n{source.strip()}\n#endif\n")
    return "\n".join(parts)
