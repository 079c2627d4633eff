// Semaphores and multicast: how the kernels of different cores talk to each other.
//
// What a multicast brings may be looked at once a wait has seen a semaphore that its sender set or raised after it, on
// the same NoC: only then has it arrived for certain.
#pragma once
#include <algorithm>

#include "noc.h"

// A multicast address: bit 62, then 6 bits for each of x0, y0, x1 and y1 from bit 32 on, then the offset in L1.
constexpr std::uint64_t multicast_flag = std::uint64_t{1} << 62;

struct Rectangle {
    Place first, last;
    bool holds(Place place) const {
        return first.x <= place.x && place.x <= last.x && first.y <= place.y && place.y <= last.y;
    }
    std::string text() const { return format_text("(%d, %d) to (%d, %d)", first.x, first.y, last.x, last.y); }
};

inline std::string core_text(const Core& core) { return format_text("core (%u, %u)", core.spec.x, core.spec.y); }

inline Semaphore& semaphore_at(Core& core, std::uint32_t offset) {
    for (Semaphore& semaphore : core.semaphores) {
        if (semaphore.spec->address == offset) {
            return semaphore;
        }
    }
    KERNEL_ERROR(no_index, "L1 address %u is no semaphore: get_semaphore gives their addresses", offset);
}

inline std::uint32_t& semaphore_word(Core& core, const Semaphore& semaphore) {
    return *reinterpret_cast<std::uint32_t*>(core.l1->at(semaphore.spec->address));
}

inline bool semaphore_has(Core& core, const Fiber& fiber) {
    const std::uint32_t value = semaphore_word(core, core.semaphores[fiber.waits_cb]);
    return fiber.waits_at_least ? value >= fiber.waits_pages : value == fiber.waits_pages;
}

// The core of the program at a place of the NoC.
inline Core& core_at(Place place) {
    for (const auto& other : *g_cores) {
        if (other->spec.runs && other->spec.place.x == place.x && other->spec.place.y == place.y) {
            return *other;
        }
    }
    KERNEL_ERROR(no_index, "no core of the program is at NoC coordinates (%d, %d)", place.x, place.y);
}

inline void check_noc(std::uint32_t noc) {
    if (noc > 1) {
        KERNEL_ERROR(no_index, "NoC %u does not exist", noc);
    }
}

inline Rectangle rectangle_of(std::uint64_t address) {
    if (!(address & multicast_flag)) {
        KERNEL_ERROR(no_index, "a multicast to an address that get_noc_multicast_addr did not give");
    }
    const auto part = [&](int bit) { return static_cast<std::int32_t>(address >> bit & 0x3f); };
    return {{part(32), part(38)}, {part(44), part(50)}};
}

// The cores that a multicast of the running kernel reaches, the sender among them where it loops back.
inline std::vector<Core*> destinations_of(
    Core& core, std::uint64_t address, std::uint32_t count, bool loopback, const char* call
) {
    const Rectangle rectangle = rectangle_of(address);
    std::vector<Core*> reached;
    for (const Place worker : core.program.workers) {
        const bool self = worker.x == core.spec.place.x && worker.y == core.spec.place.y;
        if (!rectangle.holds(worker) || (self && !loopback)) {
            continue;
        }
        const auto found = std::find_if(g_cores->begin(), g_cores->end(), [&](const auto& other) {
            return other->spec.runs && other->spec.place.x == worker.x && other->spec.place.y == worker.y;
        });
        if (found == g_cores->end()) {
            KERNEL_ERROR(
                no_index,
                "%s to %s reaches the worker core at (%d, %d), which does not run the program",
                call,
                rectangle.text().c_str(),
                worker.x,
                worker.y
            );
        }
        reached.push_back(found->get());
    }
    if (loopback && !rectangle.holds(core.spec.place)) {
        KERNEL_ERROR(
            no_index, "%s to %s, which the sender is not in: it cannot loop back", call, rectangle.text().c_str()
        );
    }
    if (reached.size() != count) {
        KERNEL_ERROR(
            no_index,
            "%s counts %u destinations, but %s holds %zu%s: its barrier would never return",
            call,
            count,
            rectangle.text().c_str(),
            reached.size(),
            loopback ? "" : " without the sender"
        );
    }
    if (reached.empty()) {
        KERNEL_ERROR(no_index, "%s to no core", call);
    }
    return reached;
}

