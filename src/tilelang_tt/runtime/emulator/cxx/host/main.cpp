// The emulator: runs a program's kernels on every core of it, as one job says, and writes what happened.
//
// Cores of one program do not talk to each other, so each runs from start to end on one thread, its three kernels as
// fibers that give way where they have to wait. All that is reported is merged in the order of cores, never of threads.
#include <dlfcn.h>
#include <signal.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "job.h"
#include "noc.h"
#include "reduce.h"
#include "report.h"
#include "sfpu.h"

Core::Core(Program& owner, std::uint32_t number) : program(owner), index(number), spec(owner.cores[number]) {
    for (const CircularBufferSpec& cb : owner.cbs) {
        cbs[cb.index].spec = &cb;
    }
    for (const KernelSpec& kernel : owner.kernels) {
        fibers[fiber_count].role = kernel.role;
        fibers[fiber_count].kernel = &kernel;
        ++fiber_count;
    }
    counts.bank_read.resize(owner.banks.size());
    counts.bank_written.resize(owner.banks.size());
    counts.tensor_read.resize(owner.tensors.size());
    counts.tensor_written.resize(owner.tensors.size());
}
Core::~Core() = default;

namespace {

struct Worker {  // what one thread runs cores with
    Stack stacks[3];
    std::shared_ptr<L1> l1;
};

std::mutex g_report_mutex;
thread_local const Worker* t_worker = nullptr;

// Ends the whole run at once, from wherever it is.
[[noreturn]] void abandon(const Core* core, const Fault& fault) {
    g_report_mutex.lock();  // kept: no other thread may report as well
    write_fault(core->program, core, fault);
    _exit(0);
}

Fault fault_of(const Fiber& fiber, const char* code, std::string text) {
    Fault fault;
    fault.code = code;
    fault.text = std::move(text);
    fault.kernel = role_name(fiber.role);
    fault.source = fiber.site.file ? fiber.site.file : fiber.kernel->source;
    fault.line = fiber.site.line;
    return fault;
}

void on_crash(int signal, siginfo_t* info, void*) {
    const Core* core = t_core;
    if (core == nullptr || core->current == nullptr) {
        ::signal(signal, SIG_DFL);
        ::raise(signal);
        return;
    }
    const char* what = signal == SIGSEGV   ? "a segmentation fault"
                       : signal == SIGFPE  ? "a division by zero"
                       : signal == SIGILL  ? "an illegal instruction"
                       : signal == SIGABRT ? "an abort"
                                           : "a bus error";
    bool overflow = false;
    for (const Stack& stack : t_worker->stacks) {
        overflow = overflow || stack.overflowed_at(info->si_addr);
    }
    std::string text = overflow ? format_text("the kernel's stack overflowed (%zu KiB)", stack_bytes / 1024)
                                : format_text("the kernel crashed with %s", what);
    if (!overflow && (signal == SIGSEGV || signal == SIGBUS)) {
        text += format_text(" at address %p, outside of its core's L1", info->si_addr);
    }
    abandon(core, fault_of(*core->current, "kernel-fault", text));
}

void install_crash_handler() {
    struct sigaction action{};
    action.sa_sigaction = on_crash;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) {
        ::sigaction(signal, &action, nullptr);
    }
}

void use_signal_stack() {
    constexpr std::size_t bytes = 256 * 1024;  // writing the report takes some
    stack_t stack{};
    stack.ss_sp = std::malloc(bytes);
    stack.ss_size = bytes;
    ::sigaltstack(&stack, nullptr);
}

void check_end(Core& core) {
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
    if (fiber.role == Role::compute) {
        if (const char* call = core.compute->dst.unfinished()) {
            KERNEL_ERROR(no_index, "the kernel ended in the middle of DST's protocol: %s is missing", call);
        }
    }
}

void fiber_entry() {
    Core& core = this_core();
    core.current->kernel->entry();
    check_end(core);
    core.current->done = true;
    core.current->control.leave();
}

