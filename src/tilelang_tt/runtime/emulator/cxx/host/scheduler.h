// Runs kernels: the three of a core as fibers that give way where they have to wait; and the cores of a program one
// after the other where they do not talk to each other, or all together on one thread where they do.
#pragma once
#include <atomic>

#include "compute.h"
#include "semaphores.h"

struct Worker {  // what cores are run with: by one thread, or by one core where all run together
    Stack stacks[3];
    std::shared_ptr<L1> l1;
};

inline thread_local const Worker* t_worker = nullptr;

inline Fault fault_of(const Fiber& fiber, const char* code, std::string text) {
    Fault fault;
    fault.code = code;
    fault.text = std::move(text);
    fault.kernel = role_name(fiber.role);
    fault.source = fiber.site.file ? fiber.site.file : fiber.kernel->source;
    fault.line = fiber.site.line;
    return fault;
}

inline void check_end(Core& core) {
    Fiber& fiber = *core.current;
    if (!fiber.reads.empty()) {
        KERNEL_ERROR(
            no_index,
            "the kernel ended with a NoC read (line %u) outstanding: noc_async_read_barrier is missing",
            fiber.reads[0].site.line
        );
    }
    for (const emu::Site& write : fiber.unacknowledged) {
        if (write.file != nullptr) {
            KERNEL_ERROR(
                no_index,
                "the kernel ended with a NoC write (line %u) outstanding: noc_async_write_barrier is missing",
                write.line
            );
        }
    }
    for (const emu::Site& increment : fiber.atomics) {
        if (increment.file != nullptr) {
            KERNEL_ERROR(
                no_index,
                "the kernel ended with a noc_semaphore_inc (line %u) outstanding: noc_async_atomic_barrier is missing",
                increment.line
            );
        }
    }
    if (fiber.role == Role::compute) {
        if (const char* call = core.compute->dst.unfinished()) {
            KERNEL_ERROR(no_index, "the kernel ended in the middle of DST's protocol: %s is missing", call);
        }
    }
}

inline void fiber_entry() {
    Core& core = this_core();
    core.current->kernel->entry();
    check_end(core);
    core.current->done = true;
    core.current->control.leave();
}

inline std::string wait_text(Core& core, const Fiber& fiber) {
    const CircularBuffer& cb = core.cbs[fiber.waits_cb % core.cbs.size()];
    const std::string where = format_text("%s kernel (%s:%u)", role_name(fiber.role), fiber.site.file, fiber.site.line);
    if (fiber.done) {
        return format_text("%s kernel has ended", role_name(fiber.role));
    }
    if (fiber.waits == Waits::semaphore) {
        const Semaphore& semaphore = core.semaphores[fiber.waits_cb];
        return where + format_text(
                           " waits for semaphore %u '%s' to be %s%u, which is %u",
                           semaphore.spec->id,
                           semaphore.spec->name.c_str(),
                           fiber.waits_at_least ? "at least " : "",
                           fiber.waits_pages,
                           semaphore_word(core, semaphore)
                       );
    }
    if (fiber.waits == Waits::free_pages) {
        return where +
               format_text(
                   " waits in cb_reserve_back for %u free pages of circular buffer %u '%s', which has %u of %u free",
                   fiber.waits_pages,
                   fiber.waits_cb,
                   cb.spec->name.c_str(),
                   cb.free_pages(),
                   cb.spec->pages
               );
    }
    return where + format_text(
                       " waits in cb_wait_front for %u pages of circular buffer %u '%s', which holds %u of %u",
                       fiber.waits_pages,
                       fiber.waits_cb,
                       cb.spec->name.c_str(),
                       cb.held,
                       cb.spec->pages
                   );
}

// What the kernels of a core wait for, and which of them to name first: one that waits for a semaphore, where one does.
inline std::string waits_text(Core& core, const Fiber*& first) {
    std::string text;
    for (std::size_t i = 0; i < core.fiber_count; ++i) {
        const Fiber& fiber = core.fibers[i];
        text += "\n    " + wait_text(core, fiber);
        if (!fiber.done && (first == nullptr || (fiber.waits == Waits::semaphore && first->waits != fiber.waits))) {
            first = &fiber;
        }
    }
    return text;
}

inline void report_deadlock(Core& core, const std::string& others = "") {
    const Fiber* first = nullptr;
    t_core = &core;
    const std::string text = "deadlock: no kernel of the core can go on" + waits_text(core, first) + others;
    core.fault = std::make_unique<Fault>(fault_of(*first, "deadlock", text));
    if (first->waits != Waits::semaphore) {
        core.fault->cb = cb_name(first->waits_cb);
    }
}

