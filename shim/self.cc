// See self.h.
#include "shim/self.h"

#include <dlfcn.h>

#include "scheduler/host/syscall.h"

namespace pfiber::shim {

size_t g_tid_offset = 0;

// libthread_db's descriptor of the field: size, count, byte offset.  The answer must be the
// kernel's.
uint32_t foreign_tid_slow() {
    const auto tid = static_cast<uint32_t>(host::raw_gettid());
    const auto* descriptor =
        static_cast<const uint32_t*>(dlsym(RTLD_DEFAULT, "_thread_db_pthread_tid"));
    if (descriptor != nullptr &&
        *reinterpret_cast<const uint32_t*>(host::thread_pointer() + descriptor[2]) == tid)
        g_tid_offset = descriptor[2];
    return tid;
}

}  // namespace pfiber::shim
