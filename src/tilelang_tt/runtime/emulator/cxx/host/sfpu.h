// The vector engine (SFPU): operations on tiles of DST. To add one, add its line to the table and its line to its API
// header.
#pragma once
#include <cmath>
#include <limits>

#include "compute.h"

namespace sfpu {
using Function = float (*)(float a, float b, float c, float p0, float p1);

// How a result becomes a 16-bit float where DST is 16-bit; a float32 DST keeps it.
enum class Rounding : std::uint8_t { nearest, truncate };

using Integers = std::int32_t (*)(std::int32_t a, std::int32_t b, std::int32_t c, std::int32_t p);

struct Op {
    const char* name;
    const char* init;  // the init call it needs, without "_tile_init"
    std::uint32_t operands;
    Function function;
    Rounding rounding = Rounding::nearest;
    Integers integers = nullptr;  // in place of `function`, of operations on int32
};

#define EMU_OP                                                                                              \
    [[maybe_unused]] float a, [[maybe_unused]] float b, [[maybe_unused]] float c, [[maybe_unused]] float p, \
        [[maybe_unused]] float q
constexpr auto cut = Rounding::truncate;

inline std::uint32_t bits(std::int32_t value) { return static_cast<std::uint32_t>(value); }
inline std::int32_t wrap(std::uint32_t value) { return static_cast<std::int32_t>(value); }

inline const Op table[] = {
    // element-wise, one operand
    {"relu", "relu", 1, [](EMU_OP) { return a > 0.0f ? a : 0.0f; }},
    {"relu_min", "relu_min", 1, [](EMU_OP) { return a > p ? a : p; }},
    {"relu_max", "relu_max", 1, [](EMU_OP) { return a < 0.0f ? 0.0f
                                                    : a < p  ? a
                                                             : p; }},
    {"leaky_relu", "leaky_relu", 1, [](EMU_OP) { return a < 0.0f ? a * p : a; }},
    {"exp", "exp", 1, [](EMU_OP) { return std::exp(a); }},
    {"exp2", "exp2", 1, [](EMU_OP) { return std::exp2(a); }},
    {"expm1", "expm1", 1, [](EMU_OP) { return std::expm1(a); }},
    {"log", "log", 1, [](EMU_OP) { return std::log(a); }},
    {"log1p", "log1p", 1, [](EMU_OP) { return std::log1p(a); }},
    {"log_with_base", "log_with_base", 1, [](EMU_OP) { return std::log(a) * p; }},
    {"sqrt", "sqrt", 1, [](EMU_OP) { return std::sqrt(a); }},
    {"rsqrt", "rsqrt", 1, [](EMU_OP) { return 1.0f / std::sqrt(a); }},
    {"recip", "recip", 1, [](EMU_OP) { return 1.0f / a; }},
    {"tanh", "tanh", 1, [](EMU_OP) { return std::tanh(a); }},
    {"sigmoid", "sigmoid", 1, [](EMU_OP) { return 1.0f / (1.0f + std::exp(-a)); }},
    {"silu", "silu", 1, [](EMU_OP) { return a / (1.0f + std::exp(-a)); }},
    {"gelu", "gelu", 1, [](EMU_OP) { return 0.5f * a * (1.0f + std::erf(a * 0.70710678118654752f)); }},
    {"gelu_tanh",
     "gelu_tanh",
     1,
     [](EMU_OP) { return 0.5f * a * (1.0f + std::tanh(0.79788456080286536f * (a + 0.044715f * a * a * a))); }},
    {"erf", "erf", 1, [](EMU_OP) { return std::erf(a); }},
    {"erfc", "erfc", 1, [](EMU_OP) { return std::erfc(a); }},
    {"sin", "sin", 1, [](EMU_OP) { return std::sin(a); }},
    {"cos", "cos", 1, [](EMU_OP) { return std::cos(a); }},
    {"tan", "tan", 1, [](EMU_OP) { return std::tan(a); }},
    {"asin", "asin", 1, [](EMU_OP) { return std::asin(a); }},
    {"acos", "acos", 1, [](EMU_OP) { return std::acos(a); }},
    {"atan", "atan", 1, [](EMU_OP) { return std::atan(a); }},
    {"sinh", "sinh", 1, [](EMU_OP) { return std::sinh(a); }},
    {"cosh", "cosh", 1, [](EMU_OP) { return std::cosh(a); }},
    {"asinh", "asinh", 1, [](EMU_OP) { return std::asinh(a); }},
    {"acosh", "acosh", 1, [](EMU_OP) { return std::acosh(a); }},
    {"atanh", "atanh", 1, [](EMU_OP) { return std::atanh(a); }},
    {"abs", "abs", 1, [](EMU_OP) { return std::fabs(a); }},
    {"negative", "negative", 1, [](EMU_OP) { return -a; }},
    {"square", "square", 1, [](EMU_OP) { return a * a; }},
    {"sign", "sign", 1, [](EMU_OP) { return a > 0.0f   ? 1.0f
                                            : a < 0.0f ? -1.0f
                                                       : 0.0f; }},
    {"power", "power", 1, [](EMU_OP) { return std::pow(a, p); }},
    {"identity", "identity", 1, [](EMU_OP) { return a; }},
    {"floor", "rounding_op", 1, [](EMU_OP) { return std::floor(a); }},
    {"ceil", "rounding_op", 1, [](EMU_OP) { return std::ceil(a); }},
    {"trunc", "rounding_op", 1, [](EMU_OP) { return std::trunc(a); }},
    {"round", "rounding_op", 1, [](EMU_OP) { return std::nearbyint(a); }},
    {"logical_not", "logical_not", 1, [](EMU_OP) { return a == 0.0f ? 1.0f : 0.0f; }},
    {"gtz", "gtz", 1, [](EMU_OP) { return a > 0.0f ? 1.0f : 0.0f; }},
    {"gez", "gez", 1, [](EMU_OP) { return a >= 0.0f ? 1.0f : 0.0f; }},
    {"ltz", "ltz", 1, [](EMU_OP) { return a < 0.0f ? 1.0f : 0.0f; }},
    {"lez", "lez", 1, [](EMU_OP) { return a <= 0.0f ? 1.0f : 0.0f; }},
    {"eqz", "eqz", 1, [](EMU_OP) { return a == 0.0f ? 1.0f : 0.0f; }},
    {"nez", "nez", 1, [](EMU_OP) { return a != 0.0f ? 1.0f : 0.0f; }},
    {"isinf", "isinf", 1, [](EMU_OP) { return std::isinf(a) ? 1.0f : 0.0f; }},
    {"isnan", "isnan", 1, [](EMU_OP) { return std::isnan(a) ? 1.0f : 0.0f; }},
    {"isfinite", "isfinite", 1, [](EMU_OP) { return std::isfinite(a) ? 1.0f : 0.0f; }},
    // with scalars
    {"add_unary", "binop_with_scalar", 1, [](EMU_OP) { return a + p; }, cut},
    {"sub_unary", "binop_with_scalar", 1, [](EMU_OP) { return a - p; }, cut},
    {"mul_unary", "binop_with_scalar", 1, [](EMU_OP) { return a * p; }, cut},
    {"div_unary", "binop_with_scalar", 1, [](EMU_OP) { return a * p; }, cut},  // its parameter is the reciprocal
    {"rsub_unary", "binop_with_scalar", 1, [](EMU_OP) { return p - a; }, cut},
    {"rsub", "rsub", 1, [](EMU_OP) { return p - a; }, cut},
    {"unary_max", "unary_max", 1, [](EMU_OP) { return a > p ? a : p; }},
    {"unary_min", "unary_min", 1, [](EMU_OP) { return a < p ? a : p; }},
    {"clamp", "clamp", 1, [](EMU_OP) { return a < p   ? p
                                              : a > q ? q
                                                      : a; }},
    {"unary_eq", "unary_eq", 1, [](EMU_OP) { return a == p ? 1.0f : 0.0f; }},
    {"unary_ne", "unary_ne", 1, [](EMU_OP) { return a != p ? 1.0f : 0.0f; }},
    {"unary_gt", "unary_gt", 1, [](EMU_OP) { return a > p ? 1.0f : 0.0f; }},
    {"unary_ge", "unary_ge", 1, [](EMU_OP) { return a >= p ? 1.0f : 0.0f; }},
    {"unary_lt", "unary_lt", 1, [](EMU_OP) { return a < p ? 1.0f : 0.0f; }},
    {"unary_le", "unary_le", 1, [](EMU_OP) { return a <= p ? 1.0f : 0.0f; }},
    // no operand: they only write
    {"fill", "fill", 0, [](EMU_OP) { return p; }},
    // two operands
    {"add_binary", "add_binary", 2, [](EMU_OP) { return a + b; }, cut},
    {"sub_binary", "sub_binary", 2, [](EMU_OP) { return a - b; }, cut},
    {"rsub_binary", "rsub_binary", 2, [](EMU_OP) { return b - a; }, cut},
    {"add_binary_nearest", "add_binary", 2, [](EMU_OP) { return a + b; }},
    {"sub_binary_nearest", "sub_binary", 2, [](EMU_OP) { return a - b; }},
    {"rsub_binary_nearest", "rsub_binary", 2, [](EMU_OP) { return b - a; }},
    {"mul_binary", "mul_binary", 2, [](EMU_OP) { return a * b; }},
    {"div_binary", "div_binary", 2, [](EMU_OP) { return a / b; }},
    {"power_binary", "power_binary", 2, [](EMU_OP) { return std::pow(a, b); }},
    {"fmod_binary", "fmod_binary", 2, [](EMU_OP) { return std::fmod(a, b); }},
    {"binary_max", "binary_max", 2, [](EMU_OP) { return a > b ? a : b; }},
    {"binary_min", "binary_min", 2, [](EMU_OP) { return a < b ? a : b; }},
    {"eq_binary", "eq_binary", 2, [](EMU_OP) { return a == b ? 1.0f : 0.0f; }},
    {"ne_binary", "ne_binary", 2, [](EMU_OP) { return a != b ? 1.0f : 0.0f; }},
    {"gt_binary", "gt_binary", 2, [](EMU_OP) { return a > b ? 1.0f : 0.0f; }},
    {"ge_binary", "ge_binary", 2, [](EMU_OP) { return a >= b ? 1.0f : 0.0f; }},
    {"lt_binary", "lt_binary", 2, [](EMU_OP) { return a < b ? 1.0f : 0.0f; }},
    {"le_binary", "le_binary", 2, [](EMU_OP) { return a <= b ? 1.0f : 0.0f; }},
    {"copy_dest_values", "copy_dest_values", 1, [](EMU_OP) { return a; }},
    // three operands
    {"where", "where", 3, [](EMU_OP) { return a != 0.0f ? b : c; }},
#undef EMU_OP
    // int32
#define EMU_INT                                                                                              \
    nullptr, Rounding::nearest, []([[maybe_unused]] std::int32_t a, [[maybe_unused]] std::int32_t b,         \
                                   [[maybe_unused]] std::int32_t c, [[maybe_unused]] std::int32_t p)
    {"fill_int32", "fill", 0, EMU_INT { return p; }},
    {"where_int32", "where", 3, EMU_INT { return a != 0 ? b : c; }},  // its condition may be a float
    {"abs_int32", "abs", 1, EMU_INT { return a < 0 ? wrap(0u - bits(a)) : a; }},
    {"add_int", "add_int", 2, EMU_INT { return wrap(bits(a) + bits(b)); }},
    {"sub_int", "sub_int", 2, EMU_INT { return wrap(bits(a) - bits(b)); }},
    {"mul_int", "mul_int", 2, EMU_INT { return wrap(bits(a) * bits(b)); }},
    {"binary_max_int32", "binary_max_int32", 2, EMU_INT { return a > b ? a : b; }},
    {"binary_min_int32", "binary_min_int32", 2, EMU_INT { return a < b ? a : b; }},
    {"bitwise_and_binary", "binary_bitwise", 2, EMU_INT { return a & b; }},
    {"bitwise_or_binary", "binary_bitwise", 2, EMU_INT { return a | b; }},
    {"bitwise_xor_binary", "binary_bitwise", 2, EMU_INT { return a ^ b; }},
    {"binary_left_shift", "binary_shift", 2, EMU_INT { return bits(b) < 32 ? wrap(bits(a) << b) : 0; }},
    {"binary_right_shift", "binary_shift", 2, EMU_INT { return a >> (bits(b) < 32 ? b : 31); }},
    {"eq_int", "eq_int", 2, EMU_INT { return std::int32_t{a == b}; }},
    {"ne_int", "ne_int", 2, EMU_INT { return std::int32_t{a != b}; }},
    {"lt_int", "lt_int", 2, EMU_INT { return std::int32_t{a < b}; }},
    {"gt_int", "gt_int", 2, EMU_INT { return std::int32_t{a > b}; }},
    {"le_int", "le_int", 2, EMU_INT { return std::int32_t{a <= b}; }},
    {"ge_int", "ge_int", 2, EMU_INT { return std::int32_t{a >= b}; }},
#undef EMU_INT
};

inline const Op& find(const char* name) {
    // Names are literals of the kernels: equal pointers are equal names, and each is compared as text only once.
    struct Known {
        const char* name;
        const Op* op;
    };
    static thread_local std::vector<Known> known;
    for (const Known& entry : known) {
        if (entry.name == name) {
            return *entry.op;
        }
    }
    for (const Op& op : table) {
        if (std::strcmp(op.name, name) == 0) {
            known.push_back({name, &op});
            return op;
        }
    }
    KERNEL_ERROR(no_index, "the emulator does not know the SFPU operation %s_tile", name);
}

// Applies an operation to tiles of DST, of which the int32 ones are floats by their bits.
inline void apply(const Op& op, const float* const inputs[3], std::uint32_t p0, std::uint32_t p1, float* out) {
    const auto operand = [&](auto zero, std::uint32_t number, std::uint32_t i) {
        return number < op.operands ? load<decltype(zero)>(inputs[number] + i) : zero;
    };
    for (std::uint32_t i = 0; i < tile_elements; ++i) {
        if (op.integers) {
            store(out + i, op.integers(operand(0, 0, i), operand(0, 1, i), operand(0, 2, i), wrap(p0)));
        } else {
            const float p = load<float>(&p0), q = load<float>(&p1);
            out[i] = op.function(operand(0.0f, 0, i), operand(0.0f, 1, i), operand(0.0f, 2, i), p, q);
        }
    }
}

inline void round_result(const Compute& compute, Rounding rounding, float* values) {
    for (std::uint32_t i = 0; i < tile_elements; i += chunk) {
        Words x = flush_denormals(load<Words>(values + i));
        if (compute.fp16_dest) {
            x = rounding == Rounding::truncate ? widen_fp16(narrow_fp16(x)) : round_fp16(x);
        } else if (!compute.fp32_dest) {
            x = rounding == Rounding::truncate ? x & 0xffff0000u : round_bf16_even(x);
        }
        store(values + i, x);
    }
}
}  // namespace sfpu

