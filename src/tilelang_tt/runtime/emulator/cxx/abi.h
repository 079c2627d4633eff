// The calls from kernels (shared objects) into the emulator core (the executable that loads them).
//
// Every call carries the kernel's source file and line, so that each error can name the place. Both sides include this
// file; it changes the cache key of both when it changes.
#pragma once
#include <cstdint>

namespace emu {
struct Site {
    const char* file;
    std::uint32_t line;
};
}  // namespace emu
// The last parameter of every function of the kernel API: as a default argument it evaluates to where the kernel calls.
#define EMU_SITE emu::Site site = {__builtin_FILE(), static_cast<std::uint32_t>(__builtin_LINE())}

// Values as in the TT-Metalium enum of the same name.
enum class DataFormat : std::uint8_t {
    Float32 = 0,
    Float16 = 1,
    Float16_b = 5,
    Bfp8_b = 6,
    Bfp4_b = 7,
    Int32 = 8,
    UInt32 = 24,
    Invalid = 0xff,
};

namespace emu {
enum class Eltwise : std::uint32_t { add, sub, mul };
enum class Bcast : std::uint32_t { none, col, row, scalar };
enum class ReuseDest : std::uint32_t { none, srca, srcb };  // which source register DST is moved to
enum class Pool : std::uint32_t { sum, avg, max };
enum class Reduce : std::uint32_t { row, col, scalar };
}  // namespace emu

