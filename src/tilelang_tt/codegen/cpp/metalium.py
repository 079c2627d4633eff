"""The TT-Metalium kernel API that the generated sources call: one table per version.

Checked by running on ttnn 0.81.1: names, headers, and which init call puts an operation in force.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .gathers import GATHERS
from .parts_of_tiles import PARTS_OF_TILES
from .shifted_tiles import SHIFTED_TILES

VERSION = "ttnn-0.81"

DATAFLOW_HEADERS = ("api/dataflow/dataflow_api.h", "api/core_local_mem.h")
COMPUTE_HEADERS = ("cstdint", "api/compute/common.h", "api/compute/compute_kernel_hw_startup.h")
MATMUL_HEADER = "api/compute/matmul.h"
COPY_HEADER = "api/compute/tile_move_copy.h"
PACK_HEADER = "api/compute/pack.h"
RECONFIG_HEADER = "api/compute/reconfig_data_format.h"
BINARY_FPU_HEADER = "api/compute/eltwise_binary.h"
TRANSPOSE_HEADER = "api/compute/transpose.h"
BROADCAST_HEADER = "api/compute/bcast.h"
REDUCE_HEADER = "api/compute/reduce.h"


@dataclass(frozen=True)
class SfpuOp:
    """A vector-engine operation on DST.

    ``call`` is formatted with the DST indices ``a``, ``b`` and ``out`` and ``bits``.
    """

    header: str
    init: str
    call: str
    helper: str = ""
    """A function of the kernel's own that ``call`` calls."""


_COMPARE_HEADER = "api/compute/eltwise_unary/comp.h"
COMPARE = MappingProxyType(
    {
        op: SfpuOp(_COMPARE_HEADER, f"{op}_tile_init()", f"{op}_tile({{a}})")
        for op in ("gez", "gtz", "lez", "ltz", "eqz", "nez")
    }
)
"""1 where the element compares so with 0, else 0; in place."""


def _of_its_own(name: str, header: str, init: str, call: str) -> SfpuOp:
    """An operation that is a function of its own in the kernel.

    These take many vector registers and much code: inlined beside one another they need more than there are.
    """
    parameters, values = ("uint32_t a, uint32_t b", "{a}, {b}") if "b" in call.split("(")[1] else ("uint32_t a", "{a}")
    helper = f"__attribute__((noinline)) void vector_{name}({parameters}) {{ {call}; }}\n"
    return SfpuOp(header, init, f"vector_{name}({values})", helper)


def _typecast(source: str, target: str) -> SfpuOp:
    formats = f"<(uint32_t)DataFormat::{source}, (uint32_t)DataFormat::{target}>"
    header = "api/compute/eltwise_unary/typecast.h"
    return SfpuOp(header, f"typecast_tile_init{formats}()", f"typecast_tile{formats}({{a}})")


_ROUNDING_HEADER = "api/compute/eltwise_unary/rounding.h"
_ROUNDING_INIT = "rounding_op_tile_init()"
_INFINITY_HEADER = "api/compute/eltwise_unary/isinf_isnan.h"
_ANGLE_HEADER = "api/compute/eltwise_unary/trigonometry.h"
ANGLES = ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh")


