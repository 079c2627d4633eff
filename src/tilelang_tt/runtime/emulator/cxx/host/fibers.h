// Cooperative fibers: each kernel of a core runs on a stack of its own and gives way where it has to wait.
#pragma once
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

constexpr std::size_t stack_bytes = 256 * 1024;

// A stack with an inaccessible page below it, so that an overflow faults instead of overwriting something.
class Stack {
public:
    Stack() : guard_(static_cast<std::size_t>(::sysconf(_SC_PAGESIZE))) {
        void* memory =
            ::mmap(nullptr, guard_ + stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED || ::mprotect(memory, guard_, PROT_NONE) != 0) {
            std::abort();
        }
        memory_ = static_cast<std::uint8_t*>(memory);
    }
    ~Stack() { ::munmap(memory_, guard_ + stack_bytes); }
    Stack(const Stack&) = delete;
    Stack& operator=(const Stack&) = delete;
    void* base() const { return memory_ + guard_; }
    bool overflowed_at(const void* address) const {
        const auto* byte = static_cast<const std::uint8_t*>(address);
        return byte >= memory_ && byte < memory_ + guard_;
    }

private:
    std::uint8_t* memory_;
    std::size_t guard_;
};

// ucontext gives a fiber its stack; the switches themselves are jumps, because swapcontext calls the kernel every time.
class FiberSwitch {
public:
    // Runs `entry(argument)` on the stack until it suspends or ends. `entry` must not return: it calls suspend() last.
    void start(const Stack& stack, void (*entry)()) {
        if (_setjmp(outside_) == 0) {
            ::getcontext(&context_);
            context_.uc_stack.ss_sp = stack.base();
            context_.uc_stack.ss_size = stack_bytes;
            context_.uc_link = nullptr;
            ::makecontext(&context_, entry, 0);
            ::setcontext(&context_);
        }
    }
    void resume() {
        if (_setjmp(outside_) == 0) {
            _longjmp(inside_, 1);
        }
    }
    void suspend() {
        if (_setjmp(inside_) == 0) {
            _longjmp(outside_, 1);
        }
    }
    // Leaves the fiber for good; its stack is free for the next one.
    [[noreturn]] void leave() { _longjmp(outside_, 1); }

private:
    ucontext_t context_;
    jmp_buf outside_, inside_;
};
