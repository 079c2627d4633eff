// What both data-movement and compute kernels see: arguments and the fixed-width types.
#pragma once
#include <cstddef>
#include <cstdint>

#include "abi.h"

#define ALWI inline __attribute__((always_inline))
#define FORCE_INLINE inline __attribute__((always_inline))
#define tt_l1_ptr

#ifndef KERNEL_COMPILE_TIME_ARGS
#define KERNEL_COMPILE_TIME_ARGS
#endif
#ifndef KERNEL_COMPILE_TIME_ARG_MAP
#define KERNEL_COMPILE_TIME_ARG_MAP
#endif

namespace emu {
struct NamedArg {
    const char* name;
    std::uint32_t value;
};
// Each table ends with an entry of its own, so that neither is ever an empty array.
constexpr std::uint32_t compile_time_args[] = {KERNEL_COMPILE_TIME_ARGS 0};
constexpr std::uint32_t compile_time_arg_count = sizeof(compile_time_args) / sizeof(compile_time_args[0]) - 1;
constexpr NamedArg named_args[] = {KERNEL_COMPILE_TIME_ARG_MAP{nullptr, 0}};

constexpr bool same_text(const char* a, const char* b) {
    for (; *a && *a == *b; ++a, ++b) {
    }
    return *a == *b;
}

void this_named_compile_time_argument_does_not_exist();

constexpr std::uint32_t named_arg(const char* name) {
    for (const NamedArg* arg = named_args; arg->name; ++arg) {
        if (same_text(arg->name, name)) {
            return arg->value;
        }
    }
    this_named_compile_time_argument_does_not_exist();
    return 0;
}

template <std::uint32_t Index>
constexpr std::uint32_t compile_time_arg() {
    static_assert(Index < compile_time_arg_count, "this compile-time argument does not exist");
    return compile_time_args[Index];
}

// A page or tile address parameter as the hardware API passes it: the 4 bytes of any type.
template <typename T>
T from_word(std::uint32_t word) {
    static_assert(sizeof(T) == 4, "arguments are 4-byte values");
    T value;
    __builtin_memcpy(&value, &word, 4);
    return value;
}
}  // namespace emu

#define get_compile_time_arg_val(index) (emu::compile_time_arg<(index)>())
constexpr std::uint32_t get_named_compile_time_arg_val(const char* name) { return emu::named_arg(name); }

template <typename T>
ALWI T get_arg_val(int index, EMU_SITE) {
    return emu::from_word<T>(emu_arg(static_cast<std::uint32_t>(index), site));
}
template <typename T>
ALWI T get_common_arg_val(int index, EMU_SITE) {
    return emu::from_word<T>(emu_common_arg(static_cast<std::uint32_t>(index), site));
}

ALWI std::int32_t get_tile_size(std::int32_t cb, EMU_SITE) {
    return static_cast<std::int32_t>(emu_cb_page_size(static_cast<std::uint32_t>(cb), site));
}
ALWI DataFormat get_dataformat(std::int32_t cb, EMU_SITE) {
    return emu_cb_format(static_cast<std::uint32_t>(cb), site);
}

// The four calls of the circular buffer protocol, the same in every kernel.
ALWI void cb_reserve_back(std::uint32_t cb, std::uint32_t pages, EMU_SITE) { emu_cb_reserve_back(cb, pages, site); }
ALWI void cb_push_back(std::uint32_t cb, std::uint32_t pages, EMU_SITE) { emu_cb_push_back(cb, pages, site); }
ALWI void cb_wait_front(std::uint32_t cb, std::uint32_t pages, EMU_SITE) { emu_cb_wait_front(cb, pages, site); }
ALWI void cb_pop_front(std::uint32_t cb, std::uint32_t pages, EMU_SITE) { emu_cb_pop_front(cb, pages, site); }

void kernel_main();
