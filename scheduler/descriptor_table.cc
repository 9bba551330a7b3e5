// Descriptor states by number: a two-level table whose pages appear on first use and stay (a late
// event may still look at a closed number and be turned away by the tag).
#include <sys/mman.h>

#include "scheduler/poller.h"

namespace pfiber {

namespace {

constexpr int kChunk = 1024;
constexpr int kChunks = 1 << 20;  // numbers up to 2^30, the kernel's fs.nr_open at most

using Slot = Platform::Atomic<Descriptor*>;
Platform::Atomic<Slot*> table{nullptr};
Platform::Atomic<int> highest_chunk{-1};

void* map(size_t size) {
    const long memory = host::raw_mmap(nullptr, size, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return host::is_error(memory) ? nullptr : reinterpret_cast<void*>(memory);
}

// Installs fresh memory unless another thread was first.
template <class T>
T* install(Platform::Atomic<T*>& place, size_t size) {
    auto* fresh = static_cast<T*>(map(size));
    if (fresh == nullptr) return nullptr;
    T* expected = nullptr;
    if (place.compare_exchange_strong(expected, fresh, std::memory_order_acq_rel)) return fresh;
    host::raw_munmap(fresh, size);
    return expected;
}

}  // namespace

// Zeroed memory is a valid Descriptor.
Descriptor* descriptor_if_known(int fd) {
    if (fd < 0 || fd / kChunk >= kChunks) return nullptr;
    Slot* chunks = table.load(std::memory_order_acquire);
    if (chunks == nullptr) return nullptr;
    Descriptor* chunk = chunks[fd / kChunk].load(std::memory_order_acquire);
    return chunk == nullptr ? nullptr : &chunk[fd % kChunk];
}

Descriptor* descriptor_of(int fd) {
    if (Descriptor* known = descriptor_if_known(fd)) return known;
    if (fd < 0 || fd / kChunk >= kChunks) return nullptr;
    Slot* chunks = table.load(std::memory_order_acquire);
    if (chunks == nullptr) chunks = install(table, kChunks * sizeof(Slot));
    if (chunks == nullptr) return nullptr;
    Descriptor* chunk = install(chunks[fd / kChunk], kChunk * sizeof(Descriptor));
    int highest = highest_chunk.load();
    while (highest < fd / kChunk && !highest_chunk.compare_exchange_weak(highest, fd / kChunk)) {
    }
    return chunk == nullptr ? nullptr : &chunk[fd % kChunk];
}

int descriptor_table_end() { return (highest_chunk.load() + 1) * kChunk; }

void descriptor_opened(int fd, DescriptorKind kind, bool made_here) {
    if (fd < 0) return;
    Descriptor* descriptor = descriptor_if_known(fd);
    if (descriptor == nullptr) return;
    if (descriptor->poller != 0 || descriptor->waiters != nullptr) descriptor_closing(fd);
    descriptor->kind.store(kind, std::memory_order_relaxed);
    descriptor->short_reads.store(ShortReads::kUnproved, std::memory_order_relaxed);
    descriptor->made_here = made_here;
    descriptor->thread_entry = 0;
    descriptor->is_unpollable = descriptor->is_shared = descriptor->has_timeouts = false;
    descriptor->no_nowait = descriptor->device = 0;
    descriptor->socket_type = descriptor->socket_family = 0;
    descriptor->is_listener = descriptor->is_blocking = false;
    descriptor->has_hung_up = false;
}

void descriptor_shared(int fd) {
    Descriptor* descriptor = descriptor_of(fd);
    if (descriptor == nullptr) return;
    descriptor->is_shared = true;
    descriptor->made_here = false;
}

namespace {

template <class Visit>
void for_each_descriptor(Visit&& visit) {
    Slot* chunks = table.load(std::memory_order_acquire);
    if (chunks == nullptr) return;
    for (int c = 0; c <= highest_chunk.load(); c++) {
        Descriptor* chunk = chunks[c].load(std::memory_order_relaxed);
        for (int i = 0; chunk != nullptr && i < kChunk; i++) visit(chunk[i], c * kChunk + i);
    }
}

}  // namespace

void descriptors_all_shared() {
    // Those that are so already are not written to: their pages are a child's as well.
    for_each_descriptor([](Descriptor& descriptor, int) {
        if (!descriptor.is_shared) descriptor.is_shared = true;
        if (descriptor.made_here) descriptor.made_here = false;
    });
}

void descriptors_after_fork() {
    // The pollers are new and every waiter is another process's.
    for_each_descriptor([](Descriptor& descriptor, int fd) {
        if (descriptor.tag.load() == 0 && descriptor.kind.load() == DescriptorKind::kUnknown &&
            descriptor.poller == 0 && descriptor.private_references.load() == 0)
            return;  // never used: its page stays untouched
        descriptor.lock.reset();
        descriptor.tag.fetch_add(1);
        descriptor.ready.store(0);
        descriptor.short_reads.store(ShortReads::kUnproved);
        descriptor.poller = 0;
        descriptor.waiters = nullptr;
        descriptor.is_shared = true;
        descriptor.made_here = descriptor.is_blocking = descriptor.is_unpollable = false;
        descriptor.temporary_nonblock = 0;
        descriptor.accept_turn.store(0);
        // The calls that went on with it exist in the parent only.
        if (descriptor.private_references.exchange(0) > 0) host::raw_close(fd);
        descriptor.private_closing.store(0);
    });
}

}  // namespace pfiber
