// What every compute kernel sees.
#pragma once
#ifndef EMU_COMPUTE_KERNEL
#error "only a compute kernel can use the compute API"
#endif
#include "emulator/base.h"

// On the chip these name the three threads of a compute kernel; here one fiber plays all three in program order.
#define UNPACK(...) __VA_ARGS__
#define MATH(...) __VA_ARGS__
#define PACK(...) __VA_ARGS__
#define DST_ACCUM_MODE EMU_FP32_DEST

namespace ckernel {
using std::uint32_t;

enum class SrcOrder : std::uint8_t { Regular = 0, Reverse = 1 };
enum BroadcastType { NONE = 0, COL = 1, ROW = 2, SCALAR = 3 };
enum EltwiseBinaryType { ELWMUL, ELWDIV, ELWADD, ELWSUB, ELWLESS };
enum class EltwiseBinaryReuseDestType { NONE = 0, DEST_TO_SRCA = 1, DEST_TO_SRCB = 2 };
enum PoolType { SUM, AVG, MAX, MIN };
enum ReduceDim { REDUCE_ROW, REDUCE_COL, REDUCE_SCALAR };
enum class VectorMode : std::uint8_t { None = 0, R = 1, C = 2, RC = 4, RC_custom = 6 };

namespace detail {
constexpr emu::Bcast bcast(BroadcastType type) {
    return type == COL      ? emu::Bcast::col
           : type == ROW    ? emu::Bcast::row
           : type == SCALAR ? emu::Bcast::scalar
                            : emu::Bcast::none;
}
template <EltwiseBinaryType Type>
constexpr emu::Eltwise eltwise() {
    static_assert(
        Type == ELWADD || Type == ELWSUB || Type == ELWMUL, "only add, sub and mul exist on the matrix engine"
    );
    return Type == ELWADD ? emu::Eltwise::add : Type == ELWSUB ? emu::Eltwise::sub : emu::Eltwise::mul;
}
template <EltwiseBinaryReuseDestType Type>
constexpr emu::ReuseDest reuse() {
    static_assert(Type != EltwiseBinaryReuseDestType::NONE, "reuse_dest must be DEST_TO_SRCA or DEST_TO_SRCB");
    return Type == EltwiseBinaryReuseDestType::DEST_TO_SRCA ? emu::ReuseDest::srca : emu::ReuseDest::srcb;
}
template <PoolType Type>
constexpr emu::Pool pool() {
    static_assert(Type != MIN, "reduce_tile has no minimum");
    return Type == SUM ? emu::Pool::sum : Type == AVG ? emu::Pool::avg : emu::Pool::max;
}
constexpr emu::Reduce reduce(ReduceDim dim) {
    return dim == REDUCE_ROW ? emu::Reduce::row : dim == REDUCE_COL ? emu::Reduce::col : emu::Reduce::scalar;
}
}  // namespace detail

// DST's protocol
ALWI void tile_regs_acquire(EMU_SITE) { emu_dst_acquire(site); }
ALWI void tile_regs_commit(EMU_SITE) { emu_dst_commit(site); }
ALWI void tile_regs_wait(EMU_SITE) { emu_dst_wait(site); }
ALWI void tile_regs_release(EMU_SITE) { emu_dst_release(site); }
}  // namespace ckernel

using namespace ckernel;