extern "C" {
std::uint32_t emu_arg(std::uint32_t index, emu::Site site);
std::uint32_t emu_common_arg(std::uint32_t index, emu::Site site);

// Circular buffers
void emu_cb_reserve_back(std::uint32_t cb, std::uint32_t pages, emu::Site site);
void emu_cb_push_back(std::uint32_t cb, std::uint32_t pages, emu::Site site);
void emu_cb_wait_front(std::uint32_t cb, std::uint32_t pages, emu::Site site);
void emu_cb_pop_front(std::uint32_t cb, std::uint32_t pages, emu::Site site);
std::uint32_t emu_cb_write_ptr(std::uint32_t cb, emu::Site site);
std::uint32_t emu_cb_read_ptr(std::uint32_t cb, emu::Site site);
std::uint32_t emu_cb_page_size(std::uint32_t cb, emu::Site site);
DataFormat emu_cb_format(std::uint32_t cb, emu::Site site);

// Network on chip; `noc` is 0 or 1
void emu_tensor_open(std::uint32_t tensor, std::uint32_t address, std::uint32_t page_bytes, emu::Site site);
std::uint32_t emu_tensor_page_size(std::uint32_t tensor, emu::Site site);
std::uint64_t emu_tensor_noc_addr(std::uint32_t tensor, std::uint32_t page, std::uint32_t offset, emu::Site site);
void emu_noc_read_page(
    std::uint32_t tensor, std::uint32_t page, std::uint32_t l1, std::uint32_t offset, std::uint32_t noc, emu::Site site
);
void emu_noc_write_page(
    std::uint32_t tensor,
    std::uint32_t page,
    std::uint32_t l1,
    std::uint32_t size,  // 0: the whole page
    std::uint32_t offset,
    std::uint32_t noc,
    emu::Site site
);
void emu_noc_read(std::uint64_t source, std::uint32_t l1, std::uint32_t size, std::uint32_t noc, emu::Site site);
void emu_noc_write(std::uint32_t l1, std::uint64_t target, std::uint32_t size, std::uint32_t noc, emu::Site site);
void emu_noc_read_barrier(std::uint32_t noc, emu::Site site);
void emu_noc_write_barrier(std::uint32_t noc, emu::Site site);
void emu_noc_writes_flushed(std::uint32_t noc, emu::Site site);

// Semaphores and multicast
std::uint32_t emu_semaphore(std::uint32_t id, emu::Site site);
void emu_semaphore_set(std::uint32_t address, std::uint32_t value, emu::Site site);
void emu_semaphore_wait(std::uint32_t address, std::uint32_t value, bool at_least, emu::Site site);
std::uint64_t emu_core_noc_addr(std::uint32_t x, std::uint32_t y, std::uint32_t address, emu::Site site);
std::uint64_t emu_own_noc_addr(std::uint32_t address, emu::Site site);
std::uint64_t emu_multicast_addr(
    std::uint32_t x0,
    std::uint32_t y0,
    std::uint32_t x1,
    std::uint32_t y1,
    std::uint32_t address,
    std::uint32_t noc,
    emu::Site site
);
void emu_semaphore_inc(std::uint64_t address, std::uint32_t increment, std::uint32_t noc, emu::Site site);
void emu_semaphore_multicast(
    std::uint32_t from,
    std::uint64_t address,
    std::uint32_t destinations,
    bool loopback,
    std::uint32_t noc,
    emu::Site site
);
void emu_noc_multicast(
    std::uint32_t from,
    std::uint64_t address,
    std::uint32_t size,
    std::uint32_t destinations,
    bool loopback,
    std::uint32_t noc,
    emu::Site site
);
void emu_noc_atomic_barrier(std::uint32_t noc, emu::Site site);

// An element of 4 bytes of a page that the compute kernel has waited for
std::uint32_t emu_cb_value(std::uint32_t cb, std::uint32_t page, std::uint32_t element, emu::Site site);

// The core's own L1, as a host pointer that is valid for `size` bytes
void* emu_l1(std::uint32_t address, std::uint32_t size, bool writes, emu::Site site);

// Compute: configuration
void emu_hw_startup(std::uint32_t srca, std::uint32_t srcb, std::uint32_t out, emu::Site site);
void emu_reconfig_srca(std::uint32_t cb, emu::Site site);
void emu_reconfig_srcb(std::uint32_t cb, emu::Site site);
void emu_reconfig_pack(std::uint32_t cb, emu::Site site);
void emu_reconfig_srca_from(std::uint32_t old_cb, std::uint32_t cb, emu::Site site);
void emu_reconfig_srcb_from(std::uint32_t old_cb, std::uint32_t cb, emu::Site site);
void emu_reconfig_pack_from(std::uint32_t old_cb, std::uint32_t cb, emu::Site site);
void emu_pack_l1_acc(std::uint32_t enable, emu::Site site);
void emu_matmul_init(
    std::uint32_t in0,
    std::uint32_t in1,
    std::uint32_t transpose,
    std::uint32_t ct,
    std::uint32_t rt,
    std::uint32_t kt,
    emu::Site site
);
void emu_copy_init(std::uint32_t cb, std::uint32_t transpose, emu::Site site);
void emu_unary_bcast_init(emu::Bcast bcast, std::uint32_t cb, emu::Site site);
void emu_transpose_init(std::uint32_t cb, emu::Site site);
void emu_binary_init(
    emu::Eltwise op, emu::Bcast bcast, std::uint32_t in0, std::uint32_t in1, bool accumulate, emu::Site site
);
void emu_reuse_init(emu::Eltwise op, emu::ReuseDest reuse, std::uint32_t cb, emu::Site site);
void emu_reduce_init(
    emu::Pool pool, emu::Reduce dim, std::uint32_t in, std::uint32_t scaler, std::uint32_t out, emu::Site site
);
void emu_reduce_uninit(emu::Site site);
void emu_sfpu_init(const char* init, emu::Site site);

// Compute: DST's protocol and operations
void emu_dst_acquire(emu::Site site);
void emu_dst_commit(emu::Site site);
void emu_dst_wait(emu::Site site);
void emu_dst_release(emu::Site site);
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
);
void emu_copy(std::uint32_t cb, std::uint32_t tile, std::uint32_t dst, emu::Site site);
void emu_unary_bcast(emu::Bcast bcast, std::uint32_t cb, std::uint32_t tile, std::uint32_t dst, emu::Site site);
void emu_transpose(std::uint32_t cb, std::uint32_t tile, std::uint32_t dst, emu::Site site);
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
);
void emu_reuse(
    emu::Eltwise op, emu::ReuseDest reuse, std::uint32_t cb, std::uint32_t tile, std::uint32_t dst, emu::Site site
);
void emu_reduce(
    emu::Pool pool,
    emu::Reduce dim,
    std::uint32_t in,
    std::uint32_t scaler,
    std::uint32_t tile,
    std::uint32_t scaler_tile,
    std::uint32_t dst,
    emu::Site site
);
// `op` is a literal that names an entry of the emulator core's table. Operands are DST indices; unused ones are `out`.
// p0 and p1 are the operation's 32-bit parameters.
void emu_sfpu(
    const char* op,
    std::uint32_t a,
    std::uint32_t b,
    std::uint32_t c,
    std::uint32_t out,
    std::uint32_t p0,
    std::uint32_t p1,
    emu::Site site
);
void emu_typecast(DataFormat from, DataFormat to, std::uint32_t dst, emu::Site site);
void emu_pack(std::uint32_t dst, std::uint32_t cb, bool out_of_order, std::uint32_t index, emu::Site site);
}
