// Tensor accessors. One compile-time argument per tensor: its number; where its pages lie is the emulator core's
// business.
#pragma once
#include "emulator/base.h"

template <std::uint32_t Offset, std::uint32_t CommonOffset = 0>
struct TensorAccessorArgs {
    static constexpr std::uint32_t tensor = emu::compile_time_arg<Offset>();
    static constexpr std::uint32_t next_compile_time_args_offset() { return Offset + 1; }
    static constexpr std::uint32_t next_common_runtime_args_offset() { return CommonOffset; }
};

class TensorAccessor {
public:
    template <std::uint32_t Offset, std::uint32_t CommonOffset>
    ALWI TensorAccessor(
        TensorAccessorArgs<Offset, CommonOffset>, std::uint32_t address, std::uint32_t page_bytes = 0, EMU_SITE
    )
        : tensor_(TensorAccessorArgs<Offset, CommonOffset>::tensor) {
        emu_tensor_open(tensor_, address, page_bytes, site);
    }
    ALWI std::uint64_t get_noc_addr(std::uint32_t page, std::uint32_t offset = 0, std::uint8_t = 0, EMU_SITE) const {
        return emu_tensor_noc_addr(tensor_, page, offset, site);
    }
    ALWI std::uint32_t get_aligned_page_size(EMU_SITE) const { return emu_tensor_page_size(tensor_, site); }
    std::uint32_t tensor() const { return tensor_; }

private:
    std::uint32_t tensor_;
};