extern "C" {
void emu_sfpu_init(const char* init, emu::Site site) { computing(enter(site), "an SFPU init").sfpu_init = init; }

void emu_sfpu(
    const char* name,
    std::uint32_t a,
    std::uint32_t b,
    std::uint32_t c,
    std::uint32_t out,
    std::uint32_t p0,
    std::uint32_t p1,
    emu::Site site
) {
    Core& core = enter(site);
    const sfpu::Op& op = sfpu::find(name);
    Compute& compute = computing(core, name);
    if (compute.sfpu_init == nullptr || std::strcmp(compute.sfpu_init, op.init) != 0) {
        KERNEL_ERROR(
            no_index,
            "%s_tile without %s_tile_init: in force is %s%s",
            name,
            op.init,
            compute.sfpu_init ? compute.sfpu_init : "no SFPU init",
            compute.sfpu_init ? "_tile_init" : ""
        );
    }
    const auto kind = op.integers ? DstTile::Holds::integers : DstTile::Holds::floats;
    if (op.integers && !compute.fp32_dest) {
        KERNEL_ERROR(no_index, "%s_tile needs a float32 DST (fp32_dest_acc)", name);
    }
    const std::uint32_t operands[3] = {a, b, c};
    const float* inputs[3];
    bool reduced = false;
    for (std::uint32_t i = 0; i < 3; ++i) {
        const bool used = i < op.operands;
        DstTile& tile = used ? compute.dst.operand(operands[i], name) : compute.dst.math(out, name);
        const bool condition = i == 0 && std::strcmp(name, "where_int32") == 0;
        if (used && tile.holds != kind && !condition) {
            const char* const holds = op.integers ? "floats" : "integers";
            KERNEL_ERROR(no_index, "%s_tile of DST tile %u, which holds %s", name, operands[i], holds);
        }
        inputs[i] = tile.values;
        reduced = reduced || (used && tile.reduced);
    }
    DstTile& result = compute.dst.math(out, name);
    sfpu::apply(op, inputs, p0, p1, result.values);
    result.holds = kind;
    result.reduced = reduced;
    if (!op.integers) {
        sfpu::round_result(compute, op.rounding, result.values);
    }
    ++core.counts.sfpu;
}

void emu_typecast(DataFormat from, DataFormat to, std::uint32_t dst, emu::Site site) {
    Core& core = enter(site);
    Compute& compute = computing(core, "typecast_tile");
    if (compute.sfpu_init == nullptr || std::strcmp(compute.sfpu_init, "typecast") != 0) {
        KERNEL_ERROR(no_index, "typecast_tile without typecast_tile_init");
    }
    DstTile& tile = compute.dst.operand(dst, "typecast_tile");
    if ((tile.holds == DstTile::Holds::integers) != is_integer(from)) {
        KERNEL_ERROR(
            no_index,
            "typecast_tile from %s, but DST tile %u holds %s",
            format_name(from),
            dst,
            tile.holds == DstTile::Holds::integers ? "integers" : "floats"
        );
    }
    if (is_integer(to) && !compute.fp32_dest) {
        KERNEL_ERROR(no_index, "typecast_tile to %s needs a float32 DST (fp32_dest_acc)", format_name(to));
    }
    for (std::uint32_t i = 0; i < tile_elements; i += chunk) {
        Words x = load<Words>(tile.values + i);
        for (std::uint32_t lane = 0; lane < chunk; ++lane) {
            float value;
            std::uint32_t word = x[lane];
            std::memcpy(&value, &word, 4);
            if (is_integer(from) && !is_integer(to)) {
                value = from == DataFormat::Int32 ? static_cast<float>(static_cast<std::int32_t>(word))
                                                  : static_cast<float>(word);
                std::memcpy(&word, &value, 4);
            } else if (!is_integer(from) && is_integer(to)) {
                // Towards zero, saturating; NaN becomes 0.
                const double low = to == DataFormat::Int32 ? -2147483648.0 : 0.0,
                             high = to == DataFormat::Int32 ? 2147483647.0 : 4294967295.0;
                const double clamped = std::isnan(value) ? 0.0
                                       : value < low     ? low
                                       : value > high    ? high
                                                         : static_cast<double>(value);
                word = static_cast<std::uint32_t>(static_cast<std::int64_t>(clamped));
            }
            x[lane] = word;
        }
        if (to == DataFormat::Float16_b) {
            x = round_bf16_even(x);
        } else if (to == DataFormat::Float16) {
            x = round_fp16(x);
        }
        store(tile.values + i, x);
    }
    tile.holds = is_integer(to) ? DstTile::Holds::integers : DstTile::Holds::floats;
    ++core.counts.sfpu;
}
}
