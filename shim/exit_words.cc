// See exit_words.h.
#include "shim/exit_words.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/uio.h>

#include "scheduler/host/call_filter.h"
#include "scheduler/host/identity.h"
#include "scheduler/host/syscall.h"
#include "scheduler/wait_queue.h"

namespace pfiber::shim {

namespace {

// Part of the fiber's identity block, like libc's own.
__thread const robust_list_head* t_list __attribute__((tls_model("initial-exec")));
__thread int* t_clear_word __attribute__((tls_model("initial-exec")));
__thread bool t_has_clear_word __attribute__((tls_model("initial-exec")));

constexpr int kMostEntries = 2048;  // ROBUST_LIST_LIMIT: a list may be a ring by mistake

void wake_word(uint32_t* word, int count) {
    wake_address(word, count);
    host::raw_futex_wake(word, count, false);
}

// A list that is broken or gone ends the walk, as in the kernel.
template <class T>
bool copy_in(T* to, const void* from) {
    const iovec here{to, sizeof(T)}, there{const_cast<void*>(from), sizeof(T)};
    return host::optional_syscall(host::kProcessVmReadv, SYS_process_vm_readv, host::raw_getpid(),
                                  &here, 1L, &there, 1L, 0L) == static_cast<long>(sizeof(T));
}

const robust_list* untagged(const robust_list* entry) {
    return reinterpret_cast<const robust_list*>(reinterpret_cast<uintptr_t>(entry) & ~uintptr_t{1});
}

void mark_dead(const Fiber* fiber, const robust_list* entry, long offset) {
    auto* word = reinterpret_cast<uint32_t*>(reinterpret_cast<uintptr_t>(untagged(entry)) +
                                             static_cast<uintptr_t>(offset));
    uint32_t seen = 0;
    if (reinterpret_cast<uintptr_t>(word) % sizeof *word != 0 || !copy_in(&seen, word)) return;
    do {
        if ((seen & FUTEX_TID_MASK) != fiber->tid) return;
    } while (!__atomic_compare_exchange_n(word, &seen, (seen & FUTEX_WAITERS) | FUTEX_OWNER_DIED,
                                          true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    if ((seen & FUTEX_WAITERS) != 0) wake_word(word, 1);
}

void walk(const Fiber* fiber, const robust_list_head* list) {
    robust_list_head head{};
    if (!copy_in(&head, list)) return;
    robust_list entry = head.list;
    for (int i = 0; i < kMostEntries && untagged(entry.next) != &list->list; i++) {
        const robust_list* at = entry.next;
        // Read before the mark: the next owner relinks it.
        if (!copy_in(&entry, untagged(at))) break;
        if (at != head.list_op_pending) mark_dead(fiber, at, head.futex_offset);
    }
    if (head.list_op_pending != nullptr) mark_dead(fiber, head.list_op_pending, head.futex_offset);
}

}  // namespace

long exit_robust_list_set(const void* head, size_t length) {
    if (length != sizeof(robust_list_head)) return -EINVAL;
    t_list = static_cast<const robust_list_head*>(head);
    return 0;
}

long exit_robust_list_get(const Fiber* fiber, void** head, size_t* length) {
    const auto* own = *host::tls_at(fiber->tp, &t_list);
    *head = own != nullptr ? const_cast<robust_list_head*>(own)
                           : reinterpret_cast<void*>(fiber->tp + host::identity_layout.robust_head);
    *length = sizeof(robust_list_head);
    return 0;
}

long exit_tid_address_set(Fiber* fiber, int* word) {
    // Joiners of a fiber do not look at libc's word, which names the fiber until its block is
    // reused.
    t_has_clear_word = word != static_cast<int*>(host::tid_field(fiber->tp));
    t_clear_word = word;
    return static_cast<long>(fiber->tid);
}

int* exit_tid_address_get(const Fiber* fiber) {
    return t_has_clear_word ? t_clear_word : static_cast<int*>(host::tid_field(fiber->tp));
}

void exit_words_serve(const Fiber* fiber) {
    if (const robust_list_head* list = t_list) {
        t_list = nullptr;
        walk(fiber, list);
    }
    int* const word = t_has_clear_word ? t_clear_word : nullptr;
    t_has_clear_word = false;
    if (word != nullptr) {
        __atomic_store_n(word, 0, __ATOMIC_SEQ_CST);
        wake_word(reinterpret_cast<uint32_t*>(word), 1);
    }
}

}  // namespace pfiber::shim
