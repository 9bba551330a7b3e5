// See malloc_cache.h.
#include "scheduler/host/malloc_cache.h"

#include <stdlib.h>
#include <string.h>

#include "scheduler/host/identity.h"
#include "scheduler/host/libc.h"

namespace pfiber::host {

namespace {

// glibc 2.30 to 2.41, checked by the probe.
constexpr size_t kBins = 64;
struct Cache {
    uint16_t counts[kBins];
    uintptr_t* entries[kBins];  // the first word of an entry is the next one's address, disguised
};

ptrdiff_t cache_pointer = 0;  // from the thread pointer on; 0: not found

uintptr_t* next_entry(uintptr_t* entry) {
    return reinterpret_cast<uintptr_t*>(*entry ^ (reinterpret_cast<uintptr_t>(entry) >> 12));
}

bool is_cache(uintptr_t word, void* first, void* second, void* large) {
    constexpr size_t kLargeBin = 61;
    if (word < 4096 || word % 16 != 0) return false;
    const auto* cache = reinterpret_cast<const Cache*>(word);
    return cache->counts[0] == 2 && cache->entries[0] == second &&
           next_entry(cache->entries[0]) == first && cache->counts[kLargeBin] == 1 &&
           cache->entries[kLargeBin] == large;
}

}  // namespace

bool malloc_is_libcs() {
    void* (*volatile allocate)(size_t) = malloc;
    return libc_function("malloc").address == reinterpret_cast<void*>(allocate);
}

void malloc_cache_probe(ptrdiff_t low, size_t words) {
    constexpr size_t kMostWords = 64;
    if (words == 0 || words > kMostWords) return;
    void* (*volatile allocate)(size_t) = malloc;  // not to be optimised away
    void (*volatile give_back)(void*) = free;
    const auto* block =
        reinterpret_cast<const uintptr_t*>(thread_pointer() + static_cast<size_t>(low));
    uintptr_t before[kMostWords];
    memcpy(before, block, words * sizeof *block);
    void* const first = allocate(24);
    void* const second = allocate(24);
    void* const large = allocate(1000);
    give_back(first);
    give_back(second);
    give_back(large);
    if (first == nullptr || second == nullptr || large == nullptr) return;
    // The other word that malloc sets points to the arena, which is larger.
    for (size_t i = 0; i < words; i++)
        if (before[i] == 0 && block[i] != 0 && is_cache(block[i], first, second, large))
            cache_pointer = low + static_cast<ptrdiff_t>(i * sizeof *block);
}

void malloc_cache_empty(uintptr_t tp) {
    if (cache_pointer == 0) return;
    auto* cache = *reinterpret_cast<Cache**>(tp + static_cast<size_t>(cache_pointer));
    if (cache == nullptr) return;
    for (size_t bin = 0; bin < kBins; bin++) {
        uintptr_t* entry = cache->entries[bin];
        cache->entries[bin] = nullptr;
        for (uint16_t left = cache->counts[bin]; left > 0 && entry != nullptr; left--) {
            uintptr_t* const next = next_entry(entry);
            entry[1] = 0;  // the mark of what lies in a cache
            free(entry);
            entry = next;
        }
        cache->counts[bin] = 0;
    }
}

}  // namespace pfiber::host
