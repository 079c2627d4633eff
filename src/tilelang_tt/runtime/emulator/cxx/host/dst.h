// The destination register: two halves, which the math and pack threads of the chip hand to each other.
#pragma once
#include "core.h"
#include "formats.h"

struct DstTile {
    enum class Holds : std::uint8_t { nothing, floats, integers };
    alignas(64) FloatTile values;
    Holds holds = Holds::nothing;
    bool reduced = false;  // holds what a reduction left: a row, a column or one element
};

class Dst {
public:
    explicit Dst(bool fp32) : tiles_(fp32 ? 4 : 8), fp32_(fp32) {}

    void acquire() {
        if (acquired_) {
            KERNEL_ERROR(no_index, "tile_regs_acquire again without tile_regs_commit");
        }
        if (committed_ + packing_ == 2) {
            fail(
                "deadlock",
                no_index,
                "tile_regs_acquire waits forever: both halves of DST are committed and none was released"
            );
        }
        acquired_ = true;
        for (DstTile& tile : halves_[math_half_]) {
            tile.holds = DstTile::Holds::nothing;
            tile.reduced = false;
        }
    }
    void commit() {
        if (!acquired_) {
            KERNEL_ERROR(no_index, "tile_regs_commit without tile_regs_acquire");
        }
        acquired_ = false;
        math_half_ ^= 1;
        ++committed_;
    }
    void wait() {
        if (packing_) {
            KERNEL_ERROR(no_index, "tile_regs_wait again without tile_regs_release");
        }
        if (committed_ == 0) {
            KERNEL_ERROR(no_index, "tile_regs_wait without tile_regs_commit before it");
        }
        --committed_;
        packing_ = true;
    }
    void release() {
        if (!packing_) {
            KERNEL_ERROR(no_index, "tile_regs_release without tile_regs_wait");
        }
        packing_ = false;
        pack_half_ ^= 1;
    }
    // At the end of the kernel, DST must be free.
    const char* unfinished() const {
        return acquired_        ? "tile_regs_commit"
               : committed_ > 0 ? "tile_regs_wait"
               : packing_       ? "tile_regs_release"
                                : nullptr;
    }

    // A tile that a math operation may write.
    DstTile& math(std::uint32_t index, const char* call) {
        if (!acquired_) {
            KERNEL_ERROR(no_index, "%s outside of tile_regs_acquire and tile_regs_commit", call);
        }
        check_index(index, call);
        return halves_[math_half_][index];
    }
    // A tile that a math operation reads.
    DstTile& operand(std::uint32_t index, const char* call) {
        DstTile& tile = math(index, call);
        check_written(tile, index, call);
        return tile;
    }
    // A tile that the packer reads.
    const DstTile& packed(std::uint32_t index, const char* call) {
        if (!packing_) {
            KERNEL_ERROR(no_index, "%s outside of tile_regs_wait and tile_regs_release", call);
        }
        check_index(index, call);
        const DstTile& tile = halves_[pack_half_][index];
        check_written(tile, index, call);
        return tile;
    }
    std::uint32_t tiles() const { return tiles_; }

private:
    void check_index(std::uint32_t index, const char* call) const {
        if (index >= tiles_) {
            KERNEL_ERROR(
                no_index,
                "%s with DST index %u, but a half of %s DST has %u tiles",
                call,
                index,
                fp32_ ? "a float32" : "a 16-bit",
                tiles_
            );
        }
    }
    static void check_written(const DstTile& tile, std::uint32_t index, const char* call) {
        if (tile.holds == DstTile::Holds::nothing) {
            KERNEL_ERROR(
                no_index, "%s reads DST tile %u, which nothing has written since tile_regs_acquire", call, index
            );
        }
    }
    std::array<std::array<DstTile, 8>, 2> halves_;
    std::uint32_t tiles_;
    bool fp32_;
    bool acquired_ = false, packing_ = false;
    std::uint32_t committed_ = 0, math_half_ = 0, pack_half_ = 0;
};
