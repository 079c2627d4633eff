// Data formats: tiles of four 16x16 faces in L1, row-major 32x32 floats here; with the rounding of the unpackers and
// packers.
//
// The chip's rules, each seen by running: a 16-bit float has no denormals, Float16 no infinity or NaN (exponent 31 is
// an ordinary one). Float32 loses its low 13 bits on the way through SrcA/SrcB (TF32), and becomes what DST holds where
// that is 16-bit. The
// packer rounds magnitudes half up, makes NaN infinite, and on Wormhole cuts float32 to Float16 without rounding.
#pragma once
#include <cstdint>
#include <cstring>

#include "../abi.h"

constexpr std::uint32_t tile_rows = 32, tile_elements = 1024;
using FloatTile = float[tile_elements];

// Block floats: the 16 elements of a face's row share an exponent byte; 64 of those come first in a tile.
constexpr bool is_block(DataFormat format) { return format == DataFormat::Bfp8_b || format == DataFormat::Bfp4_b; }
constexpr bool is_32_bit(DataFormat format) {
    return format == DataFormat::Float32 || format == DataFormat::Int32 || format == DataFormat::UInt32;
}
constexpr std::uint32_t tile_bytes(DataFormat format) {
    return format == DataFormat::Bfp8_b   ? 64 + tile_elements
           : format == DataFormat::Bfp4_b ? 64 + tile_elements / 2
           : is_32_bit(format)            ? 4 * tile_elements
                                          : 2 * tile_elements;
}
constexpr bool is_integer(DataFormat format) { return format == DataFormat::Int32 || format == DataFormat::UInt32; }
constexpr const char* format_name(DataFormat format) {
    switch (format) {
        case DataFormat::Float32:
            return "Float32";
        case DataFormat::Float16:
            return "Float16";
        case DataFormat::Float16_b:
            return "Float16_b";
        case DataFormat::Int32:
            return "Int32";
        case DataFormat::UInt32:
            return "UInt32";
        case DataFormat::Bfp8_b:
            return "Bfp8_b";
        case DataFormat::Bfp4_b:
            return "Bfp4_b";
        default:
            return "none";
    }
}

// As many elements as the machine's vectors hold, at most the 16 of a face's row.
#if defined(__AVX512F__)
constexpr std::uint32_t chunk = 16;
#elif defined(__AVX2__)
constexpr std::uint32_t chunk = 8;
#else
constexpr std::uint32_t chunk = 4;
#endif
using Words = std::uint32_t __attribute__((vector_size(chunk * 4)));
using Halves = std::uint16_t __attribute__((vector_size(chunk * 2)));
using Floats = float __attribute__((vector_size(chunk * 4)));

template <typename T>
inline T load(const void* from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
}
template <typename T>
inline void store(void* to, const T& value) {
    std::memcpy(to, &value, sizeof value);
}

// Zeros with the same sign in place of denormal floats.
inline Words flush_denormals(Words x) {
    const Words normal = reinterpret_cast<Words>((x & 0x7f800000u) != 0u);
    return x & (normal | 0x80000000u);
}
inline Words select(Words mask, Words yes, Words no) { return (mask & yes) | (~mask & no); }
template <typename Comparison>
inline Words mask_of(Comparison comparison) {
    return reinterpret_cast<Words>(comparison);
}

// Float16 of the chip to float32 bits, and back with truncation and saturation.
inline Words widen_fp16(Words half) {
    const Words magnitude = half & 0x7fffu;
    const Words wide = ((half & 0x8000u) << 16) | ((magnitude + (112u << 10)) << 13);
    return select(mask_of((magnitude & 0x7c00u) != 0u), wide, (half & 0x8000u) << 16);
}
inline Words narrow_fp16(Words x) {
    const Words sign = (x >> 16) & 0x8000u, magnitude = x & 0x7fffffffu;
    const Words half = sign | ((magnitude - (112u << 23)) >> 13);
    Words result = select(mask_of(magnitude >= (144u << 23)), sign | 0x7fffu, half);
    return select(mask_of(magnitude < (113u << 23)), sign, result);
}
inline Words nan_to_infinity(Words x) {
    return select(mask_of((x & 0x7fffffffu) > 0x7f800000u), (x & 0x80000000u) | 0x7f800000u, x);
}
// Float32 to bfloat16 as the packer and the matrix engine round: magnitudes half up. Gives float32 bits.
inline Words round_bf16(Words x) {
    const Words rounded = (nan_to_infinity(x) + 0x8000u) & 0xffff0000u;
    return flush_denormals(rounded) & mask_of((rounded & 0x7f800000u) != 0u);  // a denormal becomes +0
}
// The same to the chip's Float16.
inline Words round_fp16(Words x) { return widen_fp16(narrow_fp16(nan_to_infinity(x) + 0x1000u)); }
// To nearest even, which most SFPU operations do themselves before they store to a 16-bit DST.
inline Words round_bf16_even(Words x) {
    const Words clean = nan_to_infinity(x);
    return flush_denormals((clean + 0x7fffu + ((clean >> 16) & 1u)) & 0xffff0000u);
}

