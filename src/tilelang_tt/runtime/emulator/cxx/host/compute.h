// The compute kernel's side of a core: configuration of unpackers, math and packer, and the operations on tiles.
//
// The chip takes formats and modes from the last init and reconfig calls and computes garbage where they do not fit
// what it is given. Here every operation checks them and names the call that is missing.
#pragma once
#include "cb.h"
#include "dst.h"
#include "matmul.h"

enum class Mode : std::uint8_t { none, matmul, copy, unary_bcast, transpose, binary, reuse, reduce };

struct Operand {  // what an unpacker or the packer is configured for
    DataFormat format = DataFormat::Invalid;
    bool to_dest = false;
    bool operator==(const Operand& other) const { return format == other.format && to_dest == other.to_dest; }
    bool operator!=(const Operand& other) const { return !(*this == other); }
};

struct Init {  // the init call in force
    Mode mode = Mode::none;
    const char* call = "no init";
    std::uint32_t line = 0;
    std::uint32_t transpose = 0, ct = 1, rt = 1, kt = 1;
    emu::Eltwise op = emu::Eltwise::add;
    emu::Bcast bcast = emu::Bcast::none;
    emu::ReuseDest reuse = emu::ReuseDest::none;
    bool accumulate = false;
    emu::Pool pool = emu::Pool::sum;
    emu::Reduce dim = emu::Reduce::row;
};

struct Compute {
    explicit Compute(const Program& program)
        : fp32_dest(program.fp32_dest),
          fp16_dest(!program.fp32_dest && program.uses_fp16()),
          cut(fp32_dest   ? Cut::tf32
              : fp16_dest ? Cut::fp16
                          : Cut::bf16),
          fidelity(program.fidelity),
          dst(program.fp32_dest) {}

    const bool fp32_dest;
    const bool fp16_dest;  // a 16-bit DST holds Float16 in programs that use it, else bfloat16
    const Cut cut;
    const Fidelity fidelity;
    bool started = false;
    Operand srca, srcb, out;
    Init init;
    const char* sfpu_init = nullptr;
    bool l1_accumulate = false;
    bool reduce_mask = false;  // the packer keeps only what a reduction leaves
    Dst dst;

    alignas(64) FloatTile left[8], right[8], scratch;
};

// How many of an 11-bit mantissa's bits each fidelity phase takes: SrcA its 5 high or 5 following ones, SrcB its 7 high
// or the rest.
constexpr std::uint32_t all_bits = 0xffffffff, srca_high = 0xfff80000, srca_all = 0xffffc000, srcb_high = 0xfffe0000;

inline Compute& computing(Core& core, const char* call) {
    Compute& compute = *core.compute;
    if (!compute.started) {
        KERNEL_ERROR(no_index, "%s before compute_kernel_hw_startup", call);
    }
    return compute;
}

inline Operand operand_of(const CircularBuffer& cb) { return {cb.spec->format, cb.spec->unpack_to_dest}; }

inline std::string operand_text(const Operand& operand) {
    return operand.format == DataFormat::Invalid
               ? "nothing"
               : std::string(format_name(operand.format)) + (operand.to_dest ? " straight to DST" : "");
}

inline void check_mode(const Compute& compute, Mode mode, const char* call, const char* wanted) {
    if (compute.init.mode != mode) {
        KERNEL_ERROR(
            no_index, "%s without %s: in force is %s (line %u)", call, wanted, compute.init.call, compute.init.line
        );
    }
}

inline void check_source(
    const Operand& configured, const CircularBuffer& cb, const char* call, const char* source, const char* fix
) {
    if (configured != operand_of(cb)) {
        KERNEL_ERROR(
            cb.spec->index,
            "%s reads a circular buffer of %s, but %s is configured for %s: %s is missing",
            call,
            operand_text(operand_of(cb)).c_str(),
            source,
            operand_text(configured).c_str(),
            fix
        );
    }
}

