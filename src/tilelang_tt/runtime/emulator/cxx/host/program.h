// What a job describes: the chip, the tensors, the circular buffers, the kernels and the cores.
#pragma once
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "../abi.h"

enum class Fidelity : std::uint8_t { LoFi, HiFi2, HiFi3, HiFi4 };
enum class Role : std::uint8_t { reader, compute, writer };
constexpr const char* role_name(Role role) {
    return role == Role::reader ? "reader" : role == Role::compute ? "compute" : "writer";
}

struct Place {  // on the physical NoC torus
    std::int32_t x = 0, y = 0;
};

constexpr std::uint32_t no_index = 0xffffffff;

// Which cores touched a page: the lowest core and, if there is a second one, the lowest of the others. Both are minima,
// so they do not depend on the order in which threads arrive. A word is core << 32 | kernel role << 24 | source line.
class PageUsers {
public:
    static constexpr std::uint64_t nobody = ~std::uint64_t{0};
    static std::uint64_t word(std::uint32_t core, Role role, std::uint32_t line) {
        return std::uint64_t{core} << 32 | std::uint64_t(role) << 24 | (line & 0xffffff);
    }
    static std::uint32_t core(std::uint64_t word) { return static_cast<std::uint32_t>(word >> 32); }
    static Role role(std::uint64_t word) { return static_cast<Role>(word >> 24 & 0xff); }
    static std::uint32_t line(std::uint64_t word) { return word & 0xffffff; }

    void resize(std::uint32_t pages) {
        first_ = std::vector<std::atomic<std::uint64_t>>(pages);
        other_ = std::vector<std::atomic<std::uint64_t>>(pages);
        for (std::uint32_t page = 0; page < pages; ++page) {
            first_[page].store(nobody, std::memory_order_relaxed);
            other_[page].store(nobody, std::memory_order_relaxed);
        }
    }
    void add(std::uint32_t page, std::uint64_t user) {
        std::uint64_t seen = first_[page].load(std::memory_order_relaxed);
        for (;;) {
            if (seen != nobody && core(seen) == core(user)) {
                return;
            }
            if (user > seen) {
                keep_lowest(other_[page], user);
                return;
            }
            if (first_[page].compare_exchange_weak(seen, user)) {
                if (seen != nobody) {
                    keep_lowest(other_[page], seen);
                }
                return;
            }
        }
    }
    // A user that shares the page with others.
    void join(std::uint32_t page, std::uint64_t user) { keep_lowest(first_[page], user); }
    std::uint64_t first(std::uint32_t page) const { return first_[page].load(std::memory_order_relaxed); }
    std::uint64_t other(std::uint32_t page) const { return other_[page].load(std::memory_order_relaxed); }

private:
    static void keep_lowest(std::atomic<std::uint64_t>& slot, std::uint64_t user) {
        std::uint64_t seen = slot.load(std::memory_order_relaxed);
        while (user < seen && !slot.compare_exchange_weak(seen, user)) {
        }
    }
    std::vector<std::atomic<std::uint64_t>> first_, other_;
};

// Which core wrote which bytes of a page, as ranges that never overlap.
class PartWriters {
public:
    // Whether nobody but this core wrote any of these bytes.
    bool add(std::uint32_t page, std::uint32_t offset, std::uint32_t size, std::uint32_t core) {
        const std::lock_guard<std::mutex> guard(lock_);
        auto& parts = parts_of_[page];
        Part added{offset + size, core};
        auto at = parts.upper_bound(offset);
        if (at != parts.begin() && std::prev(at)->second.end > offset) {
            --at;
        }
        while (at != parts.end() && at->first < added.end) {
            if (at->second.core != core) {
                return false;
            }
            offset = std::min(offset, at->first);
            added.end = std::max(added.end, at->second.end);
            at = parts.erase(at);
        }
        parts.emplace(offset, added);
        return true;
    }

private:
    struct Part {
        std::uint32_t end, core;
    };
    std::mutex lock_;
    std::unordered_map<std::uint32_t, std::map<std::uint32_t, Part>> parts_of_;  // by page, by first byte
};

struct Tensor {
    std::string name;
    DataFormat format;
    bool in_l1 = false, readable = false, writable = false;
    std::uint32_t page_bytes = 0, pages = 0, address = 0;
    std::uint8_t* data = nullptr;  // the job's file, pages in order

    // Where pages lie: DRAM banks or cores. Interleaved, page i is on unit i modulo their number. Sharded, the tensor is
    // an array of pages cut along its dimensions; shards and the pages in each are numbered row by row, shards go to
    // the units in turn, or as many consecutive ones to each, and lie there one behind the other.
    std::vector<std::uint32_t> units;
    struct Dimension {
        std::uint32_t pages, shard;  // of the tensor, and of one shard
        std::uint32_t parts() const { return (pages + shard - 1) / shard; }
    };
    std::vector<Dimension> dims;  // empty: interleaved
    bool contiguous = false;

    // Kept for tensors that the kernels write.
    PageUsers writers, readers;
    PartWriters part_writers;