UNARY = MappingProxyType(
    {
        "relu": SfpuOp("api/compute/eltwise_unary/relu.h", "relu_tile_init()", "relu_tile({a})"),
        "exp": _of_its_own("exp", "api/compute/eltwise_unary/exp.h", "exp_tile_init()", "exp_tile(a)"),
        "exp2": _of_its_own("exp2", "api/compute/compute_kernel_api.h", "exp2_tile_init()", "exp2_tile(a)"),
        "sqrt": _of_its_own("sqrt", "api/compute/eltwise_unary/sqrt.h", "sqrt_tile_init()", "sqrt_tile(a)"),
        "rsqrt": _of_its_own("rsqrt", "api/compute/eltwise_unary/rsqrt.h", "rsqrt_tile_init()", "rsqrt_tile(a)"),
        "tanh": _of_its_own("tanh", "api/compute/compute_kernel_api.h", "tanh_tile_init()", "tanh_tile(a)"),
        "sigmoid": _of_its_own("sigmoid", "api/compute/compute_kernel_api.h", "sigmoid_tile_init()", "sigmoid_tile(a)"),
        "abs": SfpuOp("api/compute/compute_kernel_api.h", "abs_tile_init()", "abs_tile({a})"),
        "neg": SfpuOp("api/compute/eltwise_unary/negative.h", "negative_tile_init()", "negative_tile({a})"),
        "log": _of_its_own("log", "api/compute/compute_kernel_api.h", "log_tile_init()", "log_tile(a)"),
        "abs_int32": SfpuOp("api/compute/compute_kernel_api.h", "abs_tile_init()", "abs_tile_int32({a})"),
        "float32_to_int32": _typecast("Float32", "Int32"),
        "int32_to_float32": _typecast("Int32", "Float32"),
        "log1p": _of_its_own("log1p", "api/compute/eltwise_unary/log1p.h", "log1p_tile_init()", "log1p_tile(a)"),
        "recip": _of_its_own("recip", "api/compute/eltwise_unary/recip.h", "recip_tile_init()", "recip_tile(a)"),
        "square": SfpuOp("api/compute/compute_kernel_api.h", "square_tile_init()", "square_tile({a})"),
        "sign": SfpuOp("api/compute/compute_kernel_api.h", "sign_tile_init()", "sign_tile({a})"),
        "nearbyint": SfpuOp(_ROUNDING_HEADER, _ROUNDING_INIT, "round_tile({a}, 0)"),
        **{op: SfpuOp(_ROUNDING_HEADER, _ROUNDING_INIT, f"{op}_tile({{a}})") for op in ("floor", "ceil", "trunc")},
        **{op: SfpuOp(_INFINITY_HEADER, f"{op}_tile_init()", f"{op}_tile({{a}})") for op in ("isinf", "isfinite")},
        **{op: _of_its_own(op, _ANGLE_HEADER, f"{op}_tile_init()", f"{op}_tile(a)") for op in ANGLES},
        "to_bfloat16": _typecast("Float32", "Float16_b"),
        "to_float16": _typecast("Float32", "Float16"),
        **COMPARE,
    }
)
"""One operand, in place."""

ROUNDING: Mapping[str, str] = MappingProxyType({"Float16_b": "to_bfloat16", "Float16": "to_float16"})
"""The operation in UNARY that rounds as packing to a circular buffer of the format does."""

_SCALAR_HEADER = "api/compute/eltwise_unary/binop_with_scalar.h"
_SCALAR_INIT = "binop_with_scalar_tile_init()"
SCALAR = MappingProxyType(
    {
        "add": SfpuOp(_SCALAR_HEADER, _SCALAR_INIT, "add_unary_tile({a}, {bits})"),
        "sub": SfpuOp(_SCALAR_HEADER, _SCALAR_INIT, "sub_unary_tile({a}, {bits})"),
        "rsub": SfpuOp(_SCALAR_HEADER, _SCALAR_INIT, "rsub_unary_tile({a}, {bits})"),
        "mul": SfpuOp(_SCALAR_HEADER, _SCALAR_INIT, "mul_unary_tile({a}, {bits})"),
        "max": SfpuOp("api/compute/compute_kernel_api.h", "unary_max_tile_init()", "unary_max_tile({a}, {bits})"),
        "min": SfpuOp("api/compute/compute_kernel_api.h", "unary_min_tile_init()", "unary_min_tile({a}, {bits})"),
    }
)
"""One operand and a constant (its float32 bits), in place."""


def _int32(header: str, name: str, init: str | None = None) -> SfpuOp:
    """An operation on int32; ``name`` and ``init`` are without ``_tile`` and ``_tile_init``."""
    typed = "<DataFormat::Int32>" if init is None else ""
    call = f"{name}_tile" if name.endswith("_int32") else f"{name}_tile<DataFormat::Int32>"
    return SfpuOp(f"api/compute/{header}.h", f"{init or name}_tile_init{typed}()", f"{call}({{a}}, {{b}}, {{a}})")


