// See libc.h.
#include "scheduler/host/libc.h"

#include <dlfcn.h>
#include <string.h>
#include <sys/auxv.h>

#include "scheduler/host/clock.h"

namespace pfiber::host {

RealLibc real;
ClockGettime real_clock_gettime;

namespace {

struct Range {
    unsigned long low, high;
    bool contains(unsigned long address) const { return address >= low && address < high; }
};

Range libc_text, loader_text, loader_data;

template <class F>
void look_up(F& function, const char* name) {
    function = reinterpret_cast<F>(libc_symbol(name));
}

int collect_ranges(dl_phdr_info* info, size_t, void* data) {
    const auto libc_address = *static_cast<unsigned long*>(data);
    const char* slash = strrchr(info->dlpi_name, '/');
    const bool is_loader = slash != nullptr && strncmp(slash + 1, "ld-linux", 8) == 0;
    Range text{~0UL, 0}, data_range{~0UL, 0};
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr)& header = info->dlpi_phdr[i];
        if (header.p_type != PT_LOAD) continue;
        const unsigned long low = info->dlpi_addr + header.p_vaddr;
        Range& range = (header.p_flags & PF_X) != 0   ? text
                       : (header.p_flags & PF_W) != 0 ? data_range
                                                      : text;
        if ((header.p_flags & (PF_X | PF_W)) == 0) continue;
        if (low < range.low) range.low = low;
        if (low + header.p_memsz > range.high) range.high = low + header.p_memsz;
    }
    if (is_loader) {
        loader_text = text;
        loader_data = data_range;
    } else if (text.contains(libc_address)) {
        libc_text = text;
    }
    return 0;
}

}  // namespace

void* libc_symbol(const char* name) { return dlsym(RTLD_NEXT, name); }

void resolve_libc() {
    if (real.pthread_create != nullptr) return;
    look_up(real_clock_gettime, "clock_gettime");
    look_up(real.pthread_join, "pthread_join");
    look_up(real.pthread_getattr_np, "pthread_getattr_np");
    look_up(real.pthread_exit, "pthread_exit");
    look_up(real.dl_iterate_phdr, "dl_iterate_phdr");
    look_up(real.pthread_create, "pthread_create");
    auto libc_address = reinterpret_cast<unsigned long>(real_clock_gettime);
    real.dl_iterate_phdr(collect_ranges, &libc_address);
}

namespace {

struct StackWish {
    bool is_first, is_executable;
};

// Who does not say wants what the ABI's beginnings had; the kernel's own object says nothing.
int look_at_stack_wish(dl_phdr_info* info, size_t, void* argument) {
    auto* wish = static_cast<StackWish*>(argument);
    bool says = !wish->is_first && info->dlpi_addr == getauxval(AT_SYSINFO_EHDR);
    wish->is_first = false;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type != PT_GNU_STACK) continue;
        says = true;
        if ((info->dlpi_phdr[i].p_flags & PF_X) != 0) wish->is_executable = true;
    }
    if (!says) wish->is_executable = true;
    return 0;
}

}  // namespace

bool wants_executable_stacks() {
    StackWish wish{true, false};
    real.dl_iterate_phdr(look_at_stack_wish, &wish);
    return wish.is_executable;
}

bool is_in_libc_or_loader(unsigned long pc) {
    return libc_text.contains(pc) || loader_text.contains(pc);
}

bool is_in_loader_data(const void* address) {
    return loader_data.contains(reinterpret_cast<unsigned long>(address));
}

}  // namespace pfiber::host
