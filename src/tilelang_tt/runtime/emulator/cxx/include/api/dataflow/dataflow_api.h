// Data movement: L1 <-> tensors through the network on chip.
#pragma once
#ifdef EMU_COMPUTE_KERNEL
#error "a compute kernel cannot use the data-movement API"
#endif
#include "emulator/base.h"
#include "emulator/tensor.h"

constexpr std::uint8_t noc_index = EMU_NOC_INDEX;

ALWI std::uint32_t get_write_ptr(std::uint32_t cb, EMU_SITE) { return emu_cb_write_ptr(cb, site); }
ALWI std::uint32_t get_read_ptr(std::uint32_t cb, EMU_SITE) { return emu_cb_read_ptr(cb, site); }

ALWI std::uint64_t get_noc_addr(
    std::uint32_t page, const TensorAccessor& tensor, std::uint32_t offset = 0, std::uint8_t noc = noc_index, EMU_SITE
) {
    return tensor.get_noc_addr(page, offset, noc, site);
}
ALWI std::uint64_t get_noc_addr(std::uint32_t address, std::uint8_t = noc_index, EMU_SITE) {
    return emu_own_noc_addr(address, site);
}
ALWI void noc_async_read_page(
    std::uint32_t page,
    const TensorAccessor& tensor,
    std::uint32_t l1,
    std::uint32_t offset = 0,
    std::uint8_t noc = noc_index,
    EMU_SITE
) {
    emu_noc_read_page(tensor.tensor(), page, l1, offset, noc, site);
}
ALWI void noc_async_write_page(
    std::uint32_t page,
    const TensorAccessor& tensor,
    std::uint32_t l1,
    std::uint32_t size = 0,
    std::uint32_t offset = 0,
    std::uint8_t noc = noc_index,
    EMU_SITE
) {
    emu_noc_write_page(tensor.tensor(), page, l1, size, offset, noc, site);
}
ALWI void noc_async_read(
    std::uint64_t source, std::uint32_t l1, std::uint32_t size, std::uint8_t noc = noc_index, EMU_SITE
) {
    emu_noc_read(source, l1, size, noc, site);
}
ALWI void noc_async_write(
    std::uint32_t l1, std::uint64_t target, std::uint32_t size, std::uint8_t noc = noc_index, EMU_SITE
) {
    emu_noc_write(l1, target, size, noc, site);
}
ALWI void noc_async_read_barrier(std::uint8_t noc = noc_index, EMU_SITE) { emu_noc_read_barrier(noc, site); }
ALWI void noc_async_write_barrier(std::uint8_t noc = noc_index, EMU_SITE) { emu_noc_write_barrier(noc, site); }
ALWI void noc_async_writes_flushed(std::uint8_t noc = noc_index, EMU_SITE) { emu_noc_writes_flushed(noc, site); }

ALWI void noc_async_atomic_barrier(std::uint8_t noc = noc_index, EMU_SITE) { emu_noc_atomic_barrier(noc, site); }

// Semaphores, by their addresses in L1; and multicast to a rectangle of cores. Without loopback the sender may be in
// it, but nothing is written to it and it is no destination.
namespace emu {
inline std::uint32_t address_of(volatile std::uint32_t* word) {
    return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(word));
}
}  // namespace emu
ALWI std::uint32_t get_semaphore(std::uint32_t id, EMU_SITE) { return emu_semaphore(id, site); }
ALWI void noc_semaphore_set(volatile std::uint32_t* semaphore, std::uint32_t value, EMU_SITE) {
    emu_semaphore_set(emu::address_of(semaphore), value, site);
}
ALWI void noc_semaphore_wait(volatile std::uint32_t* semaphore, std::uint32_t value, EMU_SITE) {
    emu_semaphore_wait(emu::address_of(semaphore), value, false, site);
}
ALWI void noc_semaphore_wait_min(volatile std::uint32_t* semaphore, std::uint32_t value, EMU_SITE) {
    emu_semaphore_wait(emu::address_of(semaphore), value, true, site);
}
ALWI std::uint64_t get_noc_addr(
    std::uint32_t x, std::uint32_t y, std::uint32_t address, std::uint8_t = noc_index, EMU_SITE
) {
    return emu_core_noc_addr(x, y, address, site);
}
ALWI std::uint64_t get_noc_multicast_addr(
    std::uint32_t x0,
    std::uint32_t y0,
    std::uint32_t x1,
    std::uint32_t y1,
    std::uint32_t address,
    std::uint8_t noc = noc_index,
    EMU_SITE
) {
    return emu_multicast_addr(x0, y0, x1, y1, address, noc, site);
}
ALWI void noc_semaphore_inc(std::uint64_t address, std::uint32_t increment, std::uint8_t noc = noc_index, EMU_SITE) {
    emu_semaphore_inc(address, increment, noc, site);
}
ALWI void noc_semaphore_set_multicast(
    std::uint32_t from,
    std::uint64_t address,
    std::uint32_t destinations,
    bool = false,
    std::uint8_t noc = noc_index,
    EMU_SITE
) {
    emu_semaphore_multicast(from, address, destinations, false, noc, site);
}
ALWI void noc_semaphore_set_multicast_loopback_src(
    std::uint32_t from,
    std::uint64_t address,
    std::uint32_t destinations,
    bool = false,
    std::uint8_t noc = noc_index,
    EMU_SITE
) {
    emu_semaphore_multicast(from, address, destinations, true, noc, site);
}
ALWI void noc_async_write_multicast(
    std::uint32_t from,
    std::uint64_t address,
    std::uint32_t size,
    std::uint32_t destinations,
    bool = false,
    std::uint8_t noc = noc_index,
    EMU_SITE
) {
    emu_noc_multicast(from, address, size, destinations, false, noc, site);
}
ALWI void noc_async_write_multicast_loopback_src(
    std::uint32_t from,
    std::uint64_t address,
    std::uint32_t size,
    std::uint32_t destinations,
    bool = false,
    std::uint8_t noc = noc_index,
    EMU_SITE
) {
    emu_noc_multicast(from, address, size, destinations, true, noc, site);
}
