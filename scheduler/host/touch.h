// Whether memory that the program handed over may be touched, asked without a system call.
//
// Bodies that read a structure of the program before the kernel does must answer EFAULT for a bad
// address, as the kernel would.  Two instructions touch the memory; a fault in one of them is
// recognised by its address in the handler of SIGSEGV and SIGBUS, which the runtime therefore keeps
// installed (shim/signal.cc), and turned into "no".  Before its start the kernel is asked.  What
// the program unmaps afterwards is its own fault, as with any function of libc that reads its
// arguments.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pfiber::host {

extern "C" int pfiber_touch_read(const void* address);  // 0, or 1 when that faulted
extern "C" int pfiber_touch_write(void* address);

// The handlers are installed; set once, by a process that has one thread.
inline bool touch_recovers = false;
bool kernel_can_read(const void* address);
bool kernel_can_write(void* address);

inline bool touch_read(const void* address) {
    return __builtin_expect(touch_recovers, 1) ? pfiber_touch_read(address) == 0
                                               : kernel_can_read(address);
}
inline bool touch_write(void* address) {
    return __builtin_expect(touch_recovers, 1) ? pfiber_touch_write(address) == 0
                                               : kernel_can_write(address);
}

// In a handler: when one of the two faulted, makes it return 1.  Any context.
bool recover_touch(void* context);

constexpr uintptr_t kTouchPage = 4096;

// Every byte of [address, address + size).
inline bool can_read(const void* address, size_t size) {
    if (size == 0) return true;
    const auto first = reinterpret_cast<uintptr_t>(address), last = first + size - 1;
    if (last < first) return false;
    for (uintptr_t at = first; at <= last && at >= first; at = (at | (kTouchPage - 1)) + 1)
        if (!touch_read(reinterpret_cast<const void*>(at))) return false;
    return true;
}
inline bool can_write(void* address, size_t size) {
    if (size == 0) return true;
    const auto first = reinterpret_cast<uintptr_t>(address), last = first + size - 1;
    if (last < first) return false;
    for (uintptr_t at = first; at <= last && at >= first; at = (at | (kTouchPage - 1)) + 1)
        if (!touch_write(reinterpret_cast<void*>(at))) return false;
    return true;
}
template <class T>
bool can_read(const T* object) {
    return can_read(object, sizeof(T));
}
// Null stands for an argument that was left out.
template <class T>
bool can_read_if_given(const T* object) {
    return object == nullptr || can_read(object, sizeof(T));
}

}  // namespace pfiber::host
