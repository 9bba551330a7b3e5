// Private robust mutexes, in user space.
//
// Word: owner tid with kWaiters and kOwnerDied, the kernel's robust futex protocol; held ones are
// linked into the list in the thread's libc block.  A kernel thread that ends has that list walked
// by the kernel, a fiber by robust_mutexes_release(): either way the next owner learns of the
// death. Invariant: a mutex is on exactly the list of the thread whose tid is in its word.
#include <errno.h>
#include <linux/futex.h>

#include "scheduler/host/identity.h"
#include "scheduler/runtime.h"
#include "shim/mutex_kinds.h"
#include "shim/owner_word.h"

namespace pfiber::shim {

namespace {

// The list holds addresses of `next` members: 8 bytes into a link.
RobustLink* link_of(uintptr_t next_address) {
    return reinterpret_cast<RobustLink*>((next_address & ~uintptr_t{1}) -
                                         offsetof(RobustLink, next));
}

robust_list_head* own_list() {
    static __thread robust_list_head* t_head __attribute__((tls_model("initial-exec")));
    if (t_head == nullptr) {
        if (current_fiber() != nullptr) {
            t_head = reinterpret_cast<robust_list_head*>(host::thread_pointer() +
                                                         host::identity_layout.robust_head);
        } else {
            size_t length = 0;
            host::raw_syscall(SYS_get_robust_list, 0L, &t_head, &length);
        }
    }
    return t_head;
}

// glibc's order: the neighbours first, the head last.
void enlist(Mutex* mutex) {
    robust_list_head* head = own_list();
    if (head == nullptr) return;
    const auto first = reinterpret_cast<uintptr_t>(head->list.next);
    link_of(first)->prev = reinterpret_cast<RobustLink*>(&mutex->link.next);
    mutex->link.next = head->list.next;
    mutex->link.prev = reinterpret_cast<RobustLink*>(head);
    head->list.next = reinterpret_cast<robust_list*>(&mutex->link.next);
}

void delist(Mutex* mutex) {
    if (mutex->link.next == nullptr) return;
    const auto next = reinterpret_cast<uintptr_t>(mutex->link.next);
    const auto prev = reinterpret_cast<uintptr_t>(mutex->link.prev);
    link_of(next)->prev = mutex->link.prev;
    link_of(prev)->next = mutex->link.next;
    mutex->link.prev = nullptr;
    mutex->link.next = nullptr;
}

struct Awaited {
    uint32_t value;
};

bool is_unchanged(const void* address, void* argument) {
    return static_cast<const Word*>(address)->load(std::memory_order_relaxed) ==
           static_cast<Awaited*>(argument)->value;
}

// The caller's tid is in the word and the old owner is not dead.
int finish_lock(Mutex* mutex, uint32_t self, bool keep_users) {
    if (mutex->owner.load(std::memory_order_relaxed) == Mutex::kNotRecoverable) {
        mutex->count = 0;
        owner_word_release(&mutex->word);
        return ENOTRECOVERABLE;
    }
    mutex->count = 1;
    enlist(mutex);
    mutex->owner.store(self, std::memory_order_relaxed);
    if (!keep_users) mutex->users++;
    return 0;
}

// The users count stays: the dead owner is discounted.
int finish_inherit(Mutex* mutex) {
    mutex->count = 1;
    mutex->owner.store(Mutex::kInconsistent, std::memory_order_relaxed);
    enlist(mutex);
    return EOWNERDEAD;
}

bool take_from_dead(Word& word, uint32_t& seen, uint32_t self, uint32_t waiters) {
    return word.compare_exchange_strong(seen, self | waiters | (seen & Mutex::kWaiters),
                                        std::memory_order_acquire);
}

// The caller owns it already: the answer of lock and trylock, or -1 to go on.
int own_again(Mutex* mutex, int kind) {
    const int type = kind & Mutex::kTypeMask;
    if (type == Mutex::kErrorcheck) return EDEADLK;
    if (type != Mutex::kRecursive) return -1;
    if (mutex->count + 1 == 0) return EAGAIN;
    mutex->count++;
    return 0;
}

}  // namespace

int robust_lock(Mutex* mutex, int kind, TimeLimit limit, bool keep_users) {
    Word& word = mutex->word;
    const uint32_t self = self_tid();
    uint32_t waiters = 0;  // set once the caller has slept: it cannot know who else sleeps
    WaitRequest request;
    request.address = &word;
    request.validate = is_unchanged;
    request.reason = WaitReason::kMutex;
    request.identity = self;
    const Deadline deadline = limit.has_valid_time() ? limit.deadline() : Deadline();
    uint32_t seen = word.load(std::memory_order_relaxed);
    for (;;) {
        if (seen == 0) {
            if (word.compare_exchange_strong(seen, self | waiters, std::memory_order_acquire))
                return finish_lock(mutex, self, keep_users);
            continue;
        }
        if ((seen & Mutex::kOwnerDied) != 0) {
            if (take_from_dead(word, seen, self, waiters)) return finish_inherit(mutex);
            continue;
        }
        if ((seen & Mutex::kTid) == self) {
            const int answer = own_again(mutex, kind);
            if (answer >= 0) return answer;
        }
        if (!limit.has_valid_time()) return EINVAL;
        if ((kind & Mutex::kInherit) != 0 && limit.is_before_epoch()) return EINVAL;
        if ((seen & Mutex::kWaiters) == 0 &&
            !word.compare_exchange_strong(seen, seen | Mutex::kWaiters, std::memory_order_relaxed))
            continue;
        Awaited awaited{seen | Mutex::kWaiters};
        request.argument = &awaited;
        if (request.since_ns == 0) request.since_ns = Platform::now_ns();
        request.deadline_ns = deadline.monotonic_ns();
        WaitResult result;
        {
            OptionalSection section;
            result = wait_on_address(request);
        }
        if (result.handed) return finish_lock(mutex, self, keep_users);
        if (result.outcome == Wake::kTimeout && deadline.has_passed()) return ETIMEDOUT;
        waiters = Mutex::kWaiters;
        request.at_front = result.validated;
        seen = word.load(std::memory_order_relaxed);
    }
}

int robust_trylock(Mutex* mutex, int kind) {
    Word& word = mutex->word;
    const uint32_t self = self_tid();
    uint32_t seen = word.load(std::memory_order_relaxed);
    for (;;) {
        if ((seen & Mutex::kOwnerDied) != 0) {
            if (take_from_dead(word, seen, self, 0)) return finish_inherit(mutex);
            continue;
        }
        if ((seen & Mutex::kTid) == self) {
            const int answer = own_again(mutex, kind);
            return answer >= 0 ? answer : EBUSY;
        }
        if (seen != 0) {
            return mutex->owner.load(std::memory_order_relaxed) == Mutex::kNotRecoverable
                       ? ENOTRECOVERABLE
                       : EBUSY;
        }
        if (word.compare_exchange_strong(seen, self, std::memory_order_acquire))
            return finish_lock(mutex, self, false);
    }
}

int robust_unlock(Mutex* mutex, bool keep_users) {
    const uint32_t self = self_tid();
    const int type = mutex->kind & Mutex::kTypeMask;
    if ((mutex->word.load(std::memory_order_relaxed) & Mutex::kTid) != self) return EPERM;
    const bool is_inconsistent =
        mutex->owner.load(std::memory_order_relaxed) == Mutex::kInconsistent;
    if (type == Mutex::kRecursive && !is_inconsistent && --mutex->count != 0) return 0;
    mutex->owner.store(is_inconsistent ? Mutex::kNotRecoverable : 0, std::memory_order_relaxed);
    delist(mutex);
    if (!keep_users) mutex->users--;
    owner_word_release(&mutex->word);
    return 0;
}

// Shared ones are marked with the tid of the kernel thread to which the fiber is bound; their other
// waiters sleep in the kernel.
void robust_mutexes_release(Fiber* fiber) {
    auto* head = reinterpret_cast<robust_list_head*>(fiber->tp + host::identity_layout.robust_head);
    const auto end = reinterpret_cast<uintptr_t>(&head->list);
    auto at = reinterpret_cast<uintptr_t>(head->list.next) & ~uintptr_t{1};
    const auto kernel_tid = static_cast<uint32_t>(worker_tid(fiber));
    while (at != end && at != 0) {
        auto* mutex =
            reinterpret_cast<Mutex*>(at - offsetof(Mutex, link) - offsetof(RobustLink, next));
        // Read before the mark: its next owner relinks it.
        const auto next = reinterpret_cast<uintptr_t>(mutex->link.next) & ~uintptr_t{1};
        const bool is_shared = (mutex->kind & Mutex::kShared) != 0;
        const uint32_t self = is_shared ? kernel_tid : fiber->tid;
        Word* word = &mutex->word;
        uint32_t seen = word->load(std::memory_order_relaxed);
        while ((seen & Mutex::kTid) == self &&
               !word->compare_exchange_weak(seen, (seen & Mutex::kWaiters) | Mutex::kOwnerDied,
                                            std::memory_order_seq_cst)) {
        }
        if ((seen & Mutex::kTid) == self && (seen & Mutex::kWaiters) != 0) {
            if (is_shared)
                host::raw_futex_wake(reinterpret_cast<uint32_t*>(word), 1, false);
            else
                wake_address(word, 1);
        }
        at = next;
    }
    head->list.next = &head->list;
}

}  // namespace pfiber::shim
