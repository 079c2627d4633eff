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

constexpr std::uint32_t element_bytes(DataFormat format) {
    return format == DataFormat::Float16 || format == DataFormat::Float16_b ? 2 : 4;
}
constexpr std::uint32_t tile_bytes(DataFormat format) { return element_bytes(format) * tile_elements; }
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

// What float32 is cut to in SrcA and SrcB.
enum class Cut : std::uint8_t { tf32, bf16, fp16 };

// A tile as SrcA or SrcB get it; `mask` cuts mantissas further (math fidelity).
inline void unpack_tile(const std::uint8_t* tile, DataFormat format, Cut cut, std::uint32_t mask, float* out) {
    if (format == DataFormat::Float16_b) {
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

struct Packing {
    DataFormat format;
    bool wormhole, fp32_dest;
    bool accumulate;  // add to what is in L1 (packer L1 accumulation)
};

// Writes a tile of DST to L1.
inline void pack_tile(const float* dst, Packing packing, std::uint8_t* tile) {
    const bool accumulate = packing.accumulate;
    if (is_integer(packing.format)) {
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
