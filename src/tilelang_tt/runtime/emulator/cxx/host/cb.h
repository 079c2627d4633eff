// Circular buffers: their protocol, and what of L1 a kernel may touch through them.
#pragma once
#include "core.h"

// Pages of another buffer or tensor that lie at [offset, offset + size) of this core's L1.
struct Region {
    CircularBuffer* cb = nullptr;
    Tensor* tensor = nullptr;
    std::uint32_t offset = 0;  // from the region's start
};

inline Region find_region(Core& core, std::uint32_t offset, std::uint32_t size) {
    for (CircularBuffer& buffer : core.cbs) {
        if (buffer.spec && offset >= buffer.spec->address && offset - buffer.spec->address < buffer.bytes()) {
            const std::uint32_t from = offset - buffer.spec->address;
            if (size > buffer.bytes() - from) {
                KERNEL_ERROR(
                    buffer.spec->index,
                    "%u bytes at offset %u run past the end of the circular buffer (%u bytes); its pages do not "
                    "wrap around inside one access",
                    size,
                    from,
                    buffer.bytes()
                );
            }
            Tensor* tensor =
                buffer.spec->tensor == no_index ? nullptr : core.program.tensors[buffer.spec->tensor].get();
            return {&buffer, tensor, from};
        }
    }
    for (const auto& tensor : core.program.tensors) {
        if (tensor->in_l1 && tensor->lies_on(core.index) && offset >= tensor->address &&
            offset - tensor->address < tensor->bytes_per_unit()) {
            const std::uint32_t from = offset - tensor->address;
            if (size > tensor->bytes_per_unit() - from) {
                KERNEL_ERROR(
                    no_index,
                    "%u bytes at offset %u run past this core's part of '%s'",
                    size,
                    from,
                    tensor->name.c_str()
                );
            }
            return {nullptr, tensor.get(), from};
        }
    }
    KERNEL_ERROR(
        no_index,
        "L1 address %u (%u bytes) is out of bounds: it lies in no circular buffer and no tensor of this core",
        offset,
        size
    );
}

inline bool in_window(
    const CircularBuffer& cb, std::uint32_t page, std::uint32_t pages, std::uint32_t offset, std::uint32_t size
) {
    const std::uint32_t from = page * cb.page_bytes();
    return offset >= from && offset + size <= from + pages * cb.page_bytes();
}

// Whether this kernel may write [offset, offset + size) of its core's L1: pages that it has reserved, or a tensor's
// shard.
inline void check_l1_write(Core& core, std::uint32_t offset, std::uint32_t size) {
    const Region region = find_region(core, offset, size);
    if (region.tensor && !region.tensor->writable) {
        KERNEL_ERROR(
            region.cb ? region.cb->spec->index : no_index,
            "a write to the input tensor '%s'",
            region.tensor->name.c_str()
        );
    }
    if (region.cb) {
        const CircularBuffer& cb = *region.cb;
        if (cb.reserved == 0) {
            KERNEL_ERROR(cb.spec->index, "a write without cb_reserve_back");
        }
        if (cb.producer >= 0 && cb.producer != static_cast<int>(core.current->role)) {
            KERNEL_ERROR(
                cb.spec->index, "a write to pages that the %s reserved", role_name(static_cast<Role>(cb.producer))
            );
        }
        if (!in_window(cb, cb.write_page, cb.reserved, region.offset, size)) {
            KERNEL_ERROR(
                cb.spec->index,
                "a write to %u bytes at offset %u, outside the reserved pages (%u pages from page %u on)",
                size,
                region.offset,
                cb.reserved,
                cb.write_page
            );
        }
    }
    if (core.l1->summary(offset, size).any & write_in_flight) {
        KERNEL_ERROR(
            region.cb ? region.cb->spec->index : no_index,
            "L1 is overwritten while a NoC write still reads it: noc_async_writes_flushed or noc_async_write_barrier "
            "is missing"
        );
    }
}

// Whether what is on its way to [offset, offset + size) has arrived.
inline void check_l1_arrived(Core& core, std::uint32_t offset, std::uint32_t size, std::uint32_t cb) {
    if (core.l1->summary(offset, size).any & read_in_flight) {
        KERNEL_ERROR(
            cb,
            "L1 is read before the NoC read or multicast into it has arrived: noc_async_read_barrier, or a wait for a "
            "semaphore, is missing"
        );
    }
}

// Whether what [offset, offset + size) holds was written and has arrived.
inline void check_l1_content(Core& core, std::uint32_t offset, std::uint32_t size, std::uint32_t cb) {
    check_l1_arrived(core, offset, size, cb);
    if (!(core.l1->summary(offset, size).all & written)) {
        KERNEL_ERROR(cb, "a read of L1 that was never written (%u bytes at address %u)", size, offset);
    }
}