std::string wait_text(Core& core, const Fiber& fiber) {
    const CircularBuffer& cb = core.cbs[fiber.waits_cb];
    const std::string where = format_text("%s kernel (%s:%u)", role_name(fiber.role), fiber.site.file, fiber.site.line);
    if (fiber.done) {
        return format_text("%s kernel has ended", role_name(fiber.role));
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

void report_deadlock(Core& core) {
    const Fiber* first = nullptr;
    std::string text = "deadlock: no kernel of the core can go on";
    for (std::size_t i = 0; i < core.fiber_count; ++i) {
        const Fiber& fiber = core.fibers[i];
        text += "\n    " + wait_text(core, fiber);
        first = first == nullptr && !fiber.done ? &fiber : first;
    }
    core.fault = std::make_unique<Fault>(fault_of(*first, "deadlock", text));
    core.fault->cb = cb_name(first->waits_cb);
}

void check_leftovers(Core& core) {
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
}

// Runs the core's kernels to their end or to an error.
void run_core(Core& core, Worker& worker) {
    t_core = &core;
    t_worker = &worker;
    core.compute = std::make_unique<Compute>(core.program);
    if (!core.l1) {
        worker.l1->clear();
        core.l1 = worker.l1;
    }
    for (std::size_t done = 0; done < core.fiber_count && !core.fault;) {
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
            done += fiber.done;
        }
        if (!progress) {
            report_deadlock(core);
        }
    }
    core.current = nullptr;
    if (!core.fault) {
        check_leftovers(core);
    }
    core.compute.reset();
    if (core.l1 == worker.l1) {
        core.l1.reset();
    }
    t_core = nullptr;
}

// Ends the run when its time is up, saying what each core was doing. Only a kernel that never waits can get here.
class Watchdog {
public:
    Watchdog(std::uint32_t milliseconds, std::atomic<Core*>* running, std::uint32_t threads) {
        thread_ = std::thread([=, this] {
            std::unique_lock<std::mutex> lock(mutex_);
            if (!ended_.wait_for(lock, std::chrono::milliseconds(milliseconds), [this] { return over_; })) {
                for (std::uint32_t i = 0; i < threads; ++i) {
                    const Core* core = running[i].load();
                    const Fiber* fiber = core ? core->current : nullptr;
                    if (fiber != nullptr) {
                        abandon(
                            core,
                            fault_of(
                                *fiber,
                                "timeout",
                                format_text(
                                    "the run was not over after %.1f s; its last call was here", milliseconds / 1000.0
                                )
                            )
                        );
                    }
                }
                std::fprintf(stderr, "the emulator did not end in time\n");
                _exit(3);
            }
        });
    }
    ~Watchdog() {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            over_ = true;
        }
        ended_.notify_one();
        thread_.join();
    }

private:
    std::mutex mutex_;
    std::condition_variable ended_;
    bool over_ = false;
    std::thread thread_;
};

void load_kernels(Program& program) {
    for (KernelSpec& kernel : program.kernels) {
        void* object = ::dlopen(kernel.object.c_str(), RTLD_NOW | RTLD_LOCAL);
        void* entry = object ? ::dlsym(object, "_Z11kernel_mainv") : nullptr;
        if (entry == nullptr) {
            std::fprintf(stderr, "cannot load the %s kernel: %s\n", role_name(kernel.role), ::dlerror());
            std::exit(4);
        }
        kernel.entry = reinterpret_cast<void (*)()>(entry);
    }
}

// Moves sharded tensors between the job's files, where pages are in order, and the cores' L1.
void place_shards(Program& program, std::vector<std::unique_ptr<Core>>& cores) {
    for (const auto& tensor : program.tensors) {
        for (std::uint32_t page = 0; tensor->in_l1 && tensor->readable && page < tensor->pages; ++page) {
            const PageLocation location = program.locate(*tensor, page);
            L1& l1 = *cores[location.unit]->l1;
            std::memcpy(
                l1.at(tensor->address + location.offset),
                tensor->data + std::size_t{page} * tensor->page_bytes,
                tensor->page_bytes
            );
            l1.mark(tensor->address + location.offset, tensor->page_bytes, written);
        }
    }
}

void collect_shards(Program& program, std::vector<std::unique_ptr<Core>>& cores) {
    for (const auto& tensor : program.tensors) {
        for (std::uint32_t page = 0; tensor->in_l1 && tensor->writable && page < tensor->pages; ++page) {
            const PageLocation location = program.locate(*tensor, page);
            L1& l1 = *cores[location.unit]->l1;
            const std::uint32_t offset = tensor->address + location.offset;
            if (l1.summary(offset, tensor->page_bytes).all & written) {
                std::memcpy(tensor->data + std::size_t{page} * tensor->page_bytes, l1.at(offset), tensor->page_bytes);
                if (tensor->writers.first(page) == PageUsers::nobody && !tensor->readable) {
                    tensor->writers.add(page, PageUsers::word(location.unit, Role::compute, 0));  // through a pointer
                }
            }
        }
    }
}

