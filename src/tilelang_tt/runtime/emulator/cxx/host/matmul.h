// The matrix engine's product of two tiles: C += A * B, all 32x32, row-major.
//
// Every element is accumulated in order of k, in float32, one rounding per step. Operands come through SrcA/SrcB and
// have at most 11 significant bits, so their products are exact: fused and separate multiply-add give the same bits,
// and results do not depend on the machine.
#pragma once
#include <cstdint>

#include "formats.h"

#if defined(__AVX512F__)
using Lanes = float __attribute__((vector_size(64)));
constexpr std::uint32_t block_rows = 8, block_columns = 32;
#elif defined(__AVX__)
using Lanes = float __attribute__((vector_size(32)));
constexpr std::uint32_t block_rows = 4, block_columns = 16;
#else
using Lanes = float __attribute__((vector_size(16)));
constexpr std::uint32_t block_rows = 4, block_columns = 8;
#endif
constexpr std::uint32_t lane_count = sizeof(Lanes) / sizeof(float);

#pragma GCC push_options
#pragma GCC optimize("fp-contract=fast")
// Adds A[:, k0:k1] * B[k0:k1, :].
inline void multiply_add(const float* a, const float* b, float* c, std::uint32_t k0 = 0, std::uint32_t k1 = 32) {
    constexpr std::uint32_t vectors = block_columns / lane_count;
    for (std::uint32_t column = 0; column < 32; column += block_columns) {
        for (std::uint32_t row = 0; row < 32; row += block_rows) {
            Lanes sum[block_rows][vectors];
            for (std::uint32_t r = 0; r < block_rows; ++r) {
                for (std::uint32_t v = 0; v < vectors; ++v) {
                    sum[r][v] = load<Lanes>(c + (row + r) * 32 + column + v * lane_count);
                }
            }
            for (std::uint32_t k = k0; k < k1; ++k) {
                Lanes right[vectors];
                for (std::uint32_t v = 0; v < vectors; ++v) {
                    right[v] = load<Lanes>(b + k * 32 + column + v * lane_count);
                }
                for (std::uint32_t r = 0; r < block_rows; ++r) {
                    const float left = a[(row + r) * 32 + k];
                    for (std::uint32_t v = 0; v < vectors; ++v) {
                        sum[r][v] += left * right[v];
                    }
                }
            }
            for (std::uint32_t r = 0; r < block_rows; ++r) {
                for (std::uint32_t v = 0; v < vectors; ++v) {
                    store(c + (row + r) * 32 + column + v * lane_count, sum[r][v]);
                }
            }
        }
    }
}

#pragma GCC pop_options

inline void transpose_floats(const float* in, float* out) {
    for (std::uint32_t r = 0; r < 32; ++r) {
        for (std::uint32_t c = 0; c < 32; ++c) {
            out[c * 32 + r] = in[r * 32 + c];
        }
    }
}