// Operands of the matrix engine: floats of one exponent width that go through SrcA and SrcB.
inline void check_matrix_formats(Cut cut, const CircularBuffer& cb0, const CircularBuffer& cb1, const char* call) {
    for (const CircularBuffer* cb : {&cb0, &cb1}) {
        if (is_integer(cb->spec->format)) {
            KERNEL_ERROR(
                cb->spec->index, "%s of %s: the matrix engine takes floats", call, format_name(cb->spec->format)
            );
        }
        if (cb->spec->unpack_to_dest) {
            KERNEL_ERROR(
                cb->spec->index,
                "%s of a circular buffer that unpacks straight to DST: only copy_tile can read it",
                call
            );
        }
    }
    // With a 16-bit DST float32 is cut to the other operand's format on the way.
    const bool one_width =
        cut != Cut::tf32 && (cb0.spec->format == DataFormat::Float32 || cb1.spec->format == DataFormat::Float32);
    if (!one_width && (cb0.spec->format == DataFormat::Float16) != (cb1.spec->format == DataFormat::Float16)) {
        KERNEL_ERROR(
            cb1.spec->index,
            "%s of %s and %s: the matrix engine cannot mix Float16 with formats of 8-bit exponents",
            call,
            format_name(cb0.spec->format),
            format_name(cb1.spec->format)
        );
    }
}

// The bytes of tile `index` from the front of a circular buffer, checked.
inline const std::uint8_t* front_tile(Core& core, CircularBuffer& cb, std::uint32_t index, const char* call) {
    if (cb.consumer != static_cast<int>(Role::compute) || index >= cb.waited) {
        KERNEL_ERROR(
            cb.spec->index,
            "%s reads tile %u, but %s",
            call,
            index,
            cb.waited == 0 ? "cb_wait_front is missing"
                           : format_text("cb_wait_front waited for %u pages only", cb.waited).c_str()
        );
    }
    if (cb.read_page + index >= cb.spec->pages) {
        KERNEL_ERROR(
            cb.spec->index,
            "%s reads tile %u, past the end of the circular buffer; tiles do not wrap around",
            call,
            index
        );
    }
    const std::uint32_t offset = cb.spec->address + (cb.read_page + index) * cb.page_bytes();
    check_l1_content(core, offset, cb.page_bytes(), cb.spec->index);
    return core.l1->at(offset);
}

inline void round_dst(const Compute& compute, float* values) {
    if (compute.fp32_dest) {
        return;
    }
    for (std::uint32_t i = 0; i < tile_elements; i += chunk) {
        const Words x = load<Words>(values + i);
        store(values + i, compute.fp16_dest ? round_fp16(x) : round_bf16(x));
    }
}

inline void begin_accumulation(DstTile& tile) {
    if (tile.holds == DstTile::Holds::nothing) {
        std::memset(tile.values, 0, sizeof tile.values);
    }
    tile.holds = DstTile::Holds::floats;
}

// One fidelity phase's parts of the operands.
inline void phase_parts(const float* a, const float* b, std::uint32_t phase, float* a_part, float* b_part) {
    for (std::uint32_t i = 0; i < tile_elements; i += chunk) {
        const Words a_all = load<Words>(a + i) & srca_all, b_all = load<Words>(b + i);
        const Words a_high = a_all & srca_high, b_high = b_all & srcb_high;
        store(
            a_part + i,
            phase & 1 ? reinterpret_cast<Floats>(a_all) - reinterpret_cast<Floats>(a_high)
                      : reinterpret_cast<Floats>(a_high)
        );
        store(
            b_part + i,
            phase & 2 ? reinterpret_cast<Floats>(b_all) - reinterpret_cast<Floats>(b_high)
                      : reinterpret_cast<Floats>(b_high)
        );
    }
}
constexpr std::uint32_t phase_count(Fidelity fidelity) { return static_cast<std::uint32_t>(fidelity) + 1; }

// What the masks of one product of all phases are, where DST is float32 and the sum of the phases is exact.
constexpr std::uint32_t srca_mask(Fidelity fidelity) { return fidelity == Fidelity::LoFi ? srca_high : srca_all; }
constexpr std::uint32_t srcb_mask(Fidelity fidelity) {
    return fidelity == Fidelity::LoFi || fidelity == Fidelity::HiFi2 ? srcb_high : all_bits;
}
// HiFi3 lacks the product of the low parts, so it is not one product of masked operands; a 16-bit DST rounds every
// phase.
inline bool in_phases(const Compute& compute) { return !compute.fp32_dest || compute.fidelity == Fidelity::HiFi3; }

