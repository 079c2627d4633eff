// Reductions of a tile along its rows, columns or both, on the matrix engine, and the packer's mask that goes with
// them.
#pragma once
#include <limits>

#include "compute.h"

extern "C" {
void emu_reduce_init(
    emu::Pool pool, emu::Reduce dim, std::uint32_t in, std::uint32_t scaler, std::uint32_t out, emu::Site site
) {
    Core& core = enter(site);
    for (const std::uint32_t cb : {in, scaler, out}) {
        get_cb(core, cb);
    }
    Init init;
    init.mode = Mode::reduce;
    init.pool = pool;
    init.dim = dim;
    set_init(core, init, "reduce_init");
    core.compute->reduce_mask = true;
}

void emu_reduce_uninit(emu::Site site) { computing(enter(site), "reduce_uninit").reduce_mask = false; }

void emu_reduce(
    emu::Pool pool,
    emu::Reduce dim,
    std::uint32_t in,
    std::uint32_t scaler,
    std::uint32_t tile,
    std::uint32_t scaler_tile,
    std::uint32_t dst,
    emu::Site site
) {
    Core& core = enter(site);
    Compute& compute = computing(core, "reduce_tile");
    check_mode(compute, Mode::reduce, "reduce_tile", "reduce_init");
    if (compute.init.pool != pool || compute.init.dim != dim) {
        KERNEL_ERROR(in, "reduce_tile of another kind than reduce_init's (line %u)", compute.init.line);
    }
    CircularBuffer &source = get_cb(core, in), &scale = get_cb(core, scaler);
    check_matrix_formats(compute.cut, source, scale, "reduce_tile");
    // Sums along rows are a product with the scaler as first operand; everything else takes the tile through SrcA.
    const bool swapped = dim == emu::Reduce::row && pool != emu::Pool::max;
    const char* const fix = swapped ? "reconfig_data_format(scaler, in)" : "reconfig_data_format(in, scaler)";
    check_source(compute.srca, swapped ? scale : source, "reduce_tile", "SrcA", fix);
    check_source(compute.srcb, swapped ? source : scale, "reduce_tile", "SrcB", fix);
    DstTile& out = compute.dst.math(dst, "reduce_tile");
    const float *values = compute.left[0], *factors = compute.right[0];
    unpack_tile(
        front_tile(core, source, tile, "reduce_tile"), source.spec->format, compute.cut, all_bits, compute.left[0]
    );
    unpack_tile(
        front_tile(core, scale, scaler_tile, "reduce_tile"), scale.spec->format, compute.cut, all_bits, compute.right[0]
    );

    const bool max = pool == emu::Pool::max, fresh = out.holds == DstTile::Holds::nothing;
    begin_accumulation(out);
    alignas(64) FloatTile result;
    std::memcpy(result, out.values, sizeof result);
    for (std::uint32_t i = 0; max && fresh && i < tile_elements; ++i) {
        result[i] = -std::numeric_limits<float>::infinity();  // as the chip takes a DST that nothing was written to
    }
    for (std::uint32_t row = 0; row < 32; ++row) {
        for (std::uint32_t column = 0; column < 32; ++column) {
            const std::uint32_t to = dim == emu::Reduce::row ? row * 32 : dim == emu::Reduce::col ? column : 0;
            // Only the first row of the scaler's first face is used.
            const float factor = factors[(dim == emu::Reduce::col ? row : column) % 16];
            const float value = values[row * 32 + column];
            if (max && factor != 1.0f) {
                KERNEL_ERROR(
                    scaler,
                    "reduce_tile of a maximum with a scaler of %g; the chip takes 1",
                    static_cast<double>(factor)
                );
            }
            result[to] = max ? (value > result[to] ? value : result[to]) : result[to] + value * factor;
        }
    }
    for (std::uint32_t i = 0; i < tile_elements; ++i) {
        const bool kept = dim == emu::Reduce::row ? i % 32 == 0 : dim == emu::Reduce::col ? i < 32 : i == 0;
        out.values[i] = kept ? result[i] : 0.0f;
    }
    out.reduced = true;
    round_dst(compute, out.values);
    ++core.counts.eltwise;
    core.counts.unpacks += 2;
}
}