INT32_BINARY = MappingProxyType(
    {
        "add_int32": _int32("add_int_sfpu", "add_int", "add_int"),
        "sub_int32": _int32("sub_int_sfpu", "sub_int", "sub_int"),
        "mul_int32": _int32("mul_int_sfpu", "mul_int"),
        "max_int32": _int32("binary_max_min", "binary_max_int32", "binary_max_int32"),
        "min_int32": _int32("binary_max_min", "binary_min_int32", "binary_min_int32"),
        "and_int32": _int32("binary_bitwise_sfpu", "bitwise_and_binary", "binary_bitwise"),
        "or_int32": _int32("binary_bitwise_sfpu", "bitwise_or_binary", "binary_bitwise"),
        "xor_int32": _int32("binary_bitwise_sfpu", "bitwise_xor_binary", "binary_bitwise"),
        "shl_int32": _int32("binary_shift", "binary_left_shift", "binary_shift"),
        "shr_int32": _int32("binary_shift", "binary_right_shift", "binary_shift"),
        **{f"{op}_int32": _int32("binary_comp", f"{op}_int") for op in ("eq", "ne", "lt", "gt", "le", "ge")},
    }
)
"""Two DST tiles of int32; the result, of comparisons 1 or 0, replaces the first."""

_BINARY_HEADER = "api/compute/eltwise_binary_sfpu.h"
_FMOD_HEADER = "api/compute/binary_fmod.h"
_MAX_MIN_HEADER = "api/compute/binary_max_min.h"
BINARY = MappingProxyType(
    {
        "add": SfpuOp(_BINARY_HEADER, "add_binary_tile_init()", "add_binary_tile({a}, {b}, {a})"),
        "sub": SfpuOp(_BINARY_HEADER, "sub_binary_tile_init()", "sub_binary_tile({a}, {b}, {a})"),
        "mul": SfpuOp(_BINARY_HEADER, "mul_binary_tile_init()", "mul_binary_tile({a}, {b}, {a})"),
        "div": _of_its_own("div", _BINARY_HEADER, "div_binary_tile_init()", "div_binary_tile(a, b, a)"),
        "pow": _of_its_own("pow", _BINARY_HEADER, "power_binary_tile_init()", "power_binary_tile(a, b, a)"),
        "fmod": _of_its_own(
            "fmod", "api/compute/binary_fmod.h", "fmod_binary_tile_init()", "fmod_binary_tile(a, b, a)"
        ),
        "max": SfpuOp(_MAX_MIN_HEADER, "binary_max_tile_init()", "binary_max_tile({a}, {b}, {a})"),
        "min": SfpuOp(_MAX_MIN_HEADER, "binary_min_tile_init()", "binary_min_tile({a}, {b}, {a})"),
        **INT32_BINARY,
    }
)
"""Two DST tiles; the result replaces the first."""

FILL = SfpuOp("api/compute/eltwise_unary/fill.h", "fill_tile_init()", "fill_tile_bitcast({a}, {bits})")
"""A constant in every element."""

DUPLICATE = SfpuOp(
    "api/compute/copy_dest_values.h",
    "copy_dest_values_init()",
    "copy_dest_values<DataFormat::Float32>({b}, {a})",
)
"""A copy of DST tile ``b``."""

FILL_INT32 = SfpuOp(
    "api/compute/eltwise_unary/fill.h", "fill_tile_init()", "fill_tile_int<DataFormat::Int32>({a}, {bits})"
)
"""An int32 in every element."""

WHERE = MappingProxyType(
    {
        kind: SfpuOp(
            "api/compute/eltwise_unary/where.h",
            "where_tile_init()",
            f"where_tile<DataFormat::{kind.capitalize()}>({{a}}, {{b}}, {{c}}, {{a}})",
        )
        for kind in ("float32", "int32")
    }
)
"""Element of ``b`` where that of ``a`` is not 0, else of ``c``; in place of ``a``."""