// Links that a multicast takes: those of the routes to all its destinations, each counted once.
inline std::uint64_t multicast_links(const Core& core, const std::vector<Core*>& reached, std::uint32_t noc) {
    const Program& program = core.program;
    const std::int32_t columns = program.torus_x, rows = program.torus_y, step = noc == 0 ? 1 : -1;
    std::vector<bool> taken(static_cast<std::size_t>(columns * rows) * 2);
    std::uint64_t links = 0;
    const auto take = [&](Place at, int axis) {
        const auto link = static_cast<std::size_t>((at.y * columns + at.x) * 2 + axis);
        links += !taken[link];
        taken[link] = true;
    };
    for (const Core* target : reached) {
        Place at = core.spec.place;
        const Place to = target->spec.place;
        const auto along_x = [&] {
            for (; at.x != to.x; at.x = (at.x + step + columns) % columns) {
                take(at, 0);
            }
        };
        const auto along_y = [&] {
            for (; at.y != to.y; at.y = (at.y + step + rows) % rows) {
                take(at, 1);
            }
        };
        // NoC 0 goes east, then south; NoC 1 north, then west.
        noc == 0 ? along_x() : along_y();
        noc == 0 ? along_y() : along_x();
    }
    return links;
}

inline void count_multicast(
    Core& core, const std::vector<Core*>& reached, std::uint32_t size, std::uint32_t noc
) {
    core.counts.l1_multicast += size;
    if (core.program.has_places) {
        core.counts.byte_hops[noc] += size * multicast_links(core, reached, noc);
    }
}

// Whether a core has room, reserved, where a multicast puts its data.
inline void check_multicast_target(Core& target, std::uint32_t offset, std::uint32_t size) {
    const Region region = find_region(target, offset, size);
    if (region.cb == nullptr || region.tensor != nullptr) {
        KERNEL_ERROR(no_index, "a multicast into L1 address %u, which is in no circular buffer", offset);
    }
    const CircularBuffer& cb = *region.cb;
    if (!in_window(cb, cb.write_page, cb.reserved, region.offset, size)) {
        KERNEL_ERROR(
            cb.spec->index,
            "a multicast of %u bytes to offset %u, but %s has reserved %u pages from page %u on: it must reserve them, "
            "and say so, before",
            size,
            region.offset,
            core_text(target).c_str(),
            cb.reserved,
            cb.write_page
        );
    }
    if (target.l1->summary(offset, size).any & (read_in_flight | write_in_flight)) {
        KERNEL_ERROR(
            cb.spec->index,
            "a multicast over L1 of %s that another transfer has not finished with",
            core_text(target).c_str()
        );
    }
}

inline void deliver(Core& core, Core& target, std::uint32_t from, std::uint32_t offset, std::uint32_t size, int noc) {
    check_multicast_target(target, offset, size);
    std::memmove(target.l1->at(offset), core.l1->at(from), size);
    target.l1->mark(offset, size, written | read_in_flight);
    target.arriving.push_back({offset, size, core.index, noc, core.multicasts[noc], core.current->site});
}

// What the sender multicast before it set or raised the semaphore has arrived for whoever sees its value.
inline void note_sender(Core& core, Semaphore& semaphore, int noc) {
    std::erase_if(semaphore.after, [&](const Sent& sent) { return sent.core == core.index && sent.noc == noc; });
    semaphore.after.push_back({core.index, noc, core.multicasts[noc]});
}

inline void accept_arrivals(Core& core, const Semaphore& semaphore) {
    std::erase_if(core.arriving, [&](const Arrival& arrival) {
        for (const Sent& sent : semaphore.after) {
            if (sent.core == arrival.from && sent.noc == arrival.noc && arrival.number <= sent.number) {
                core.l1->remove(arrival.l1, arrival.size, read_in_flight);
                return true;
            }
        }
        return false;
    });
}

inline std::uint32_t offset_in(Core& core, std::uint64_t address) {
    return local_offset(core, static_cast<std::uint32_t>(address));
}

