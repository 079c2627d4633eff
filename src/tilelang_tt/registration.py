"""Makes target ``tenstorrent`` known to TileLang, through TileLang's own registries.

Runs once both packages are imported, whichever comes first; nothing of TileLang is patched.
"""

from __future__ import annotations

from typing import Any

from .errors import FAMILY


def register(_tilelang: Any = None) -> None:
    """Register the target and its backend, and let this package's errors cross TVM with their type."""
    import tvm_ffi
    from tilelang.backend.module import register_backend
    from tilelang.backend.target import register_target_normalizer

    from .tilelang_backend.backend import BACKEND
    from .tilelang_backend.target import TARGET_NAME, normalize_target

    for error in FAMILY:
        tvm_ffi.register_error(f"tilelang_tt.{error.__name__}", error)
    register_target_normalizer(TARGET_NAME, normalize_target, override=True)
    register_backend(BACKEND)