// A + B as the matrix engine adds: the smaller operand is rounded half up to the last of the larger one's 11 bits.
inline float engine_add(float a, float b) {
    const float x = __builtin_fabsf(a) < __builtin_fabsf(b) ? b : a;
    const float y = __builtin_fabsf(a) < __builtin_fabsf(b) ? a : b;
    std::uint32_t bits;
    std::memcpy(&bits, &x, 4);
    const std::uint32_t exponent = bits >> 23 & 0xff;
    if (exponent < 12 || exponent > 250) {
        return a + b;
    }
    const std::uint32_t up = (264 - exponent) << 23, down = (exponent - 10) << 23;
    float scale, unscale;
    std::memcpy(&scale, &up, 4);
    std::memcpy(&unscale, &down, 4);
    const float steps = static_cast<float>(static_cast<std::int32_t>(__builtin_fabsf(y) * scale + 0.5f));
    return x + __builtin_copysignf(steps * unscale, y);
}

// op(SrcA, SrcB) into a tile of DST; products always add to DST, sums only in accumulating mode.
inline void engine_binary(
    Compute& compute, emu::Eltwise op, const float* a, const float* b, bool accumulate, DstTile& tile
) {
    if (op == emu::Eltwise::mul) {
        begin_accumulation(tile);
        for (std::uint32_t phase = 0; phase < phase_count(compute.fidelity); ++phase) {
            if (!in_phases(compute)) {
                for (std::uint32_t i = 0; i < tile_elements; ++i) {
                    tile.values[i] += a[i] * b[i];
                }
                return;
            }
            phase_parts(a, b, phase, compute.left[1], compute.right[1]);
            for (std::uint32_t i = 0; i < tile_elements; ++i) {
                tile.values[i] += compute.left[1][i] * compute.right[1][i];
            }
            round_dst(compute, tile.values);
        }
        return;
    }
    const float sign = op == emu::Eltwise::sub ? -1.0f : 1.0f;
    if (accumulate) {
        begin_accumulation(tile);
    }
    for (std::uint32_t i = 0; i < tile_elements; ++i) {
        const float sum = engine_add(a[i], sign * b[i]);
        tile.values[i] = accumulate ? tile.values[i] + sum : sum;
    }
    tile.holds = DstTile::Holds::floats;
    round_dst(compute, tile.values);
}

inline void broadcast(emu::Bcast bcast, std::uint32_t row, float* tile) {
    FloatTile copy;
    std::memcpy(copy, tile, sizeof copy);
    for (std::uint32_t i = 0; i < tile_elements && bcast != emu::Bcast::none; ++i) {
        tile[i] = copy[bcast == emu::Bcast::row ? row * 32 + i % 32 : bcast == emu::Bcast::col ? i / 32 * 32 : 0];
    }
}

inline void set_init(Core& core, Init init, const char* call) {
    Compute& compute = computing(core, call);
    init.call = call;
    init.line = core.current->site.line;
    compute.init = init;
}

