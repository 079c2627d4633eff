"""Target ``tenstorrent``: what a user may pass to TileLang as a target, and what becomes of it.

A TVM target carries strings only, and TileLang's kernel cache tells kernels apart by their script and by the target's
text. So the target's ``libs`` hold a stamp of this compiler and of the devices that it knows by name, and its ``model``
holds any other device as a whole: a kernel compiled by another version, or for what a device was before it was edited,
is never taken from the cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..devices import Device, load_device
from ..devices.registry import device_files
from ..errors import Code, DeviceError, nearest

if TYPE_CHECKING:
    from tilelang import tvm

TARGET_NAME = "tenstorrent"
# TVM has no such target kind and takes none from Python; ext_dev is its kind for devices that it does not know.
TARGET_KIND = "ext_dev"

_PACKAGE = Path(__file__).parents[1]


def normalize_target(target: Any) -> dict[str, Any] | None:
    """The TVM target for ``"tenstorrent"`` or ``{"kind": "tenstorrent", "device": ...}``; None for another target.

    ``device`` is whatever :func:`tilelang_tt.devices.load_device` takes. A target without one leaves the device to the
    function's annotation.

    Raises:
        DeviceError: ``unknown-key`` for another option, or what ``load_device`` raises.
    """
    if isinstance(target, str) and target.split()[0:1] == [TARGET_NAME]:
        options: dict[str, Any] = dict.fromkeys(target.split()[1:])
    elif isinstance(target, Mapping) and target.get("kind") == TARGET_NAME:
        options = {str(key): value for key, value in target.items() if key != "kind"}
    else:
        return None
    normalized: dict[str, Any] = {"kind": TARGET_KIND, "keys": [TARGET_NAME], "libs": [_stamp()]}
    for option in options:
        if option != "device":
            raise DeviceError(
                Code.UNKNOWN_KEY,
                f"target {TARGET_NAME} has no such option",
                subject=option,
                found=option,
                expected=f'"{TARGET_NAME}" or {{"kind": "{TARGET_NAME}", "device": ...}}',
                hint=nearest(option, ["device"]),
            )
    chosen = options.get("device")
    if chosen is not None:
        device = load_device(chosen)
        named = isinstance(chosen, str) and chosen in device_files()
        normalized["device"] = chosen if named else device.name
        if not named:
            normalized["model"] = msgspec.json.encode(device).decode()
    return normalized


def supports_target(target: tvm.target.Target) -> bool:
    """Whether ``target`` (of kind ext_dev) is one of :func:`normalize_target`'s."""
    return TARGET_NAME in [str(key) for key in target.keys]


def device_of_target(target: tvm.target.Target) -> Device | None:
    """The device that the user named in the target, or None."""
    name, model = (target.attrs.get(key) for key in ("device", "model"))
    if model is not None:
        return Device.from_dict(msgspec.json.decode(str(model)))
    return None if name is None else load_device(str(name))


def _stamp() -> str:
    """Changes whenever the compiler or a device that a function can name does."""
    digest = sha256(_package_digest())
    for name, path in sorted(device_files().items()):
        digest.update(name.encode() + path.read_bytes())
    return f"tilelang-tt-{digest.hexdigest()[:16]}"


@cache
def _package_digest() -> bytes:
    digest = sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(_PACKAGE).as_posix().encode() + path.read_bytes())
    return digest.digest()
