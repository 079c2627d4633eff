// The network on chip: transfers between L1 and tensors. They are asynchronous for the kernel: what a read brings may
// not be looked at, and what a write sends may not be changed, before the barrier.
#pragma once
#include <cstring>

#include "cb.h"

// A NoC address: bit 63 says DRAM, bits 32 to 47 the bank or core, the low 32 bits the address there.
constexpr std::uint64_t dram_flag = std::uint64_t{1} << 63;

inline std::uint64_t noc_address(bool dram, std::uint32_t unit, std::uint32_t address) {
    return (dram ? dram_flag : 0) | std::uint64_t{unit} << 32 | address;
}

struct RemoteRange {
    Tensor* tensor;
    std::uint32_t page;
    std::uint32_t offset;  // bytes inside the page
    PageLocation location;
};

inline Tensor& get_tensor(Core& core, std::uint32_t tensor) {
    if (tensor >= core.program.tensors.size()) {
        KERNEL_ERROR(no_index, "the program has no tensor %u", tensor);
    }
    return *core.program.tensors[tensor];
}

inline std::size_t tensor_index(const Core& core, const Tensor& tensor) {
    std::size_t index = 0;
    while (core.program.tensors[index].get() != &tensor) {
        ++index;
    }
    return index;
}

inline RemoteRange page_range(
    Core& core, Tensor& tensor, std::uint32_t page, std::uint32_t offset, std::uint32_t size
) {
    if (page >= tensor.pages) {
        KERNEL_ERROR(
            no_index, "page %u is outside tensor '%s', which has %u pages", page, tensor.name.c_str(), tensor.pages
        );
    }
    if (offset > tensor.page_bytes || size > tensor.page_bytes - offset) {
        KERNEL_ERROR(
            no_index,
            "%u bytes at offset %u run past page %u of tensor '%s' (%u bytes)",
            size,
            offset,
            page,
            tensor.name.c_str(),
            tensor.page_bytes
        );
    }
    PageLocation location = core.program.locate(tensor, page);
    location.offset += offset;
    return {&tensor, page, offset, location};
}

// The page that a NoC address lies in.
inline RemoteRange resolve(Core& core, std::uint64_t address, std::uint32_t size) {
    const bool dram = address & dram_flag;
    const auto unit = static_cast<std::uint32_t>(address >> 32) & 0xffff;
    const auto low = static_cast<std::uint32_t>(address);
    for (const auto& tensor : core.program.tensors) {
        if (tensor->in_l1 == dram || low < tensor->address) {
            continue;
        }
        const std::uint32_t from = low - tensor->address;
        const std::uint32_t page = core.program.page_at(*tensor, unit, from);
        if (page != no_index) {
            return page_range(core, *tensor, page, from % tensor->page_bytes, size);
        }
    }
    KERNEL_ERROR(
        no_index,
        "NoC address 0x%llx is out of bounds: no page of a tensor lies there",
        static_cast<unsigned long long>(address)
    );
}

// Routers passed from `from` to `to`: NoC 0 goes east, then south; NoC 1 north, then west.
inline std::uint64_t hops(const Program& program, Place from, Place to, std::uint32_t noc) {
    if (noc == 1) {
        std::swap(from, to);
    }
    const std::int32_t x = (to.x - from.x + program.torus_x) % program.torus_x;
    const std::int32_t y = (to.y - from.y + program.torus_y) % program.torus_y;
    return static_cast<std::uint64_t>(x + y);
}

inline void count_transfer(Core& core, const RemoteRange& range, std::uint32_t size, bool reads, std::uint32_t noc) {
    Counts& counts = core.counts;
    const std::size_t tensor = tensor_index(core, *range.tensor);
    (reads ? counts.tensor_read : counts.tensor_written)[tensor] += size;
    Place remote;
    if (!range.tensor->in_l1) {
        (reads ? counts.bank_read : counts.bank_written)[range.location.unit] += size;
        (reads ? counts.dram_read : counts.dram_written) += size;
        remote = core.program.banks[range.location.unit];
    } else {
        if (range.location.unit == core.index) {
            counts.l1_local += size;
        } else {
            (reads ? counts.l1_remote_read : counts.l1_remote_written) += size;
        }
        remote = core.program.cores[range.location.unit].place;
    }
    if (core.program.has_places) {
        counts.byte_hops[noc] += size * (reads ? hops(core.program, remote, core.spec.place, noc)
                                               : hops(core.program, core.spec.place, remote, noc));
    }
}

inline std::uint32_t local_offset(Core& core, std::uint32_t address) {
    if (address < core.l1->base() || address - core.l1->base() >= core.l1->bytes()) {
        KERNEL_ERROR(
            no_index, "0x%x is no address of this core's L1; get_write_ptr and get_read_ptr give them", address
        );
    }
    return address - core.l1->base();
}