FLOAT_BITS_NAME = "float_bits"
FLOAT_BITS = """\
// The bits of a float from an integer, by integers only: the cores that run this have no floating point.
inline uint32_t float_bits(int32_t value) {
    if (value == 0) return 0;
    const uint32_t sign = value < 0 ? 0x80000000u : 0, magnitude = value < 0 ? -value : value;
    const uint32_t exponent = 31 - __builtin_clz(magnitude);
    const uint32_t mantissa = exponent > 23 ? magnitude >> (exponent - 23) : magnitude << (23 - exponent);
    return sign | (127 + exponent) << 23 | (mantissa & 0x7fffff);
}
"""

ZERO_TILE_NAME = "zero_tile"
ZERO_TILE = """\
inline void zero_tile(uint32_t address, uint32_t bytes) {
    auto* const words = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(address);
    for (uint32_t i = 0; i < bytes / 4; ++i) words[i] = 0;
}
"""

ZERO_PAST_NAME = "zero_past"
ZERO_PAST = """\
// Zeroes a hardware tile past its first rows and columns: four faces of 16 x 16, row by row.
inline void zero_past(uint32_t address, uint32_t element_bytes, uint32_t rows, uint32_t columns) {
    for (uint32_t face = 0; face < 4; ++face, address += 256 * element_bytes) {
        const uint32_t top = face / 2 * 16, left = face % 2 * 16;
        const uint32_t own_rows = rows < top ? 0 : rows - top < 16 ? rows - top : 16;
        const uint32_t own_columns = columns < left ? 0 : columns - left < 16 ? columns - left : 16;
        auto* const halves = reinterpret_cast<volatile tt_l1_ptr uint16_t*>(address);
        auto* const words = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(address);
        for (uint32_t r = 0; r < own_rows; ++r) {
            for (uint32_t c = own_columns; c < 16; ++c) {
                if (element_bytes == 2) halves[r * 16 + c] = 0;
                else words[r * 16 + c] = 0;
            }
        }
        for (uint32_t i = own_rows * 4 * element_bytes; i < 64 * element_bytes; ++i) words[i] = 0;
    }
}
"""

ZERO_PAST_OF_BLOCKS_NAME = "zero_past_of_blocks"
ZERO_PAST_OF_BLOCKS = """\
// The same of a tile of block floats, whose mantissas follow 64 exponents: they are zero whatever the exponent.
inline void zero_past_of_blocks(uint32_t address, uint32_t bits, uint32_t rows, uint32_t columns) {
    auto* words = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(address + 64);
    const uint32_t in_word = 32 / bits;
    for (uint32_t face = 0; face < 4; ++face) {
        for (uint32_t r = face / 2 * 16; r < face / 2 * 16 + 16; ++r) {
            for (uint32_t c = face % 2 * 16; c < face % 2 * 16 + 16; c += in_word, ++words) {
                const uint32_t own = r < rows && c < columns ? columns - c : 0;
                if (own < in_word) *words = *words & ((1u << own * bits) - 1);
            }
        }
    }
}
"""

FLOOR_DIV_NAME, FLOOR_MOD_NAME = "floor_div", "floor_mod"
FLOOR_DIV = """\
inline uint32_t floor_div(int32_t a, int32_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }
"""
FLOOR_MOD = """\
inline uint32_t floor_mod(int32_t a, int32_t b) { return a % b + (a % b != 0 && (a < 0) != (b < 0) ? b : 0); }
"""

