"""Makes target ``tenstorrent`` known to TileLang, through TileLang's own registries.

Runs once both packages are imported, whichever comes first; nothing of TileLang is patched.
"""

from __future__ import annotations

from typing import Any

from .errors import FAMILY

TARGET_NAME = "tenstorrent"
# TVM has no such target kind and takes none from Python; ext_dev is its kind for devices that it does not know.
TARGET_KIND = "ext_dev"


def register(_tilelang: Any = None) -> None:
    """Register the target and let this package's errors cross TVM's passes with their type."""
    import tvm_ffi
    from tilelang.backend.target import register_target_normalizer

    for error in FAMILY:
        tvm_ffi.register_error(f"tilelang_tt.{error.__name__}", error)
    register_target_normalizer(TARGET_NAME, normalize_target, override=True)


def normalize_target(target: Any) -> dict[str, Any] | None:
    """The TVM target for "tenstorrent", or None for another target."""
    if isinstance(target, str) and target.split()[0:1] == [TARGET_NAME]:
        return {"kind": TARGET_KIND, "keys": [TARGET_NAME]}
    return None