// Whether this kernel may read [offset, offset + size): pages that it has waited for or reserved itself, or a shard.
inline void check_l1_read(Core& core, std::uint32_t offset, std::uint32_t size) {
    const Region region = find_region(core, offset, size);
    if (region.cb) {
        const CircularBuffer& cb = *region.cb;
        const bool own_reserved = cb.producer == static_cast<int>(core.current->role) &&
                                  in_window(cb, cb.write_page, cb.reserved, region.offset, size);
        if (own_reserved && core.current->kernel->raw_l1) {
            // What it wrote through pointers the emulator does not see: any of its reserved pages may be written.
            check_l1_arrived(core, offset, size, cb.spec->index);
            return;
        }
        if (!own_reserved) {
            if (cb.waited == 0) {
                KERNEL_ERROR(cb.spec->index, "a read without cb_wait_front");
            }
            if (!in_window(cb, cb.read_page, cb.waited, region.offset, size)) {
                KERNEL_ERROR(
                    cb.spec->index,
                    "a read of %u bytes at offset %u, outside the pages waited for (%u pages from page %u on)",
                    size,
                    region.offset,
                    cb.waited,
                    cb.read_page
                );
            }
        }
    }
    check_l1_content(core, offset, size, region.cb ? region.cb->spec->index : no_index);
}

inline void check_pages(const CircularBuffer& cb, std::uint32_t pages, const char* call) {
    if (pages == 0 || pages > cb.spec->pages) {
        KERNEL_ERROR(
            cb.spec->index,
            "%s of %u pages, but the circular buffer has %u: it would never return",
            call,
            pages,
            cb.spec->pages
        );
    }
}

inline void claim(Core& core, const CircularBuffer& cb, int& owner, const char* call) {
    const int role = static_cast<int>(core.current->role);
    if (owner >= 0 && owner != role) {
        KERNEL_ERROR(
            cb.spec->index,
            "%s by the %s kernel, but the %s kernel calls it too; only one kernel may",
            call,
            role_name(core.current->role),
            role_name(static_cast<Role>(owner))
        );
    }
    owner = role;
}

inline bool overlaps(const Transfer& transfer, std::uint32_t offset, std::uint32_t size) {
    return transfer.l1 < offset + size && offset < transfer.l1 + transfer.size;
}