// Cores do not wait for each other, so no page may be written by two of them, or written by one and read by another.
std::unique_ptr<Fault> find_conflict(const Program& program) {
    const auto at = [&](std::uint64_t user) {
        const CoreSpec& core = program.cores[PageUsers::core(user)];
        return format_text(
            "core (%u, %u) (%s kernel, line %u)",
            core.x,
            core.y,
            role_name(PageUsers::role(user)),
            PageUsers::line(user)
        );
    };
    for (const auto& tensor : program.tensors) {
        for (std::uint32_t page = 0; tensor->writable && page < tensor->pages; ++page) {
            const std::uint64_t writer = tensor->writers.first(page), other = tensor->writers.other(page);
            std::string text;
            if (other != PageUsers::nobody) {
                text = "is written by " + at(writer) + " and by " + at(other);
            } else if (writer != PageUsers::nobody) {
                for (const std::uint64_t reader : {tensor->readers.first(page), tensor->readers.other(page)}) {
                    if (reader != PageUsers::nobody && PageUsers::core(reader) != PageUsers::core(writer)) {
                        text = "is written by " + at(writer) + " and read by " + at(reader) + ", in no order";
                    }
                }
            }
            if (!text.empty()) {
                auto fault = std::make_unique<Fault>();
                fault->code = "kernel-fault";
                fault->text = format_text("page %u of tensor '%s' ", page, tensor->name.c_str()) + text;
                fault->kernel = role_name(PageUsers::role(writer));
                return fault;
            }
        }
    }
    return nullptr;
}

int run(Program& program) {
    load_kernels(program);
    std::vector<std::unique_ptr<Core>> cores;
    for (std::uint32_t i = 0; i < program.cores.size(); ++i) {
        cores.push_back(std::make_unique<Core>(program, i));
    }
    g_cores = &cores;
    const std::uint32_t threads =
        std::max(1u, std::min<std::uint32_t>(program.threads, static_cast<std::uint32_t>(cores.size())));
    std::vector<Worker> workers(threads);
    const bool own_l1 = program.any_l1_tensor();
    const auto new_l1 = [&] {
        auto l1 = std::make_shared<L1>(program.l1_bytes);
        if (!l1->mapped()) {
            std::fprintf(stderr, "no address space below 4 GB for the L1 of %zu cores\n", cores.size());
            std::exit(3);
        }
        return l1;
    };
    if (own_l1) {
        for (const auto& core : cores) {
            core->l1 = new_l1();
        }
        place_shards(program, cores);
    } else {
        for (Worker& worker : workers) {
            worker.l1 = new_l1();
        }
    }

    install_crash_handler();
    std::atomic<std::uint32_t> next{0}, failed{no_index};
    std::vector<std::atomic<Core*>> running(threads);
    const auto work = [&](std::uint32_t thread) {
        use_signal_stack();
        for (;;) {
            // Cores are taken in order, and none after one that failed: so the first core with an error is always
            // found.
            const std::uint32_t index = next.fetch_add(1);
            if (index >= cores.size() || index > failed.load()) {
                break;
            }
            if (!cores[index]->spec.runs) {
                continue;
            }
            running[thread] = cores[index].get();
            run_core(*cores[index], workers[thread]);
            running[thread] = nullptr;
            if (cores[index]->fault) {
                std::uint32_t seen = failed.load();
                while (index < seen && !failed.compare_exchange_weak(seen, index)) {
                }
            }
        }
    };
    {
        const Watchdog watchdog(program.timeout_ms, running.data(), threads);
        std::vector<std::thread> helpers;
        for (std::uint32_t thread = 1; thread < threads; ++thread) {
            helpers.emplace_back(work, thread);
        }
        work(0);
        for (std::thread& helper : helpers) {
            helper.join();
        }
    }

    if (failed != no_index) {
        const Core& core = *cores[failed];
        write_fault(program, &core, *core.fault);
        return 0;
    }
    collect_shards(program, cores);
    if (const auto conflict = find_conflict(program)) {
        write_fault(program, nullptr, *conflict);
        return 0;
    }
    write_counts(program, cores);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: emulator JOB\n");
        return 2;
    }
    Program program = read_job(argv[1]);
    const int status = run(program);
    std::fflush(nullptr);
    _exit(status);  // the kernel takes the memory back faster than destructors would
}
