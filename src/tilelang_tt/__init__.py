"""TileLang on Tenstorrent: layout-led work partition, TT-Metalium code generation, emulator and ttnn executors.

Importing this package imports neither tilelang nor torch; it registers target ``tenstorrent`` with TileLang as soon as
TileLang is imported. What needs TileLang (``compile``, ``transform``) imports it when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import wrapt

from .errors import TTError

if TYPE_CHECKING:
    from . import codegen, devices, language, layout, partition, program, runtime, transform
    from .compiler import compile
    from .language.annotate import annotate_tt_layout, annotate_tt_schedule
    from .partition import WorkPartition
    from .program import Program

__version__ = "0.1.0"

__all__ = [
    "Program",
    "TTError",
    "WorkPartition",
    "annotate_tt_layout",
    "annotate_tt_schedule",
    "codegen",
    "compile",
    "devices",
    "language",
    "layout",
    "partition",
    "program",
    "runtime",
    "transform",
]

_HOMES = {
    "compile": "compiler",
    "annotate_tt_layout": "language.annotate",
    "annotate_tt_schedule": "language.annotate",
    "WorkPartition": "partition",
    "Program": "program",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@wrapt.when_imported("tilelang")
def _register(tilelang: Any) -> None:
    from .registration import register

    register(tilelang)