extern "C" {
void emu_hw_startup(std::uint32_t srca, std::uint32_t srcb, std::uint32_t out, emu::Site site) {
    Core& core = enter(site);
    Compute& compute = *core.compute;
    if (compute.started) {
        KERNEL_ERROR(no_index, "compute_kernel_hw_startup a second time; it may be called once, first of all");
    }
    compute.srca = operand_of(get_cb(core, srca));
    compute.srcb = operand_of(get_cb(core, srcb));
    compute.out = operand_of(get_cb(core, out));
    compute.started = true;
}

void emu_reconfig_srca(std::uint32_t cb, emu::Site site) {
    Core& core = enter(site);
    computing(core, "reconfig_data_format").srca = operand_of(get_cb(core, cb));
}
void emu_reconfig_srcb(std::uint32_t cb, emu::Site site) {
    Core& core = enter(site);
    computing(core, "reconfig_data_format").srcb = operand_of(get_cb(core, cb));
}
void emu_reconfig_pack(std::uint32_t cb, emu::Site site) {
    Core& core = enter(site);
    computing(core, "pack_reconfig_data_format").out = operand_of(get_cb(core, cb));
}
// With the old buffer given, the chip compares the two formats and skips the change where they are equal.
void emu_reconfig_srca_from(std::uint32_t old_cb, std::uint32_t cb, emu::Site site) {
    Core& core = enter(site);
    if (operand_of(get_cb(core, old_cb)) != operand_of(get_cb(core, cb))) {
        emu_reconfig_srca(cb, site);
    }
}
void emu_reconfig_srcb_from(std::uint32_t old_cb, std::uint32_t cb, emu::Site site) {
    Core& core = enter(site);
    if (operand_of(get_cb(core, old_cb)) != operand_of(get_cb(core, cb))) {
        emu_reconfig_srcb(cb, site);
    }
}
void emu_reconfig_pack_from(std::uint32_t old_cb, std::uint32_t cb, emu::Site site) {
    Core& core = enter(site);
    if (operand_of(get_cb(core, old_cb)) != operand_of(get_cb(core, cb))) {
        emu_reconfig_pack(cb, site);
    }
}
void emu_pack_l1_acc(std::uint32_t enable, emu::Site site) {
    computing(enter(site), "pack_reconfig_l1_acc").l1_accumulate = enable != 0;
}

void emu_matmul_init(
    std::uint32_t in0,
    std::uint32_t in1,
    std::uint32_t transpose,
    std::uint32_t ct,
    std::uint32_t rt,
    std::uint32_t kt,
    emu::Site site
) {
    Core& core = enter(site);
    Init init;
    init.mode = Mode::matmul;
    init.transpose = transpose != 0;
    init.ct = ct;
    init.rt = rt;
    init.kt = kt;
    get_cb(core, in0);
    get_cb(core, in1);
    set_init(core, init, ct * rt * kt == 1 ? "matmul_init" : "matmul_block_init");
}

void emu_copy_init(std::uint32_t cb, std::uint32_t transpose, emu::Site site) {
    Core& core = enter(site);
    get_cb(core, cb);
    if (transpose == 1 || transpose == 2) {
        KERNEL_ERROR(cb, "copy_init with only one of its two transpositions; the emulator knows both or none");
    }
    Init init;
    init.mode = Mode::copy;
    init.transpose = transpose != 0;
    set_init(core, init, "copy_init");
}

void emu_unary_bcast_init(emu::Bcast bcast, std::uint32_t cb, emu::Site site) {
    Core& core = enter(site);
    get_cb(core, cb);
    Init init;
    init.mode = Mode::unary_bcast;
    init.bcast = bcast;
    set_init(core, init, "unary_bcast_init");
}

void emu_transpose_init(std::uint32_t cb, emu::Site site) {
    Core& core = enter(site);
    get_cb(core, cb);
    Init init;
    init.mode = Mode::transpose;
    set_init(core, init, "transpose_init");
}

inline const char* binary_init_name(emu::Eltwise op, emu::Bcast bcast) {
    static const char* const names[3][4] = {
        {"add_init", "add_bcast_cols_init", "add_bcast_rows_init", "add_bcast_scalar_init"},
        {"sub_init", "sub_bcast_cols_init", "sub_bcast_rows_init", "sub_bcast_scalar_init"},
        {"mul_init", "mul_bcast_cols_init", "mul_bcast_rows_init", "mul_bcast_scalar_init"}
    };
    return names[static_cast<int>(op)][static_cast<int>(bcast)];
}
inline const char* binary_tiles_name(emu::Eltwise op, emu::Bcast bcast) {
    static const char* const names[3][4] = {
        {"add_tiles", "add_tiles_bcast_cols", "add_tiles_bcast_rows", "add_tiles_bcast_scalar"},
        {"sub_tiles", "sub_tiles_bcast_cols", "sub_tiles_bcast_rows", "sub_tiles_bcast_scalar"},
        {"mul_tiles", "mul_tiles_bcast_cols", "mul_tiles_bcast_rows", "mul_tiles_bcast_scalar"}
    };
    return names[static_cast<int>(op)][static_cast<int>(bcast)];
}
inline const char* reuse_name(emu::Eltwise op, bool init) {
    static const char* const names[3][2] = {
        {"add_reuse_dest_tiles", "add_reuse_dest_init"},
        {"sub_reuse_dest_tiles", "sub_reuse_dest_init"},
        {"mul_reuse_dest_tiles", "mul_reuse_dest_init"}
    };
    return names[static_cast<int>(op)][init];
}

void emu_binary_init(
    emu::Eltwise op, emu::Bcast bcast, std::uint32_t in0, std::uint32_t in1, bool accumulate, emu::Site site
) {
    Core& core = enter(site);
    get_cb(core, in0);
    get_cb(core, in1);
    Init init;
    init.mode = Mode::binary;
    init.op = op;
    init.bcast = bcast;
    init.accumulate = accumulate;
    set_init(core, init, binary_init_name(op, bcast));
}

void emu_reuse_init(emu::Eltwise op, emu::ReuseDest reuse, std::uint32_t cb, emu::Site site) {
    Core& core = enter(site);
    get_cb(core, cb);
    Init init;
    init.mode = Mode::reuse;
    init.op = op;
    init.reuse = reuse;
    set_init(core, init, reuse_name(op, true));
}

void emu_dst_acquire(emu::Site site) { computing(enter(site), "tile_regs_acquire").dst.acquire(); }
void emu_dst_commit(emu::Site site) { computing(enter(site), "tile_regs_commit").dst.commit(); }
void emu_dst_wait(emu::Site site) { computing(enter(site), "tile_regs_wait").dst.wait(); }
void emu_dst_release(emu::Site site) { computing(enter(site), "tile_regs_release").dst.release(); }

void emu_matmul(
    std::uint32_t in0,
    std::uint32_t in1,
    std::uint32_t tile0,
    std::uint32_t tile1,
    std::uint32_t dst,
    std::uint32_t transpose,
    std::uint32_t ct,
    std::uint32_t rt,
    std::uint32_t kt,
    emu::Site site
) {
    Core& core = enter(site);
    const bool block = transpose != ~0u;
    const char* const call = block ? "matmul_block" : "matmul_tiles";
    Compute& compute = computing(core, call);
    CircularBuffer &cb0 = get_cb(core, in0), &cb1 = get_cb(core, in1);
    check_mode(compute, Mode::matmul, call, block ? "matmul_block_init" : "matmul_init");
    const Init& init = compute.init;
    if (init.ct != ct || init.rt != rt || init.kt != kt || (block && init.transpose != transpose)) {
        KERNEL_ERROR(
            no_index,
            "%s with ct %u, rt %u, kt %u, transpose %u, but the init in force (line %u) has ct %u, rt %u, kt %u, "
            "transpose %u",
            call,
            ct,
            rt,
            kt,
            block ? transpose : 0,
            init.line,
            init.ct,
            init.rt,
            init.kt,
            init.transpose
        );
    }
    check_matrix_formats(compute.cut, cb0, cb1, call);
    // The product takes its first operand through SrcB.
    check_source(compute.srcb, cb0, call, "SrcB", "reconfig_data_format<SrcOrder::Reverse>(in0, in1)");
    check_source(compute.srca, cb1, call, "SrcA", "reconfig_data_format<SrcOrder::Reverse>(in0, in1)");
    compute.dst.math(dst + rt * ct - 1, call);

    const bool phases = in_phases(compute);
    const std::uint32_t mask0 = phases ? all_bits : srcb_mask(compute.fidelity);
    const std::uint32_t mask1 = phases ? all_bits : srca_mask(compute.fidelity);
    for (std::uint32_t r = 0; r < rt; ++r) {
        const std::uint8_t* tile = front_tile(core, cb0, tile0 + r * kt, call);
        unpack_tile(tile, cb0.spec->format, compute.cut, mask0, compute.left[r]);
    }
    for (std::uint32_t c = 0; c < ct; ++c) {
        const std::uint8_t* tile = front_tile(core, cb1, tile1 + c, call);
        if (init.transpose) {
            unpack_tile(tile, cb1.spec->format, compute.cut, mask1, compute.scratch);
            transpose_floats(compute.scratch, compute.right[c]);
        } else {
            unpack_tile(tile, cb1.spec->format, compute.cut, mask1, compute.right[c]);
        }
    }
    for (std::uint32_t r = 0; r < rt; ++r) {
        for (std::uint32_t c = 0; c < ct; ++c) {
            DstTile& tile = compute.dst.math(dst + r * ct + c, call);
            begin_accumulation(tile);
            if (!phases) {
                multiply_add(compute.left[r], compute.right[c], tile.values);
                continue;
            }
            for (std::uint32_t phase = 0; phase < phase_count(compute.fidelity); ++phase) {
                alignas(64) FloatTile a, b;
                phase_parts(compute.right[c], compute.left[r], phase, b, a);
                for (std::uint32_t k = 0; k < 32; k += 16) {
                    multiply_add(a, b, tile.values, k, k + 16);
                    round_dst(compute, tile.values);
                }
            }
        }
    }
    core.counts.products += rt * ct;
    core.counts.unpacks += ct >= rt ? rt * (1 + ct) : ct * (1 + rt);
}

void emu_copy(std::uint32_t index, std::uint32_t tile, std::uint32_t dst, emu::Site site) {
    Core& core = enter(site);
    Compute& compute = computing(core, "copy_tile");
    CircularBuffer& cb = get_cb(core, index);
    check_mode(compute, Mode::copy, "copy_tile", "copy_init");
    check_source(compute.srca, cb, "copy_tile", "SrcA", "reconfig_data_format_srca(cb)");
    DstTile& out = compute.dst.math(dst, "copy_tile");
    const bool whole = is_integer(cb.spec->format) || cb.spec->unpack_to_dest;
    if (whole && !compute.fp32_dest) {
        KERNEL_ERROR(
            index, "copy_tile of %s needs a float32 DST (fp32_dest_acc)", operand_text(operand_of(cb)).c_str()
        );
    }
    const std::uint8_t* source = front_tile(core, cb, tile, "copy_tile");
    float* values = compute.init.transpose ? compute.scratch : out.values;
    if (whole) {
        unpack_words(source, values);
    } else {
        unpack_tile(source, cb.spec->format, compute.cut, all_bits, values);
    }
    if (compute.init.transpose) {
        transpose_floats(values, out.values);
    }
    out.holds = is_integer(cb.spec->format) ? DstTile::Holds::integers : DstTile::Holds::floats;
    ++core.counts.unpacks;
}

void emu_unary_bcast(emu::Bcast bcast, std::uint32_t index, std::uint32_t tile, std::uint32_t dst, emu::Site site) {
    Core& core = enter(site);
    Compute& compute = computing(core, "unary_bcast");
    CircularBuffer& cb = get_cb(core, index);
    check_mode(compute, Mode::unary_bcast, "unary_bcast", "unary_bcast_init");
    if (compute.init.bcast != bcast) {
        KERNEL_ERROR(
            index, "unary_bcast of another broadcast type than unary_bcast_init's (line %u)", compute.init.line
        );
    }
    check_source(compute.srca, cb, "unary_bcast", "SrcA", "reconfig_data_format_srca(cb)");
    if (compute.fp32_dest && !is_32_bit(cb.spec->format)) {
        KERNEL_ERROR(
            index, "unary_bcast of a 16-bit circular buffer with a float32 DST writes wrong numbers on the chip"
        );
    }
    DstTile& out = compute.dst.math(dst, "unary_bcast");
    unpack_tile(front_tile(core, cb, tile, "unary_bcast"), cb.spec->format, compute.cut, all_bits, out.values);
    broadcast(bcast, 0, out.values);
    out.holds = DstTile::Holds::floats;
    ++core.counts.unpacks;
}

void emu_transpose(std::uint32_t index, std::uint32_t tile, std::uint32_t dst, emu::Site site) {
    Core& core = enter(site);
    Compute& compute = computing(core, "transpose_tile");
    CircularBuffer& cb = get_cb(core, index);
    check_mode(compute, Mode::transpose, "transpose_tile", "transpose_init");
    check_source(compute.srca, cb, "transpose_tile", "SrcA", "reconfig_data_format_srca(cb)");
    DstTile& out = compute.dst.math(dst, "transpose_tile");
    const std::uint8_t* source = front_tile(core, cb, tile, "transpose_tile");
    if (is_integer(cb.spec->format) || cb.spec->unpack_to_dest) {
        unpack_words(source, compute.scratch);
    } else {
        unpack_tile(source, cb.spec->format, compute.cut, all_bits, compute.scratch);
    }
    transpose_floats(compute.scratch, out.values);
    out.holds = is_integer(cb.spec->format) ? DstTile::Holds::integers : DstTile::Holds::floats;
    ++core.counts.unpacks;
}

void emu_binary(
    emu::Eltwise op,
    emu::Bcast bcast,
    std::uint32_t in0,
    std::uint32_t in1,
    std::uint32_t tile0,
    std::uint32_t tile1,
    std::uint32_t dst,
    std::uint32_t bcast_row,
    emu::Site site
) {
    Core& core = enter(site);
    const char* const call = binary_tiles_name(op, bcast);
    Compute& compute = computing(core, call);
    CircularBuffer &cb0 = get_cb(core, in0), &cb1 = get_cb(core, in1);
    if (compute.init.mode != Mode::binary || compute.init.op != op || compute.init.bcast != bcast) {
        KERNEL_ERROR(
            no_index,
            "%s without %s: in force is %s (line %u)",
            call,
            binary_init_name(op, bcast),
            compute.init.call,
            compute.init.line
        );
    }
    check_matrix_formats(compute.cut, cb0, cb1, call);
    check_source(compute.srca, cb0, call, "SrcA", "reconfig_data_format(in0, in1)");
    check_source(compute.srcb, cb1, call, "SrcB", "reconfig_data_format(in0, in1)");
    DstTile& out = compute.dst.math(dst, call);
    const bool whole = op != emu::Eltwise::mul || in_phases(compute);
    unpack_tile(
        front_tile(core, cb0, tile0, call),
        cb0.spec->format,
        compute.cut,
        whole ? all_bits : srca_mask(compute.fidelity),
        compute.left[0]
    );
    unpack_tile(
        front_tile(core, cb1, tile1, call),
        cb1.spec->format,
        compute.cut,
        whole ? all_bits : srcb_mask(compute.fidelity),
        compute.right[0]
    );
    if (bcast_row >= tile_rows) {
        KERNEL_ERROR(in1, "%s of row %u of a tile", call, bcast_row);
    }
    broadcast(bcast, bcast_row, compute.right[0]);
    engine_binary(compute, op, compute.left[0], compute.right[0], compute.init.accumulate, out);
    ++core.counts.eltwise;
    core.counts.unpacks += 2;
}

void emu_reuse(
    emu::Eltwise op, emu::ReuseDest reuse, std::uint32_t index, std::uint32_t tile, std::uint32_t dst, emu::Site site
) {
    Core& core = enter(site);
    const char* const call = reuse_name(op, false);
    Compute& compute = computing(core, call);
    CircularBuffer& cb = get_cb(core, index);
    if (compute.init.mode != Mode::reuse || compute.init.op != op || compute.init.reuse != reuse) {
        KERNEL_ERROR(
            no_index,
            "%s without %s: in force is %s (line %u)",
            call,
            reuse_name(op, true),
            compute.init.call,
            compute.init.line
        );
    }
    check_matrix_formats(compute.cut, cb, cb, call);
    const bool dst_is_a = reuse == emu::ReuseDest::srca;
    check_source(
        dst_is_a ? compute.srcb : compute.srca,
        cb,
        call,
        dst_is_a ? "SrcB" : "SrcA",
        dst_is_a ? "reconfig_data_format_srcb(cb)" : "reconfig_data_format_srca(cb)"
    );
    DstTile& out = compute.dst.operand(dst, call);
    unpack_tile(front_tile(core, cb, tile, call), cb.spec->format, compute.cut, all_bits, compute.right[0]);
    // DST goes through the other source register, in that register's precision: cut, not rounded.
    const std::uint32_t kept = compute.srca.format == DataFormat::Float16_b ? 0xffff0000u : 0xffffe000u;
    for (std::uint32_t i = 0; i < tile_elements; i += chunk) {
        store(compute.left[0] + i, flush_denormals(load<Words>(out.values + i)) & kept);
    }
    out.holds = DstTile::Holds::nothing;
    float *a = compute.left[0], *b = compute.right[0];
    if (!dst_is_a) {
        std::swap(a, b);
    }
    if (op == emu::Eltwise::mul && !in_phases(compute)) {
        for (std::uint32_t i = 0; i < tile_elements; i += chunk) {
            store(a + i, load<Words>(a + i) & srca_mask(compute.fidelity));
            store(b + i, load<Words>(b + i) & srcb_mask(compute.fidelity));
        }
    }
    engine_binary(compute, op, a, b, false, out);
    ++core.counts.eltwise;
    ++core.counts.unpacks;
}

void emu_pack(std::uint32_t dst, std::uint32_t index, bool out_of_order, std::uint32_t output, emu::Site site) {
    Core& core = enter(site);
    Compute& compute = computing(core, "pack_tile");
    CircularBuffer& cb = get_cb(core, index);
    const DstTile& tile = compute.dst.packed(dst, "pack_tile");
    if (compute.out.format != cb.spec->format) {
        KERNEL_ERROR(
            index,
            "pack_tile into a circular buffer of %s, but the packer is configured for %s: "
            "pack_reconfig_data_format(%u) is missing",
            format_name(cb.spec->format),
            format_name(compute.out.format),
            index
        );
    }
    if ((tile.holds == DstTile::Holds::integers) != is_integer(cb.spec->format)) {
        KERNEL_ERROR(
            index,
            "pack_tile of %s into a circular buffer of %s: typecast_tile is missing",
            tile.holds == DstTile::Holds::integers ? "integers" : "floats",
            format_name(cb.spec->format)
        );
    }
    if (compute.reduce_mask && !tile.reduced) {
        KERNEL_ERROR(
            index,
            "pack_tile of a whole tile while the packer keeps only what reduce_tile leaves: reduce_uninit is missing"
        );
    }
    const std::uint32_t place = out_of_order ? output : cb.packed;
    if (place >= cb.reserved) {
        KERNEL_ERROR(
            index,
            "pack_tile to page %u, but %s",
            place,
            cb.reserved == 0 ? "cb_reserve_back is missing"
                             : format_text("only %u pages are reserved", cb.reserved).c_str()
        );
    }
    if (cb.write_page + place >= cb.spec->pages) {
        KERNEL_ERROR(
            index, "pack_tile to page %u, past the end of the circular buffer; pages do not wrap around", place
        );
    }
    const std::uint32_t offset = cb.spec->address + (cb.write_page + place) * cb.page_bytes();
    check_l1_write(core, offset, cb.page_bytes());
    if (compute.l1_accumulate) {
        if (is_integer(cb.spec->format) || is_block(cb.spec->format)) {
            KERNEL_ERROR(index, "packer L1 accumulation of %s", format_name(cb.spec->format));
        }
        check_l1_content(core, offset, cb.page_bytes(), index);
    }
    const Packing packing{cb.spec->format, !core.program.blackhole, compute.fp32_dest, compute.l1_accumulate};
    pack_tile(tile.values, packing, core.l1->at(offset));
    core.l1->mark(offset, cb.page_bytes(), written);
    if (cb.spec->tensor != no_index) {
        Tensor& tensor = *core.program.tensors[cb.spec->tensor];
        const std::uint32_t page = core.program.page_at(tensor, core.index, offset - tensor.address);
        if (page != no_index) {
            tensor.writers.add(page, user_word(core));
        }
    }
    cb.packed += !out_of_order;
    ++core.counts.packs;
}
}