inline void check_transfer(
    Core& core, const RemoteRange& range, std::uint32_t l1, std::uint32_t size, bool reads, std::uint32_t noc
) {
    if (noc > 1) {
        KERNEL_ERROR(no_index, "NoC %u does not exist", noc);
    }
    if (size == 0) {
        KERNEL_ERROR(no_index, "a NoC transfer of 0 bytes");
    }
    // DRAM is read in wider words than it is written in; L1 always in 16 bytes.
    const std::uint32_t alignment = reads && !range.tensor->in_l1 ? core.program.dram_alignment() : 16;
    const std::uint32_t remote = range.tensor->address + range.location.offset;
    if (remote % alignment != l1 % alignment) {
        KERNEL_ERROR(
            no_index,
            "a misaligned NoC transfer: address %u of tensor '%s' and L1 address %u differ modulo %u",
            remote,
            range.tensor->name.c_str(),
            l1,
            alignment
        );
    }
}

inline void noc_read(
    Core& core, const RemoteRange& range, std::uint32_t address, std::uint32_t size, std::uint32_t noc
) {
    const std::uint32_t l1 = local_offset(core, address);
    check_transfer(core, range, l1, size, true, noc);
    check_l1_write(core, l1, size);
    Tensor& tensor = *range.tensor;
    const std::uint8_t* source;
    if (tensor.in_l1) {
        L1& remote = *(*g_cores)[range.location.unit]->l1;
        const std::uint32_t offset = tensor.address + range.location.offset;
        if (!(remote.summary(offset, size).all & written)) {
            KERNEL_ERROR(
                no_index, "a read of page %u of tensor '%s', which was never written", range.page, tensor.name.c_str()
            );
        }
        source = remote.at(offset);
    } else {
        if (!tensor.readable && tensor.writers.first(range.page) == PageUsers::nobody) {
            KERNEL_ERROR(
                no_index,
                "a read of page %u of output tensor '%s', which was never written",
                range.page,
                tensor.name.c_str()
            );
        }
        source = tensor.data + std::size_t{range.page} * tensor.page_bytes + range.offset;
    }
    if (tensor.writable) {
        tensor.readers.add(range.page, user_word(core));
    }
    std::memcpy(core.l1->at(l1), source, size);
    core.l1->mark(l1, size, written | read_in_flight);
    core.current->reads.push_back({l1, size, static_cast<std::uint8_t>(noc), core.current->site});
    count_transfer(core, range, size, true, noc);
}

// Whether a NoC address is that of a circular buffer of this core that lies on no tensor.
inline bool is_own_buffer(Core& core, std::uint64_t address, std::uint32_t size) {
    if (address & dram_flag || (static_cast<std::uint32_t>(address >> 32) & 0xffff) != core.index) {
        return false;
    }
    const Region region = find_region(core, static_cast<std::uint32_t>(address), size);
    return region.cb != nullptr && region.tensor == nullptr;
}

// From one place of this core's L1 to another, by way of the NoC.
inline void noc_read_own(
    Core& core, std::uint32_t from, std::uint32_t address, std::uint32_t size, std::uint32_t noc
) {
    const std::uint32_t l1 = local_offset(core, address);
    if (from % 16 != l1 % 16) {
        KERNEL_ERROR(no_index, "a misaligned NoC transfer: L1 addresses %u and %u differ modulo 16", from, l1);
    }
    check_l1_read(core, from, size);
    check_l1_write(core, l1, size);
    std::memmove(core.l1->at(l1), core.l1->at(from), size);
    core.l1->mark(l1, size, written | read_in_flight);
    core.current->reads.push_back({l1, size, static_cast<std::uint8_t>(noc), core.current->site});
    core.counts.l1_local += size;
}

inline void noc_write(
    Core& core, const RemoteRange& range, std::uint32_t address, std::uint32_t size, std::uint32_t noc
) {
    const std::uint32_t l1 = local_offset(core, address);
    check_transfer(core, range, l1, size, false, noc);
    check_l1_read(core, l1, size);
    Tensor& tensor = *range.tensor;
    if (!tensor.writable) {
        KERNEL_ERROR(no_index, "a write to the input tensor '%s'", tensor.name.c_str());
    }
    if (tensor.in_l1) {
        L1& remote = *(*g_cores)[range.location.unit]->l1;
        const std::uint32_t offset = tensor.address + range.location.offset;
        std::memmove(remote.at(offset), core.l1->at(l1), size);
        remote.mark(offset, size, written);
    } else {
        std::memcpy(tensor.data + std::size_t{range.page} * tensor.page_bytes + range.offset, core.l1->at(l1), size);
    }
    if (size < tensor.page_bytes && tensor.part_writers.add(range.page, range.offset, size, core.index)) {
        tensor.writers.join(range.page, user_word(core));
    } else {
        tensor.writers.add(range.page, user_word(core));
    }
    core.l1->add(l1, size, write_in_flight);
    core.current->writes.push_back({l1, size, static_cast<std::uint8_t>(noc), core.current->site});
    core.current->unacknowledged[noc] = core.current->site;
    count_transfer(core, range, size, false, noc);
}