// Calls f(element in the order of faces, element in row-major order) for every chunk of a tile.
template <typename F>
inline void each_chunk(F f) {
    for (std::uint32_t sixteenth = 0; sixteenth < 64; ++sixteenth) {
        const std::uint32_t face = sixteenth / 16, row = sixteenth % 16;
        for (std::uint32_t i = 0; i < 16; i += chunk) {
            f(sixteenth * 16 + i, (face / 2 * 16 + row) * 32 + face % 2 * 16 + i);
        }
    }
}

// The place in a row-major tile of element `i` in the order of faces.
constexpr std::uint32_t row_major(std::uint32_t i) {
    return (i / 512 * 16 + i % 256 / 16) * 32 + i / 256 % 2 * 16 + i % 16;
}

// Element `i` of a tile of block floats: its magnitude's highest bit counts 2 to the power of the exponent.
inline float block_element(const std::uint8_t* tile, DataFormat format, std::uint32_t i) {
    const bool wide = format == DataFormat::Bfp8_b;
    const std::uint32_t width = wide ? 7 : 3, exponent = tile[i / 16];
    const std::uint32_t element = wide ? tile[64 + i] : tile[64 + i / 2] >> i % 2 * 4 & 15;
    const std::uint32_t magnitude = element & ((1u << width) - 1);
    if (magnitude == 0 || exponent == 0) {
        return 0.0f;
    }
    const std::uint32_t zeros = static_cast<std::uint32_t>(__builtin_clz(magnitude)) - (32 - width);
    const std::uint32_t bits = (element >> width) << 31 | ((exponent - zeros) & 0xff) << 23 |
                               ((magnitude << (24 - width + zeros)) & 0x7fffff);
    return load<float>(&bits);
}

// A row of 16 elements to block floats as the packer rounds: half up to the 7 bits of bfloat8_b, of which bfloat4_b
// keeps 3.
inline void pack_block_row(const std::uint32_t* bf16, DataFormat format, std::uint32_t row, std::uint8_t* tile) {
    std::uint32_t shared = 0;
    for (std::uint32_t i = 0; i < 16; ++i) {
        const std::uint32_t exponent = bf16[i] >> 7 & 0xff;
        shared = exponent > shared ? exponent : shared;
    }
    tile[row] = static_cast<std::uint8_t>(shared);
    for (std::uint32_t i = 0; i < 16; ++i) {
        const std::uint32_t exponent = bf16[i] >> 7 & 0xff, shift = shared - exponent;
        const std::uint32_t significand = (bf16[i] & 0x7f) | (exponent ? 0x80u : 0u);
        std::uint32_t magnitude = shift >= 8 ? 0 : (significand + (1u << shift)) >> (shift + 1);
        magnitude = magnitude > 127 ? 127 : magnitude;
        const std::uint32_t at = row * 16 + i, sign = bf16[i] >> 15;
        if (format == DataFormat::Bfp8_b) {
            tile[64 + at] = static_cast<std::uint8_t>(magnitude | (magnitude ? sign << 7 : 0));
        } else {
            magnitude >>= 4;
            const std::uint32_t half = magnitude | (magnitude ? sign << 3 : 0);
            std::uint8_t& byte = tile[64 + at / 2];
            byte = static_cast<std::uint8_t>(at % 2 ? (byte & 15u) | half << 4 : (byte & 0xf0u) | half);
        }
    }
}

// What float32 is cut to in SrcA and SrcB.
enum class Cut : std::uint8_t { tf32, bf16, fp16 };