extern "C" {
void emu_cb_reserve_back(std::uint32_t index, std::uint32_t pages, emu::Site site) {
    Core& core = enter(site);
    CircularBuffer& cb = get_cb(core, index);
    check_pages(cb, pages, "cb_reserve_back");
    claim(core, cb, cb.producer, "cb_reserve_back");
    wait_until(core, Waits::free_pages, index, pages);
    cb.reserved = cb.reserved > pages ? cb.reserved : pages;
}

void emu_cb_push_back(std::uint32_t index, std::uint32_t pages, emu::Site site) {
    Core& core = enter(site);
    CircularBuffer& cb = get_cb(core, index);
    if (pages > cb.reserved) {
        KERNEL_ERROR(index, "cb_push_back of %u pages, but only %u are reserved", pages, cb.reserved);
    }
    claim(core, cb, cb.producer, "cb_push_back");
    if (cb.write_page + pages > cb.spec->pages) {
        KERNEL_ERROR(
            index,
            "cb_push_back of %u pages at page %u would wrap in the middle of a block: %u pages is no multiple of the "
            "blocks pushed",
            pages,
            cb.write_page,
            cb.spec->pages
        );
    }
    const std::uint32_t offset = cb.spec->address + cb.write_page * cb.page_bytes();
    for (const Transfer& read : core.current->reads) {
        if (overlaps(read, offset, pages * cb.page_bytes())) {
            KERNEL_ERROR(
                index,
                "cb_push_back of a page whose NoC read (line %u) has not arrived: noc_async_read_barrier is missing",
                read.site.line
            );
        }
    }
    for (const Arrival& arrival : core.arriving) {
        if (arrival.l1 < offset + pages * cb.page_bytes() && offset < arrival.l1 + arrival.size) {
            KERNEL_ERROR(
                index,
                "cb_push_back of a page whose multicast (line %u of its sender) may not have arrived: wait for a "
                "semaphore that the sender sets after it",
                arrival.site.line
            );
        }
    }
    if (core.current->kernel->raw_l1) {
        core.l1->add(offset, pages * cb.page_bytes(), written);
    }
    cb.write_page = (cb.write_page + pages) % cb.spec->pages;
    cb.reserved -= pages;
    cb.packed = 0;
    cb.held += pages;
}

void emu_cb_wait_front(std::uint32_t index, std::uint32_t pages, emu::Site site) {
    Core& core = enter(site);
    CircularBuffer& cb = get_cb(core, index);
    check_pages(cb, pages, "cb_wait_front");
    claim(core, cb, cb.consumer, "cb_wait_front");
    wait_until(core, Waits::held_pages, index, pages);
    cb.waited = cb.waited > pages ? cb.waited : pages;
}

void emu_cb_pop_front(std::uint32_t index, std::uint32_t pages, emu::Site site) {
    Core& core = enter(site);
    CircularBuffer& cb = get_cb(core, index);
    if (pages > cb.waited) {
        KERNEL_ERROR(index, "cb_pop_front of %u pages, but only %u were waited for", pages, cb.waited);
    }
    claim(core, cb, cb.consumer, "cb_pop_front");
    if (cb.read_page + pages > cb.spec->pages) {
        KERNEL_ERROR(
            index,
            "cb_pop_front of %u pages at page %u would wrap in the middle of a block: %u pages is no multiple of the "
            "blocks popped",
            pages,
            cb.read_page,
            cb.spec->pages
        );
    }
    const std::uint32_t offset = cb.spec->address + cb.read_page * cb.page_bytes();
    for (const Transfer& write : core.current->writes) {
        if (overlaps(write, offset, pages * cb.page_bytes())) {
            KERNEL_ERROR(
                index,
                "cb_pop_front of a page that a NoC write (line %u) still reads: noc_async_writes_flushed or"
                " noc_async_write_barrier is missing",
                write.site.line
            );
        }
    }
    if (cb.spec->tensor == no_index && !cb.spec->kept && pages > 0) {
        // A popped page's content is void: reading it again without a new write is an error. What a NoC write still
        // reads of it must stay as it is.
        core.l1->keep(offset, pages * cb.page_bytes(), write_in_flight);
    }
    cb.read_page = (cb.read_page + pages) % cb.spec->pages;
    cb.waited -= pages;
    cb.held -= pages;
}

std::uint32_t emu_cb_write_ptr(std::uint32_t index, emu::Site site) {
    Core& core = enter(site);
    const CircularBuffer& cb = get_cb(core, index);
    return core.l1->base() + cb.spec->address + cb.write_page * cb.page_bytes();
}

std::uint32_t emu_cb_read_ptr(std::uint32_t index, emu::Site site) {
    Core& core = enter(site);
    const CircularBuffer& cb = get_cb(core, index);
    return core.l1->base() + cb.spec->address + cb.read_page * cb.page_bytes();
}

std::uint32_t emu_cb_page_size(std::uint32_t index, emu::Site site) { return get_cb(enter(site), index).page_bytes(); }
DataFormat emu_cb_format(std::uint32_t index, emu::Site site) { return get_cb(enter(site), index).spec->format; }

std::uint32_t emu_cb_value(std::uint32_t index, std::uint32_t page, std::uint32_t element, emu::Site site) {
    Core& core = enter(site);
    const CircularBuffer& cb = get_cb(core, index);
    if (page >= cb.waited) {
        KERNEL_ERROR(index, "a value is read from page %u, but %u pages were waited for", page, cb.waited);
    }
    if (element >= cb.page_bytes() / 4 || cb.read_page + page >= cb.spec->pages) {
        KERNEL_ERROR(index, "value %u of page %u lies past the end", element, page);
    }
    const std::uint32_t offset = cb.spec->address + (cb.read_page + page) * cb.page_bytes() + element * 4;
    check_l1_content(core, offset, 4, index);
    std::uint32_t value;
    std::memcpy(&value, core.l1->at(offset), 4);
    return value;
}

std::uint32_t emu_arg(std::uint32_t index, emu::Site site) {
    Core& core = enter(site);
    if (index >= core.spec.args.size()) {
        KERNEL_ERROR(
            no_index, "get_arg_val(%u), but the kernel has %zu runtime arguments", index, core.spec.args.size()
        );
    }
    return core.spec.args[index];
}

std::uint32_t emu_common_arg(std::uint32_t index, emu::Site site) {
    Core& core = enter(site);
    if (index >= core.program.common_args.size()) {
        KERNEL_ERROR(
            no_index,
            "get_common_arg_val(%u), but the kernel has %zu common arguments",
            index,
            core.program.common_args.size()
        );
    }
    const bool in_l1 = index < core.program.tensors.size() && core.program.tensors[index]->in_l1;
    return core.program.common_args[index] + (in_l1 ? core.l1->base() : 0);
}

void* emu_l1(std::uint32_t address, std::uint32_t size, bool writes, emu::Site site) {
    Core& core = enter(site);
    const std::uint32_t offset = address - core.l1->base();
    if (address < core.l1->base() || offset >= core.l1->bytes()) {
        KERNEL_ERROR(no_index, "address 0x%x is not in this core's L1", address);
    }
    if (address % size != 0) {
        KERNEL_ERROR(no_index, "a misaligned L1 access: %u bytes at address %u", size, offset);
    }
    if (writes) {
        find_region(core, offset, size);
        core.l1->add(offset, size, written);
    } else {
        check_l1_read(core, offset, size);
    }
    return core.l1->at(offset);
}
}