// The writes' data has left L1. Whether it has arrived too is known only after a barrier.
inline void flush_writes(Core& core, std::uint32_t noc) {
    std::vector<Transfer>& writes = core.current->writes;
    std::size_t kept = 0;
    for (const Transfer& write : writes) {
        if (write.noc == noc) {
            core.l1->remove(write.l1, write.size, write_in_flight);
        } else {
            writes[kept++] = write;
        }
    }
    writes.resize(kept);
}

extern "C" {
void emu_tensor_open(std::uint32_t index, std::uint32_t address, std::uint32_t page_bytes, emu::Site site) {
    Core& core = enter(site);
    const Tensor& tensor = get_tensor(core, index);
    if (address != tensor.address + (tensor.in_l1 ? core.l1->base() : 0)) {
        KERNEL_ERROR(
            no_index,
            "a TensorAccessor for '%s' is given an address that is not that tensor's: the common argument of another "
            "one?",
            tensor.name.c_str()
        );
    }
    if (page_bytes != 0 && page_bytes != tensor.page_bytes) {
        KERNEL_ERROR(
            no_index,
            "a TensorAccessor for '%s' is given pages of %u bytes, but the tensor's have %u",
            tensor.name.c_str(),
            page_bytes,
            tensor.page_bytes
        );
    }
}

std::uint32_t emu_tensor_page_size(std::uint32_t index, emu::Site site) {
    return get_tensor(enter(site), index).page_bytes;
}

std::uint64_t emu_tensor_noc_addr(std::uint32_t index, std::uint32_t page, std::uint32_t offset, emu::Site site) {
    Core& core = enter(site);
    Tensor& tensor = get_tensor(core, index);
    const RemoteRange range = page_range(core, tensor, page, offset, 0);
    return noc_address(!tensor.in_l1, range.location.unit, tensor.address + range.location.offset);
}

void emu_noc_read_page(
    std::uint32_t index, std::uint32_t page, std::uint32_t l1, std::uint32_t offset, std::uint32_t noc, emu::Site site
) {
    Core& core = enter(site);
    Tensor& tensor = get_tensor(core, index);
    const std::uint32_t size = tensor.page_bytes;
    noc_read(core, page_range(core, tensor, page, offset, size), l1, size, noc);
}

void emu_noc_write_page(
    std::uint32_t index,
    std::uint32_t page,
    std::uint32_t l1,
    std::uint32_t size,
    std::uint32_t offset,
    std::uint32_t noc,
    emu::Site site
) {
    Core& core = enter(site);
    Tensor& tensor = get_tensor(core, index);
    const std::uint32_t bytes = size ? size : tensor.page_bytes;
    noc_write(core, page_range(core, tensor, page, offset, bytes), l1, bytes, noc);
}

std::uint64_t emu_own_noc_addr(std::uint32_t address, emu::Site site) {
    Core& core = enter(site);
    return noc_address(false, core.index, local_offset(core, address));
}

void emu_noc_read(std::uint64_t source, std::uint32_t l1, std::uint32_t size, std::uint32_t noc, emu::Site site) {
    Core& core = enter(site);
    if (is_own_buffer(core, source, size)) {
        noc_read_own(core, static_cast<std::uint32_t>(source), l1, size, noc);
        return;
    }
    noc_read(core, resolve(core, source, size), l1, size, noc);
}

void emu_noc_write(std::uint32_t l1, std::uint64_t target, std::uint32_t size, std::uint32_t noc, emu::Site site) {
    Core& core = enter(site);
    noc_write(core, resolve(core, target, size), l1, size, noc);
}

void emu_noc_read_barrier(std::uint32_t noc, emu::Site site) {
    Core& core = enter(site);
    std::vector<Transfer>& reads = core.current->reads;
    std::size_t kept = 0;
    for (const Transfer& read : reads) {
        if (read.noc == noc) {
            core.l1->remove(read.l1, read.size, read_in_flight);
        } else {
            reads[kept++] = read;
        }
    }
    reads.resize(kept);
}

void emu_noc_write_barrier(std::uint32_t noc, emu::Site site) {
    Core& core = enter(site);
    flush_writes(core, noc);
    core.current->unacknowledged[noc & 1] = {nullptr, 0};
}

void emu_noc_writes_flushed(std::uint32_t noc, emu::Site site) { flush_writes(enter(site), noc); }
}
