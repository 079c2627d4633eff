"""PropagateTTLayout: from where a tensor lives to how it is staged in a core's L1."""

from __future__ import annotations

from tilelang import tvm
from tvm import tirx

from .. import attrs
from ..errors import UnsupportedError
from ..formats import storage_format, tile_bytes
from ..language.kernel import read_kernel
from ..language.plain import plain_attrs
from ..language.source import location_of
from .common import function_pass, layout_of, with_attrs

DOUBLE_BUFFER = 2


def PropagateTTLayout() -> tvm.transform.Pass:
    """The pass. Writes ``tt.cb.<name>``: ``page_size`` (bytes of a hardware tile), ``depth`` (blocks), ``data_format``.

    A tensor that a ``T.Pipelined`` loop loads is staged ``num_stages`` deep, any other one double-buffered.

    Raises, when run:
        PartitionError: ``metadata-missing`` without ``tt.buffer.<name>``.
        UnsupportedError: ``unsupported``, for a dtype that no circular buffer holds.
    """

    def rewrite(func: tirx.PrimFunc) -> tirx.PrimFunc:
        kernel, plain = read_kernel(func), plain_attrs(func)
        values = {}
        for tensor in kernel.tensors:
            # Refuses a tensor without a layout: what is staged depends on its tiles, which are all of one shape so far.
            layout = layout_of(plain, tensor)
            try:
                page_format = storage_format(layout.dtype)
            except UnsupportedError as error:
                raise error.at(location_of(tensor.buffer)) from None
            values[f"{attrs.CB_PREFIX}{tensor.name}"] = {
                "page_size": tile_bytes(page_format),
                "depth": kernel.pipeline_depth.get(tensor.name, DOUBLE_BUFFER),
                "data_format": page_format,
            }
        return with_attrs(func, values)

    return function_pass("PropagateTTLayout", rewrite)
