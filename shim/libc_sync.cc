// See libc_sync.h.
#include "shim/libc_sync.h"

#include <atomic>

namespace pfiber::shim {

namespace {

LibcSync table;
std::atomic<bool> is_complete{false};

}  // namespace

// Two threads may both fill it in: they store the same values.
const LibcSync& libc_sync() {
    if (__builtin_expect(!is_complete.load(std::memory_order_acquire), 0)) {
#define X(name) table.name = reinterpret_cast<decltype(table.name)>(host::libc_symbol(#name));
        PFIBER_LIBC_SYNC(X)
#undef X
        is_complete.store(true, std::memory_order_release);
    }
    return table;
}

}  // namespace pfiber::shim
