// A Tensix core while it runs: its L1, circular buffers, kernels' fibers and counts; and how an error leaves a kernel.
#pragma once
#include <array>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "fibers.h"
#include "l1.h"
#include "program.h"

struct Fault {
    std::string code;  // an error code of the package: kernel-fault, deadlock
    std::string text;
    std::string kernel, source;
    std::uint32_t line = 0;
    std::string cb;
};

struct CircularBuffer {
    const CircularBufferSpec* spec = nullptr;  // null: the program has no buffer of this index
    std::uint32_t write_page = 0, read_page = 0;
    std::uint32_t held = 0;            // pages pushed and not popped
    std::uint32_t reserved = 0;        // pages that the producer may write, from write_page on
    std::uint32_t waited = 0;          // pages that the consumer may read, from read_page on
    std::uint32_t packed = 0;          // pages packed in order since the last push
    int producer = -1, consumer = -1;  // roles, once known

    std::uint32_t page_bytes() const { return spec->page_bytes; }
    std::uint32_t bytes() const { return spec->page_bytes * spec->pages; }
    std::uint32_t free_pages() const { return spec->pages - held; }
};

struct Transfer {  // a NoC transfer that may still touch L1
    std::uint32_t l1, size;
    std::uint8_t noc;
    emu::Site site;
    bool multicast = false;
};

struct Sent {  // a core's multicasts on a NoC up to this number
    std::uint32_t core;
    int noc;
    std::uint64_t number;
};

struct Semaphore {
    const SemaphoreSpec* spec;
    std::vector<Sent> after;  // what its senders had multicast when they last set or raised it
};

struct Arrival {  // what a multicast has brought and no wait has made sure of yet
    std::uint32_t l1, size, from;
    int noc;
    std::uint64_t number;
    emu::Site site;
};

enum class Waits : std::uint8_t { nothing, free_pages, held_pages, semaphore };

struct Fiber {
    Role role;
    const KernelSpec* kernel = nullptr;
    FiberSwitch control;
    bool started = false, done = false;
    Waits waits = Waits::nothing;
    std::uint32_t waits_cb = 0, waits_pages = 0;  // or the semaphore's place among the core's, and the value
    bool waits_at_least = false;
    emu::Site site{nullptr, 0};                                  // of the last call into the emulator
    std::vector<Transfer> reads, writes;                         // until the barrier, or for writes the flush
    emu::Site unacknowledged[2] = {{nullptr, 0}, {nullptr, 0}};  // per NoC, the last write since the last barrier
    emu::Site atomics[2] = {{nullptr, 0}, {nullptr, 0}};         // the same of increments of remote semaphores
};

struct Counts {
    std::vector<std::uint64_t> bank_read, bank_written;      // bytes per DRAM bank
    std::vector<std::uint64_t> tensor_read, tensor_written;  // bytes on the NoC per tensor
    std::uint64_t dram_read = 0, dram_written = 0, l1_remote_read = 0, l1_remote_written = 0, l1_local = 0;
    std::uint64_t l1_multicast = 0;       // once however many cores a multicast reaches
    std::uint64_t byte_hops[2] = {0, 0};  // per NoC
    std::uint64_t products = 0, eltwise = 0, sfpu = 0, unpacks = 0, packs = 0;
};

struct Compute;

struct Core {
    Core(Program& program, std::uint32_t index);
    ~Core();

    Program& program;
    const std::uint32_t index;
    const CoreSpec& spec;
    std::shared_ptr<L1> l1;
    std::array<CircularBuffer, 64> cbs;
    std::vector<Semaphore> semaphores;
    std::vector<Arrival> arriving;
    std::uint64_t multicasts[2] = {0, 0};  // sent so far, per NoC
    std::array<Fiber, 3> fibers;
    std::size_t fiber_count = 0;
    Fiber* current = nullptr;
    std::unique_ptr<Compute> compute;
    Counts counts;
    std::unique_ptr<Fault> fault;

    CircularBuffer* find_cb(std::uint32_t cb) {
        return cb < cbs.size() && cbs[cb].spec != nullptr ? &cbs[cb] : nullptr;
    }
};

// The core that the calling thread runs; null outside of kernels.
inline thread_local Core* t_core = nullptr;
// All cores of the run, for transfers into another core's L1.
inline std::vector<std::unique_ptr<Core>>* g_cores = nullptr;

inline Core& this_core() { return *t_core; }

inline std::string format_text(const char* format, ...) __attribute__((format(printf, 1, 2)));
inline std::string format_text(const char* format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return text;
}

inline std::string cb_name(std::uint32_t cb) {
    const CircularBuffer* buffer = this_core().find_cb(cb);
    return format_text("%u '%s'", cb, buffer ? buffer->spec->name.c_str() : "?");
}

// Ends the running kernel, and with it the run, with an error.
[[noreturn]] inline void fail(const char* code, std::uint32_t cb, std::string text) {
    Core& core = this_core();
    auto fault = std::make_unique<Fault>();
    fault->code = code;
    fault->text = std::move(text);
    fault->kernel = role_name(core.current->role);
    fault->source = core.current->site.file ? core.current->site.file : core.current->kernel->source;
    fault->line = core.current->site.line;
    if (cb != no_index) {
        fault->cb = cb_name(cb);
    }
    core.fault = std::move(fault);
    core.current->control.leave();
}

#define KERNEL_ERROR(cb, ...) fail("kernel-fault", cb, format_text(__VA_ARGS__))

// Notes where the kernel is; the first thing that every call from a kernel does.
inline Core& enter(emu::Site site) {
    Core& core = this_core();
    if (site.file != nullptr) {
        core.current->site = site;
    }
    return core;
}

// The word that stands for the running kernel and its line among the users of a page.
inline std::uint64_t user_word(const Core& core) {
    return PageUsers::word(core.index, core.current->role, core.current->site.line);
}

inline CircularBuffer& get_cb(Core& core, std::uint32_t cb) {
    CircularBuffer* buffer = core.find_cb(cb);
    if (buffer == nullptr) {
        KERNEL_ERROR(no_index, "the program has no circular buffer %u", cb);
    }
    return *buffer;
}

inline bool semaphore_has(Core& core, const Fiber& fiber);

inline bool can_go_on(Core& core, const Fiber& fiber) {
    const CircularBuffer& buffer = core.cbs[fiber.waits_cb % core.cbs.size()];
    switch (fiber.waits) {
        case Waits::nothing:
            return true;
        case Waits::free_pages:
            return buffer.free_pages() >= fiber.waits_pages;
        case Waits::held_pages:
            return buffer.held >= fiber.waits_pages;
        case Waits::semaphore:
            return semaphore_has(core, fiber);
    }
    return true;
}

// Gives way until the condition that `fiber` waits for holds.
inline void wait_until(Core& core, Waits waits, std::uint32_t cb, std::uint32_t pages) {
    Fiber& fiber = *core.current;
    fiber.waits = waits;
    fiber.waits_cb = cb;
    fiber.waits_pages = pages;
    if (!can_go_on(core, fiber)) {
        fiber.control.suspend();
    }
    fiber.waits = Waits::nothing;
}
