"""InferTTCompute: how the engines run, from the kernel's dtypes where the schedule does not say."""

from __future__ import annotations

from tilelang import tvm
from tvm import tirx

from .. import attrs
from ..engines import exact_fidelity
from ..language.arithmetic import arithmetic_of
from ..language.plain import plain_attrs
from ..language.source import location_of
from ..partition.schedule import parse_user_schedule
from .common import function_pass, with_attrs


def InferTTCompute() -> tvm.transform.Pass:
    """The pass. Writes ``tt.compute``: ``math_fidelity`` and ``dst_dtype``, as the keys of the schedule.

    Without those keys: the fewest passes of the matrix engine that multiply every bit of what the kernel multiplies,
    and a DST of float32, or of bfloat16 where the kernel sums up in bfloat16 and has nothing wider.
    """

    def rewrite(func: tirx.PrimFunc) -> tirx.PrimFunc:
        plain = plain_attrs(func)
        schedule = parse_user_schedule(plain.get(attrs.USER_SCHEDULE), location_of(func))
        stored = {
            key.removeprefix(attrs.BUFFER_PREFIX): layout["dtype"]
            for key, layout in plain.items()
            if key.startswith(attrs.BUFFER_PREFIX)
        }
        arithmetic = arithmetic_of(func, stored, schedule.float16_as)
        chosen = {
            attrs.MATH_FIDELITY: schedule.math_fidelity or exact_fidelity(arithmetic.products),
            attrs.DST_TYPE: schedule.dst_dtype or ("bfloat16" if arithmetic.sums_in_bfloat16 else "float32"),
        }
        return with_attrs(func, {attrs.COMPUTE: chosen})

    return function_pass("InferTTCompute", rewrite)