// A tile as SrcA or SrcB get it; `mask` cuts mantissas further (math fidelity).
inline void unpack_tile(const std::uint8_t* tile, DataFormat format, Cut cut, std::uint32_t mask, float* out) {
    if (is_block(format)) {
        for (std::uint32_t i = 0; i < tile_elements; ++i) {
            const float value = block_element(tile, format, i);
            store(out + row_major(i), load<std::uint32_t>(&value) & mask);
        }
    } else if (format == DataFormat::Float16_b) {
        each_chunk([=](std::uint32_t from, std::uint32_t to) {
            const Words wide = __builtin_convertvector(load<Halves>(tile + from * 2), Words) << 16;
            store(out + to, flush_denormals(wide) & mask);
        });
    } else if (format == DataFormat::Float16) {
        each_chunk([=](std::uint32_t from, std::uint32_t to) {
            store(out + to, widen_fp16(__builtin_convertvector(load<Halves>(tile + from * 2), Words)) & mask);
        });
    } else if (cut == Cut::fp16) {
        each_chunk([=](std::uint32_t from, std::uint32_t to) {
            store(out + to, widen_fp16(narrow_fp16(load<Words>(tile + from * 4))) & mask);
        });
    } else {
        const std::uint32_t kept = (cut == Cut::tf32 ? 0xffffe000u : 0xffff0000u) & mask;
        each_chunk([=](std::uint32_t from, std::uint32_t to) {
            store(out + to, flush_denormals(load<Words>(tile + from * 4)) & kept);
        });
    }
}

// 32-bit words of a tile, unchanged: how integers, and float32 straight into DST, are unpacked.
inline void unpack_words(const std::uint8_t* tile, float* out) {
    each_chunk([=](std::uint32_t from, std::uint32_t to) { store(out + to, load<Words>(tile + from * 4)); });
}

inline Words add_floats(Words a, Words b) {
    const Floats sum = reinterpret_cast<Floats>(flush_denormals(a)) + reinterpret_cast<Floats>(flush_denormals(b));
    const Words bits = reinterpret_cast<Words>(sum);
    return flush_denormals(select(mask_of((bits & 0x7fffffffu) > 0x7f800000u), Words{} + 0x7fc00000u, bits));
}

// What the packer makes block floats of: of float32 it rounds magnitudes half up to 7 bits first, from 16.
inline Words block_source(Words x, bool fp32_dest) {
    const Words clean = nan_to_infinity(x), rounded = fp32_dest ? (((clean >> 16) + 1u) & ~1u) << 16 : clean;
    return rounded & mask_of((rounded & 0x7fff0000u) >= 0x800000u);
}

struct Packing {
    DataFormat format;
    bool wormhole, fp32_dest;
    bool accumulate;  // add to what is in L1 (packer L1 accumulation)
};

// Writes a tile of DST to L1.
inline void pack_tile(const float* dst, Packing packing, std::uint8_t* tile) {
    const bool accumulate = packing.accumulate;
    if (is_block(packing.format)) {
        for (std::uint32_t row = 0; row < 64; ++row) {
            std::uint32_t bf16[16];
            for (std::uint32_t i = 0; i < 16; i += chunk) {
                const Words x = load<Words>(dst + row_major(row * 16 + i));
                store(bf16 + i, block_source(x, packing.fp32_dest) >> 16);
            }
            pack_block_row(bf16, packing.format, row, tile);
        }
    } else if (is_integer(packing.format)) {
        each_chunk([=](std::uint32_t to, std::uint32_t from) { store(tile + to * 4, load<Words>(dst + from)); });
    } else if (packing.format == DataFormat::Float32) {
        each_chunk([=](std::uint32_t to, std::uint32_t from) {
            const Words x = load<Words>(dst + from);
            store(tile + to * 4, accumulate ? add_floats(load<Words>(tile + to * 4), x) : x);
        });
    } else if (packing.format == DataFormat::Float16_b) {
        each_chunk([=](std::uint32_t to, std::uint32_t from) {
            Words rounded = round_bf16(load<Words>(dst + from));
            if (accumulate) {
                const Words old = __builtin_convertvector(load<Halves>(tile + to * 2), Words) << 16;
                rounded = round_bf16_even(add_floats(old, rounded));
            }
            store(tile + to * 2, __builtin_convertvector(rounded >> 16, Halves));
        });
    } else {
        const std::uint32_t half_step = packing.fp32_dest && !packing.wormhole ? 0x1000u : 0u;
        each_chunk([=](std::uint32_t to, std::uint32_t from) {
            Words half = narrow_fp16(nan_to_infinity(load<Words>(dst + from)) + half_step);
            if (accumulate) {
                const Words old = widen_fp16(__builtin_convertvector(load<Halves>(tile + to * 2), Words));
                const Words sum = add_floats(old, widen_fp16(half));
                half = narrow_fp16(sum + 0xfffu + ((sum >> 13) & 1u));
            }
            store(tile + to * 2, __builtin_convertvector(half, Halves));
        });
    }
}