    bool sharded() const { return !dims.empty(); }
    std::uint32_t shards() const {
        std::uint32_t count = 1;
        for (const Dimension& dim : dims) {
            count *= dim.parts();
        }
        return count;
    }
    std::uint32_t shard_pages() const {
        std::uint32_t count = 1;
        for (const Dimension& dim : dims) {
            count *= dim.shard;
        }
        return count;
    }
    std::uint32_t shards_per_unit() const {
        const auto count = static_cast<std::uint32_t>(units.size());
        return (shards() + count - 1) / count;
    }
    // Bytes of every unit that the tensor takes.
    std::uint32_t bytes_per_unit() const {
        const auto count = static_cast<std::uint32_t>(units.size());
        return page_bytes * (sharded() ? shards_per_unit() * shard_pages() : (pages + count - 1) / count);
    }
    bool lies_on(std::uint32_t unit) const {
        for (const std::uint32_t mine : units) {
            if (mine == unit) {
                return true;
            }
        }
        return false;
    }
};

struct PageLocation {
    std::uint32_t unit;    // core index or DRAM bank
    std::uint32_t offset;  // bytes from the tensor's address
};

struct CircularBufferSpec {
    std::uint32_t index;
    std::string name;
    DataFormat format;
    std::uint32_t page_bytes, pages, address;
    std::uint32_t tensor;  // no_index: a buffer of its own
    bool unpack_to_dest;
    bool kept;  // popped pages keep their content
};

struct KernelSpec {
    Role role;
    std::string source;
    std::string object;
    bool raw_l1;  // writes L1 through pointers, which the emulator does not see
    void (*entry)() = nullptr;
};

struct SemaphoreSpec {
    std::uint32_t id;
    std::string name;
    std::uint32_t initial, address;
};

struct CoreSpec {
    std::uint32_t x = 0, y = 0;
    Place place;
    bool runs = false;  // false: only holds shards
    std::vector<std::uint32_t> args;
};

struct Program {
    bool blackhole = false;
    bool has_places = false;
    std::uint32_t l1_bytes = 0, l1_used = 0, threads = 1, timeout_ms = 0;
    std::int32_t torus_x = 1, torus_y = 1;
    std::vector<Place> banks, workers;  // of the whole device
    bool fp32_dest = true;
    Fidelity fidelity = Fidelity::HiFi4;
    std::vector<std::unique_ptr<Tensor>> tensors;
    std::vector<CircularBufferSpec> cbs;
    std::vector<SemaphoreSpec> semaphores;
    std::vector<KernelSpec> kernels;
    std::vector<CoreSpec> cores;
    std::vector<std::uint32_t> common_args;
    std::string report;

    bool uses_fp16() const {
        for (const CircularBufferSpec& cb : cbs) {
            if (cb.format == DataFormat::Float16) {
                return true;
            }
        }
        return false;
    }

    bool any_l1_tensor() const {
        for (const auto& tensor : tensors) {
            if (tensor->in_l1) {
                return true;
            }
        }
        return false;
    }

    // Where page `page` of `tensor` lies. The page must exist.
    static PageLocation locate(const Tensor& tensor, std::uint32_t page) {
        if (!tensor.sharded()) {
            const auto count = static_cast<std::uint32_t>(tensor.units.size());
            return {tensor.units[page % count], page / count * tensor.page_bytes};
        }
        std::uint32_t shard = 0, local = 0, shards = 1, locals = 1;
        for (auto dim = tensor.dims.rbegin(); dim != tensor.dims.rend(); ++dim) {
            const std::uint32_t index = page % dim->pages;
            page /= dim->pages;
            shard += index / dim->shard * shards;
            local += index % dim->shard * locals;
            shards *= dim->parts();
            locals *= dim->shard;
        }
        const auto count = static_cast<std::uint32_t>(tensor.units.size());
        const std::uint32_t each = tensor.shards_per_unit();
        const std::uint32_t unit = tensor.contiguous ? shard / each : shard % count;
        const std::uint32_t place = tensor.contiguous ? shard % each : shard / count;
        return {tensor.units[unit], (place * locals + local) * tensor.page_bytes};
    }

    // The page that lies at `offset` bytes from the tensor's address on `unit`; no_index if none does.
    static std::uint32_t page_at(const Tensor& tensor, std::uint32_t unit, std::uint32_t offset) {
        const std::uint32_t local = offset / tensor.page_bytes;
        const auto count = static_cast<std::uint32_t>(tensor.units.size());
        for (std::uint32_t i = 0; i < count; ++i) {
            if (tensor.units[i] != unit || offset >= tensor.bytes_per_unit()) {
                continue;
            }
            const std::uint32_t page = tensor.sharded() ? page_of_shard(tensor, i, local) : local * count + i;
            return page < tensor.pages ? page : no_index;
        }
        return no_index;
    }

    // The page that is number `local` of those on the i-th unit of a sharded tensor; no_index for padding.
    static std::uint32_t page_of_shard(const Tensor& tensor, std::uint32_t i, std::uint32_t local) {
        const auto count = static_cast<std::uint32_t>(tensor.units.size());
        const std::uint32_t place = local / tensor.shard_pages();
        std::uint32_t shard = tensor.contiguous ? i * tensor.shards_per_unit() + place : place * count + i;
        if (shard >= tensor.shards()) {
            return no_index;
        }
        local %= tensor.shard_pages();
        std::uint32_t page = 0, stride = 1;
        for (auto dim = tensor.dims.rbegin(); dim != tensor.dims.rend(); ++dim) {
            const std::uint32_t index = shard % dim->parts() * dim->shard + local % dim->shard;
            if (index >= dim->pages) {
                return no_index;
            }
            shard /= dim->parts();
            local /= dim->shard;
            page += index * stride;
            stride *= dim->pages;
        }
        return page;
    }

    std::uint32_t dram_alignment() const { return blackhole ? 64 : 32; }
};
