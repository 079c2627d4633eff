"""The manifest of target ``tenstorrent``: its parts, each imported when it is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tilelang.backend.device_codegen import DeviceCodegen
from tilelang.backend.execution_backend import ExecutionBackendSpec
from tilelang.backend.host_codegen import STANDARD_HOST_CODEGENS
from tilelang.backend.module import BackendModule
from tilelang.backend.pass_pipeline import PassPipeline

from .target import TARGET_KIND, TARGET_NAME, supports_target

if TYPE_CHECKING:
    from tilelang import tvm

RUN_FUNCTION = "tilelang_tt.run"
"""The global function that a compiled kernel calls to run."""


def _lower(mod: tvm.IRModule, target: tvm.target.Target) -> tvm.IRModule:
    from .pipeline import lower

    return lower(mod, target)


def _build(mod: tvm.IRModule, target: tvm.target.Target) -> tvm.runtime.Module:
    from .codegen import build

    return build(mod, target)


def _run(program: str, *arguments: Any) -> None:
    from .host_entry import run

    run(program, *arguments)


BACKEND = BackendModule(
    name=TARGET_NAME,
    target_kinds=(TARGET_KIND,),
    supports_target=supports_target,
    pipelines={TARGET_KIND: PassPipeline(TARGET_KIND, _lower)},
    device_codegens={TARGET_KIND: DeviceCodegen(TARGET_KIND, build=_build, build_without_compile=_build)},
    host_codegens=STANDARD_HOST_CODEGENS,
    execution_backends=(ExecutionBackendSpec("tvm_ffi", enable_host_codegen=True, enable_device_compile=True),),
    callbacks={RUN_FUNCTION: _run},
)