inline void check_leftovers(Core& core) {
    for (const CircularBuffer& cb : core.cbs) {
        // Nobody need pop the pages of a buffer that lies on a tensor: they are the tensor's.
        if (cb.spec == nullptr || cb.spec->tensor != no_index || cb.held == 0) {
            continue;
        }
        Fault fault;
        fault.code = "kernel-fault";
        fault.text = format_text(
            "the kernels ended with %u pages pushed and never popped: reader, compute and writer disagree about the "
            "work",
            cb.held
        );
        fault.kernel = cb.producer >= 0 ? role_name(static_cast<Role>(cb.producer)) : "";
        fault.cb = cb_name(cb.spec->index);
        core.fault = std::make_unique<Fault>(fault);
        return;
    }
    for (const Arrival& arrival : core.arriving) {
        const Core& sender = *(*g_cores)[arrival.from];
        Fault fault;
        fault.code = "kernel-fault";
        fault.text = format_text(
            "the kernels ended without a wait for what %s multicast (line %u)",
            core_text(sender).c_str(),
            arrival.site.line
        );
        core.fault = std::make_unique<Fault>(fault);
        return;
    }
}

inline bool is_done(const Core& core) {
    for (std::size_t i = 0; i < core.fiber_count; ++i) {
        if (!core.fibers[i].done) {
            return false;
        }
    }
    return true;
}

inline void start_core(Core& core, Worker& worker) {
    core.compute = std::make_unique<Compute>(core.program);
    if (!core.l1) {
        worker.l1->clear();
        core.l1 = worker.l1;
    }
}

// Lets every kernel of the core that can go on do so, until it has to wait. Returns whether any could.
inline bool run_round(Core& core, Worker& worker) {
    t_core = &core;
    t_worker = &worker;
    bool progress = false;
    for (std::size_t i = 0; i < core.fiber_count && !core.fault; ++i) {
        Fiber& fiber = core.fibers[i];
        if (fiber.done || !can_go_on(core, fiber)) {
            continue;
        }
        core.current = &fiber;
        progress = true;
        if (fiber.started) {
            fiber.control.resume();
        } else {
            fiber.started = true;
            fiber.control.start(worker.stacks[i], fiber_entry);
        }
    }
    core.current = nullptr;
    return progress;
}

inline void end_core(Core& core, Worker& worker) {
    t_core = &core;
    if (!core.fault) {
        check_leftovers(core);
    }
    core.compute.reset();
    if (core.l1 == worker.l1) {
        core.l1.reset();
    }
    t_core = nullptr;
}

// Runs the core's kernels to their end or to an error.
inline void run_core(Core& core, Worker& worker) {
    start_core(core, worker);
    while (!is_done(core) && !core.fault) {
        if (!run_round(core, worker)) {
            report_deadlock(core);
        }
    }
    end_core(core, worker);
}

// The deadlock of cores that wait for each other: told of the first that waits for a semaphore, with the others.
inline Core& report_joint_deadlock(const std::vector<Core*>& stuck) {
    constexpr std::size_t shown = 4;
    const auto waits_for_semaphore = [](const Core* core) {
        return std::any_of(core->fibers.begin(), core->fibers.end(), [](const Fiber& fiber) {
            return fiber.waits == Waits::semaphore;
        });
    };
    const auto found = std::find_if(stuck.begin(), stuck.end(), waits_for_semaphore);
    Core& told = found == stuck.end() ? *stuck[0] : **found;
    std::string others;
    std::size_t count = 0;
    for (Core* core : stuck) {
        if (core == &told || ++count > shown) {
            continue;
        }
        const Fiber* first = nullptr;
        t_core = core;
        others += "\n  and of " + core_text(*core) + waits_text(*core, first);
    }
    if (count > shown) {
        others += format_text("\n  and of %zu cores more", count - shown);
    }
    report_deadlock(told, others);
    return told;
}

// Runs all cores together, in turn, to their end or to the first error; returns the core of that, or null. Every core
// has a worker of its own. `running` tells which core is at it.
inline Core* run_together(
    std::vector<std::unique_ptr<Core>>& all, std::vector<Worker>& workers, std::atomic<Core*>& running
) {
    std::vector<Core*> going;
    for (const auto& core : all) {
        if (core->spec.runs) {
            start_core(*core, workers[core->index]);
            for (const Semaphore& semaphore : core->semaphores) {
                semaphore_word(*core, semaphore) = semaphore.spec->initial;
            }
            going.push_back(core.get());
        }
    }
    while (!going.empty()) {
        bool progress = false;
        for (Core* core : going) {
            running = core;
            progress = run_round(*core, workers[core->index]) || progress;
            if (core->fault) {
                return core;
            }
        }
        std::erase_if(going, [](const Core* core) { return is_done(*core); });
        if (!progress && !going.empty()) {
            return &report_joint_deadlock(going);
        }
    }
    running = nullptr;
    for (const auto& core : all) {
        if (core->spec.runs) {
            end_core(*core, workers[core->index]);
            if (core->fault) {
                return core.get();
            }
        }
    }
    return nullptr;
}
