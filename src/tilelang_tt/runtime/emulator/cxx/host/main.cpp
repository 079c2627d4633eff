// The emulator: runs a program's kernels on every core of it, as one job says, and writes what happened.
//
// Where a program has no semaphores its cores do not talk to each other: each runs from start to end on one thread.
// Otherwise all run together (see scheduler.h). All that is reported is merged in the order of cores, never of threads.
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
#include "scheduler.h"
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
    for (const SemaphoreSpec& semaphore : owner.semaphores) {
        semaphores.push_back({&semaphore, {}});
    }
    counts.bank_read.resize(owner.banks.size());
    counts.bank_written.resize(owner.banks.size());
    counts.tensor_read.resize(owner.tensors.size());
    counts.tensor_written.resize(owner.tensors.size());
}
Core::~Core() = default;

namespace {

std::mutex g_report_mutex;

// Ends the whole run at once, from wherever it is.
[[noreturn]] void abandon(const Core* core, const Fault& fault) {
    g_report_mutex.lock();  // kept: no other thread may report as well
    write_fault(core->program, core, fault);
    _exit(0);
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

// No core waits for what another wrote, so no page may be written by two of them, or written by one and read by another.
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

// L1 for every core where they hold tensors or run together, else for every thread.
void give_l1(Program& program, std::vector<std::unique_ptr<Core>>& cores, std::vector<Worker>& workers) {
    const auto new_l1 = [&] {
        auto l1 = std::make_shared<L1>(program.l1_bytes);
        if (!l1->mapped()) {
            std::fprintf(stderr, "no address space below 4 GB for the L1 of %zu cores\n", cores.size());
            std::exit(3);
        }
        return l1;
    };
    if (program.any_l1_tensor() || !program.semaphores.empty()) {
        for (const auto& core : cores) {
            core->l1 = new_l1();
        }
        place_shards(program, cores);
    } else {
        for (Worker& worker : workers) {
            worker.l1 = new_l1();
        }
    }
}

// Runs the cores one by one, each on one of several threads; returns the first that failed, or no_index.
std::uint32_t run_apart(
    std::vector<std::unique_ptr<Core>>& cores, std::vector<Worker>& workers, std::vector<std::atomic<Core*>>& running
) {
    std::atomic<std::uint32_t> next{0}, failed{no_index};
    const auto work = [&](std::size_t thread) {
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
    std::vector<std::thread> helpers;
    for (std::size_t thread = 1; thread < running.size(); ++thread) {
        helpers.emplace_back(work, thread);
    }
    work(0);
    for (std::thread& helper : helpers) {
        helper.join();
    }
    return failed;
}

int run(Program& program) {
    load_kernels(program);
    std::vector<std::unique_ptr<Core>> cores;
    for (std::uint32_t i = 0; i < program.cores.size(); ++i) {
        cores.push_back(std::make_unique<Core>(program, i));
    }
    g_cores = &cores;
    const bool together = !program.semaphores.empty();
    const std::uint32_t threads =
        together ? 1 : std::max(1u, std::min<std::uint32_t>(program.threads, static_cast<std::uint32_t>(cores.size())));
    std::vector<Worker> workers(together ? cores.size() : threads);
    give_l1(program, cores, workers);

    install_crash_handler();
    std::uint32_t failed = no_index;
    std::vector<std::atomic<Core*>> running(threads);
    {
        const Watchdog watchdog(program.timeout_ms, running.data(), threads);
        if (together) {
            use_signal_stack();
            const Core* core = run_together(cores, workers, running[0]);
            failed = core ? core->index : no_index;
        } else {
            failed = run_apart(cores, workers, running);
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