MULTICAST_NAME = "multicast_of"
MULTICAST_READY_NAME = "multicast_ready"
MULTICAST_BLOCK_NAME = "multicast_block"
MULTICAST = """\
// A core's part in the multicast of a tensor: it sends every block to as many destinations, or receives it (0).
struct Multicast {
    uint32_t destinations, sender_x, sender_y, x0, y0, x1, y1, ready, arrived;
};
inline Multicast multicast_of(uint32_t argument, uint32_t semaphore) {
    const Multicast part = {get_arg_val<uint32_t>(argument), get_arg_val<uint32_t>(argument + 1),
                            get_arg_val<uint32_t>(argument + 2), get_arg_val<uint32_t>(argument + 3),
                            get_arg_val<uint32_t>(argument + 4), get_arg_val<uint32_t>(argument + 5),
                            get_arg_val<uint32_t>(argument + 6), semaphore, semaphore + 1};
    // The sender's own word is what it sends to the others' when a block has arrived.
    const uint32_t sends = part.destinations > 0;
    noc_semaphore_set(reinterpret_cast<volatile tt_l1_ptr uint32_t*>(get_semaphore(part.arrived)), sends);
    return part;
}
// On a receiver with room for a block: clears its word and tells the sender.
inline void multicast_ready(const Multicast& part) {
    noc_semaphore_set(reinterpret_cast<volatile tt_l1_ptr uint32_t*>(get_semaphore(part.arrived)), 0);
    noc_semaphore_inc(get_noc_addr(part.sender_x, part.sender_y, get_semaphore(part.ready)), 1);
}
// Brings the block that the sender has at an address to the same address of all others.
inline void multicast_block(const Multicast& part, uint32_t address, uint32_t bytes) {
    if (part.destinations == 0) {
        noc_semaphore_wait(reinterpret_cast<volatile tt_l1_ptr uint32_t*>(get_semaphore(part.arrived)), 1);
        return;
    }
    noc_semaphore_wait(reinterpret_cast<volatile tt_l1_ptr uint32_t*>(get_semaphore(part.ready)), part.destinations);
    noc_semaphore_set(reinterpret_cast<volatile tt_l1_ptr uint32_t*>(get_semaphore(part.ready)), 0);
    noc_async_write_multicast(
        address, get_noc_multicast_addr(part.x0, part.y0, part.x1, part.y1, address), bytes, part.destinations);
    // The flag must not overtake the data, nor the next block overwrite it on its way out.
    noc_async_writes_flushed();
    const uint32_t flag = get_semaphore(part.arrived);
    noc_semaphore_set_multicast(
        flag, get_noc_multicast_addr(part.x0, part.y0, part.x1, part.y1, flag), part.destinations);
}
"""

READ_ELEMENT_NAME = "read_element"
READ_ELEMENT = """\
// An int32 of a tile: the tile is brought to l1, where rows of 16 elements lie face by face.
template <typename Tensor>
inline uint32_t read_element(const Tensor& tensor, uint32_t page, uint32_t row, uint32_t column, uint32_t l1) {
    noc_async_read_page(page, tensor, l1);
    noc_async_read_barrier();
    const uint32_t face = row / 16 * 2 + column / 16;
    return CoreLocalMem<const volatile uint32_t>(l1)[face * 256 + row % 16 * 16 + column % 16];
}
"""

TILE_VALUE_HEADER = "api/compute/cb_api.h"

HELPERS: Mapping[str, str] = MappingProxyType(
    {
        FLOAT_BITS_NAME: FLOAT_BITS,
        ZERO_TILE_NAME: ZERO_TILE,
        READ_ELEMENT_NAME: READ_ELEMENT,
        ZERO_PAST_NAME: ZERO_PAST,
        ZERO_PAST_OF_BLOCKS_NAME: ZERO_PAST_OF_BLOCKS,
        FLOOR_DIV_NAME: FLOOR_DIV,
        FLOOR_MOD_NAME: FLOOR_MOD,
        MULTICAST_NAME: MULTICAST,
        **PARTS_OF_TILES,
        **GATHERS,
        **SHIFTED_TILES,
    }
    | {op.call.split("(")[0]: op.helper for table in (UNARY, BINARY) for op in table.values() if op.helper}
)
"""Functions that a generated kernel may call, by name."""

FPU_BINARY = frozenset({"add", "sub", "mul"})
"""Operations that the matrix engine does on two circular buffers (``add_init``, ``add_tiles``, ...)."""
