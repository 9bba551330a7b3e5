// See libc.h.
#include "scheduler/host/libc.h"

#include <dlfcn.h>
#include <string.h>

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

// Notes of one segment: name and description are padded to four bytes each.
bool has_go_note(const char* at, size_t bytes) {
    const char* const end = at + bytes;
    ElfW(Nhdr) note;
    while (static_cast<size_t>(end - at) >= sizeof note) {
        memcpy(&note, at, sizeof note);
        at += sizeof note;
        const size_t name_bytes = (note.n_namesz + size_t{3}) & ~size_t{3};
        const size_t rest_bytes = (note.n_descsz + size_t{3}) & ~size_t{3};
        const auto left = static_cast<size_t>(end - at);
        if (left < name_bytes || left - name_bytes < rest_bytes) return false;
        if (note.n_type == 4 && note.n_namesz == 4 && memcmp(at, "Go\0", 4) == 0) return true;
        at += name_bytes + rest_bytes;
    }
    return false;
}

int look_for_go(dl_phdr_info* info, size_t, void*) {
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr)& header = info->dlpi_phdr[i];
        if (header.p_type != PT_NOTE || header.p_align > 4) continue;
        const auto* notes = reinterpret_cast<const char*>(info->dlpi_addr + header.p_vaddr);
        if (has_go_note(notes, header.p_memsz)) return 1;
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

bool go_runtime_is_loaded() { return real.dl_iterate_phdr(look_for_go, nullptr) != 0; }

bool is_in_libc_or_loader(unsigned long pc) {
    return libc_text.contains(pc) || loader_text.contains(pc);
}

bool is_in_loader_data(const void* address) {
    return loader_data.contains(reinterpret_cast<unsigned long>(address));
}

}  // namespace pfiber::host
