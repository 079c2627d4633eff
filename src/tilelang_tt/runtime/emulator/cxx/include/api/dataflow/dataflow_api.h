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
