// See libc.h.
#include "scheduler/host/libc.h"

#include <dlfcn.h>
#include <gnu/libc-version.h>
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

// Not what another preloaded object has of that name: it may want a thread that libc knows, and
// workers are none.
template <class F>
void look_up(F& function, const char* name) {
    function = reinterpret_cast<F>(libc_function(name).address);
    if (function == nullptr) function = reinterpret_cast<F>(libc_symbol(name));
}

// libc's own table of symbols (the ELF specification and its GNU hash table).
struct SymbolTable {
    uintptr_t base;
    const ElfW(Sym) * symbols;
    const char* strings;
    const ElfW(Versym) * versions;
    const uint32_t* hash;
};

bool find_table(SymbolTable* table) {
    Dl_info info;
    link_map* libc = nullptr;
    if (dladdr1(reinterpret_cast<void*>(gnu_get_libc_version), &info,
                reinterpret_cast<void**>(&libc), RTLD_DL_LINKMAP) == 0)
        return false;
    *table = {libc->l_addr, nullptr, nullptr, nullptr, nullptr};
    for (const ElfW(Dyn)* entry = libc->l_ld; entry->d_tag != DT_NULL; entry++) {
        const uintptr_t at = entry->d_un.d_ptr;  // the loader has added the base
        if (entry->d_tag == DT_SYMTAB) table->symbols = reinterpret_cast<const ElfW(Sym)*>(at);
        if (entry->d_tag == DT_STRTAB) table->strings = reinterpret_cast<const char*>(at);
        if (entry->d_tag == DT_VERSYM) table->versions = reinterpret_cast<const ElfW(Versym)*>(at);
        if (entry->d_tag == DT_GNU_HASH) table->hash = reinterpret_cast<const uint32_t*>(at);
    }
    return table->symbols != nullptr && table->strings != nullptr && table->hash != nullptr;
}

// The default version of a name, as dlsym() finds it.
const ElfW(Sym) * find_symbol(const SymbolTable& table, const char* name) {
    constexpr ElfW(Versym) kHidden = 0x8000;
    uint32_t wanted = 5381;
    for (const char* at = name; *at != '\0'; at++)
        wanted = wanted * 33 + static_cast<unsigned char>(*at);
    const uint32_t bucket_count = table.hash[0], first = table.hash[1], bloom_words = table.hash[2];
    const uint32_t* buckets = table.hash + 4 + bloom_words * (sizeof(ElfW(Addr)) / 4);
    const uint32_t* chains = buckets + bucket_count;
    uint32_t index = buckets[wanted % bucket_count];
    if (index < first) return nullptr;
    for (;; index++) {
        const uint32_t hash = chains[index - first];
        const ElfW(Sym)& symbol = table.symbols[index];
        if ((hash | 1) == (wanted | 1) && strcmp(table.strings + symbol.st_name, name) == 0 &&
            symbol.st_shndx != SHN_UNDEF &&
            (table.versions == nullptr || (table.versions[index] & kHidden) == 0))
            return &symbol;
        if ((hash & 1) != 0) return nullptr;
    }
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

LibcFunction libc_function(const char* name) {
    SymbolTable table;
    if (!find_table(&table)) return {};
    const ElfW(Sym)* symbol = find_symbol(table, name);
    if (symbol == nullptr || ELF64_ST_TYPE(symbol->st_info) != STT_FUNC) return {};
    return {reinterpret_cast<void*>(table.base + symbol->st_value), symbol->st_size};
}

namespace {

// The linker of Go leaves a note of its own (type 4, name "Go").
int look_for_go(dl_phdr_info* info, size_t, void* found) {
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr)& segment = info->dlpi_phdr[i];
        if (segment.p_type != PT_NOTE || segment.p_memsz < sizeof(ElfW(Nhdr)) + 4) continue;
        const auto* at = reinterpret_cast<const char*>(info->dlpi_addr + segment.p_vaddr);
        const char* end = at + segment.p_memsz;
        while (end - at >= static_cast<ptrdiff_t>(sizeof(ElfW(Nhdr)) + 4)) {
            ElfW(Nhdr) note;
            memcpy(&note, at, sizeof note);
            if (note.n_type == 4 && note.n_namesz == 4 && memcmp(at + sizeof note, "Go", 3) == 0)
                return *static_cast<bool*>(found) = true;
            const size_t align = segment.p_align == 8 ? 7 : 3;
            const size_t size = ((sizeof note + note.n_namesz + align) & ~align) +
                                ((note.n_descsz + align) & ~align);
            if (size > static_cast<size_t>(end - at)) break;
            at += size;
        }
    }
    return 0;
}

}  // namespace

const char* runtime_without_fibers() {
    static constexpr struct {
        const char* symbol;
        const char* name;
    } kSanitizers[] = {{"__asan_init", "AddressSanitizer"},
                       {"__tsan_init", "ThreadSanitizer"},
                       {"__msan_init", "MemorySanitizer"},
                       {"__hwasan_init", "HWAddressSanitizer"}};
    for (const auto& sanitizer : kSanitizers)
        if (dlsym(RTLD_DEFAULT, sanitizer.symbol) != nullptr) return sanitizer.name;
    bool has_go = false;
    auto iterate = reinterpret_cast<decltype(real.dl_iterate_phdr)>(libc_symbol("dl_iterate_phdr"));
    if (iterate != nullptr) iterate(look_for_go, &has_go);
    return has_go ? "a Go runtime" : nullptr;
}

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

bool is_in_libc_or_loader(unsigned long pc) {
    return libc_text.contains(pc) || loader_text.contains(pc);
}

bool is_in_loader_data(const void* address) {
    return loader_data.contains(reinterpret_cast<unsigned long>(address));
}

}  // namespace pfiber::host
