// Direct access to the core's own L1, element by element, checked.
#pragma once
#include "emulator/base.h"

template <typename T, typename AddressType = std::uint32_t>
class CoreLocalMem {
public:
    CoreLocalMem(AddressType address) : address_(static_cast<std::uint32_t>(address)) {}
    AddressType get_address() const { return address_; }
    // An operator cannot take the site; errors name the call before it.
    T& operator[](std::uint32_t index) const {
        const auto address = address_ + index * static_cast<std::uint32_t>(sizeof(T));
        return *static_cast<T*>(emu_l1(address, sizeof(T), !IsConst<T>::value, {nullptr, 0}));
    }
    T& operator*() const { return (*this)[0]; }
    CoreLocalMem& operator+=(std::ptrdiff_t offset) {
        address_ += static_cast<std::uint32_t>(offset * static_cast<std::ptrdiff_t>(sizeof(T)));
        return *this;
    }
    CoreLocalMem operator+(std::ptrdiff_t offset) const {
        CoreLocalMem moved = *this;
        return moved += offset;
    }

private:
    template <typename U>
    struct IsConst {
        static constexpr bool value = false;
    };
    template <typename U>
    struct IsConst<const U> {
        static constexpr bool value = true;
    };
    std::uint32_t address_;
};