extern "C" {
std::uint32_t emu_semaphore(std::uint32_t id, emu::Site site) {
    Core& core = enter(site);
    for (const Semaphore& semaphore : core.semaphores) {
        if (semaphore.spec->id == id) {
            return core.l1->base() + semaphore.spec->address;
        }
    }
    KERNEL_ERROR(no_index, "the program has no semaphore %u", id);
}

void emu_semaphore_set(std::uint32_t address, std::uint32_t value, emu::Site site) {
    Core& core = enter(site);
    semaphore_word(core, semaphore_at(core, local_offset(core, address))) = value;
}

void emu_semaphore_wait(std::uint32_t address, std::uint32_t value, bool at_least, emu::Site site) {
    Core& core = enter(site);
    Semaphore& semaphore = semaphore_at(core, local_offset(core, address));
    Fiber& fiber = *core.current;
    fiber.waits = Waits::semaphore;
    fiber.waits_cb = static_cast<std::uint32_t>(&semaphore - core.semaphores.data());
    fiber.waits_pages = value;
    fiber.waits_at_least = at_least;
    if (!semaphore_has(core, fiber)) {
        fiber.control.suspend();
    }
    fiber.waits = Waits::nothing;
    accept_arrivals(core, semaphore);
}

std::uint64_t emu_core_noc_addr(std::uint32_t x, std::uint32_t y, std::uint32_t address, emu::Site site) {
    Core& core = enter(site);
    const Core& target = core_at({static_cast<std::int32_t>(x), static_cast<std::int32_t>(y)});
    return noc_address(false, target.index, local_offset(core, address));
}

std::uint64_t emu_multicast_addr(
    std::uint32_t x0,
    std::uint32_t y0,
    std::uint32_t x1,
    std::uint32_t y1,
    std::uint32_t address,
    std::uint32_t noc,
    emu::Site site
) {
    Core& core = enter(site);
    check_noc(noc);
    if (noc == 1) {  // it goes the other way, from the far corner to the near one
        std::swap(x0, x1);
        std::swap(y0, y1);
    }
    if (x0 > x1 || y0 > y1 || x1 > 0x3f || y1 > 0x3f) {
        KERNEL_ERROR(
            no_index,
            "NoC %u cannot multicast from (%u, %u) to (%u, %u): NoC 0 takes the corner of the smallest coordinates "
            "first, NoC 1 that of the largest",
            noc,
            noc ? x1 : x0,
            noc ? y1 : y0,
            noc ? x0 : x1,
            noc ? y0 : y1
        );
    }
    const std::uint64_t corners = std::uint64_t{x0} | std::uint64_t{y0} << 6 | std::uint64_t{x1} << 12 |
                                  std::uint64_t{y1} << 18;
    return multicast_flag | corners << 32 | local_offset(core, address);
}

void emu_semaphore_inc(std::uint64_t address, std::uint32_t increment, std::uint32_t noc, emu::Site site) {
    Core& core = enter(site);
    check_noc(noc);
    const auto unit = static_cast<std::uint32_t>(address >> 32) & 0xffff;
    if (address & (dram_flag | multicast_flag) || unit >= g_cores->size()) {
        KERNEL_ERROR(no_index, "noc_semaphore_inc takes the address of one core's semaphore");
    }
    Core& target = *(*g_cores)[unit];
    Semaphore& semaphore = semaphore_at(target, static_cast<std::uint32_t>(address));
    semaphore_word(target, semaphore) += increment;
    note_sender(core, semaphore, static_cast<int>(noc));
    core.current->atomics[noc] = core.current->site;
}

void emu_semaphore_multicast(
    std::uint32_t from,
    std::uint64_t address,
    std::uint32_t destinations,
    bool loopback,
    std::uint32_t noc,
    emu::Site site
) {
    Core& core = enter(site);
    check_noc(noc);
    const std::uint32_t value = semaphore_word(core, semaphore_at(core, local_offset(core, from)));
    for (const Transfer& write : core.current->writes) {
        if (core.program.blackhole && write.multicast && write.noc == noc) {
            KERNEL_ERROR(
                no_index,
                "the semaphore may overtake the data multicast before it (line %u): on Blackhole "
                "noc_async_writes_flushed must come between",
                write.site.line
            );
        }
    }
    for (Core* target : destinations_of(core, address, destinations, loopback, "noc_semaphore_set_multicast")) {
        Semaphore& semaphore = semaphore_at(*target, static_cast<std::uint32_t>(address));
        semaphore_word(*target, semaphore) = value;
        note_sender(core, semaphore, static_cast<int>(noc));
    }
    core.current->unacknowledged[noc] = core.current->site;
}

void emu_noc_multicast(
    std::uint32_t from,
    std::uint64_t address,
    std::uint32_t size,
    std::uint32_t destinations,
    bool loopback,
    std::uint32_t noc,
    emu::Site site
) {
    Core& core = enter(site);
    check_noc(noc);
    const std::uint32_t l1 = local_offset(core, from), offset = static_cast<std::uint32_t>(address);
    const std::vector<Core*> reached =
        destinations_of(core, address, destinations, loopback, "noc_async_write_multicast");
    if (size == 0) {
        KERNEL_ERROR(no_index, "a NoC transfer of 0 bytes");
    }
    if (l1 % 16 != offset % 16) {
        KERNEL_ERROR(
            no_index, "a misaligned multicast: L1 addresses %u and %u differ modulo 16", l1, offset
        );
    }
    check_l1_read(core, l1, size);
    ++core.multicasts[noc];
    for (Core* target : reached) {
        if (target != &core || l1 != offset) {
            deliver(core, *target, l1, offset, size, static_cast<int>(noc));
        }
    }
    core.l1->add(l1, size, write_in_flight);
    core.current->writes.push_back({l1, size, static_cast<std::uint8_t>(noc), core.current->site, true});
    core.current->unacknowledged[noc] = core.current->site;
    count_multicast(core, reached, size, noc);
}

void emu_noc_atomic_barrier(std::uint32_t noc, emu::Site site) { enter(site).current->atomics[noc & 1] = {nullptr, 0}; }
}
