// One core's L1. It is mapped below 4 GB, so that the 32-bit address that a kernel sees is a host pointer as well: a
// kernel that writes L1 through a pointer, as kernels on the chip may, works here. An L1 offset is that address less
// the base.
#pragma once
#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

constexpr std::uint32_t granule_bytes = 16;

enum Granule : std::uint8_t {
    never_written = 0,
    written = 1,
    read_in_flight = 2,   // a NoC read will write here
    write_in_flight = 4,  // a NoC write will still read here
};

class L1 {
public:
    explicit L1(std::uint32_t bytes) : bytes_(bytes), granules_(new std::uint8_t[bytes / granule_bytes + 1]) {
        static std::uintptr_t next = 0x20000000;
        const std::uintptr_t span =
            (std::uintptr_t{bytes} + 0x1fffff) & ~std::uintptr_t{0xfffff};  // 1 MB unmapped between two
        for (; next + span < 0xffff0000u; next += span) {
            void* const wanted = reinterpret_cast<void*>(next);
            void* const got = ::mmap(
                wanted,
                bytes,
                PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE,
                -1,
                0
            );
            if (got == wanted) {
                data_ = static_cast<std::uint8_t*>(got);
                next += span;
                break;
            }
            if (got != MAP_FAILED) {
                ::munmap(got, bytes);
            }
        }
        clear();
    }
    ~L1() { ::munmap(data_, bytes_); }
    L1(const L1&) = delete;
    L1& operator=(const L1&) = delete;

    bool mapped() const { return data_ != nullptr; }
    // Forgets everything that was written.
    void clear() { std::memset(granules_.get(), never_written, bytes_ / granule_bytes + 1); }
    std::uint32_t bytes() const { return bytes_; }
    std::uint32_t base() const { return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(data_)); }
    std::uint8_t* at(std::uint32_t offset) { return data_ + offset; }

    void mark(std::uint32_t offset, std::uint32_t size, std::uint8_t state) {
        const std::uint32_t first = offset / granule_bytes, last = (offset + size - 1) / granule_bytes;
        std::memset(granules_.get() + first, state, last - first + 1);
    }
    void add(std::uint32_t offset, std::uint32_t size, std::uint8_t flag) {
        each(offset, size, [flag](std::uint8_t& state) { state |= flag; });
    }
    void keep(std::uint32_t offset, std::uint32_t size, std::uint8_t flags) {
        each(offset, size, [flags](std::uint8_t& state) { state &= flags; });
    }
    void remove(std::uint32_t offset, std::uint32_t size, std::uint8_t flag) {
        each(offset, size, [flag](std::uint8_t& state) { state &= static_cast<std::uint8_t>(~flag); });
    }
    // All flags that any granule of the range has, and the flags that all have.
    struct Summary {
        std::uint8_t any, all;
    };
    Summary summary(std::uint32_t offset, std::uint32_t size) const {
        const std::uint32_t first = offset / granule_bytes, last = (offset + size - 1) / granule_bytes;
        std::uint8_t any = 0, all = 0xff;
        for (std::uint32_t i = first; i <= last; ++i) {
            any |= granules_[i];
            all &= granules_[i];
        }
        return {any, all};
    }

private:
    template <typename F>
    void each(std::uint32_t offset, std::uint32_t size, F change) {
        const std::uint32_t first = offset / granule_bytes, last = (offset + size - 1) / granule_bytes;
        for (std::uint32_t i = first; i <= last; ++i) {
            change(granules_[i]);
        }
    }
    std::uint32_t bytes_;
    std::uint8_t* data_ = nullptr;
    std::unique_ptr<std::uint8_t[]> granules_;
};
