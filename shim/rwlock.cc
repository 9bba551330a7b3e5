// Read-write locks.
//
// State word: writer bit, number of readers, "readers wait", "writers wait".  Readers wait on the
// address of the state, writers on the next word's.  A caller that must wait sets its bit in the
// very step that saw the lock taken; whoever frees the lock reads the bits in the step that frees
// it and wakes all readers or one writer.  A woken writer sets "writers wait" again when it takes
// the lock or fails to: it cannot know whether others wait.  Hence (R1): when the lock is held and
// somebody waits, his bit is set, or somebody is on his way who will set it. Preference: as
// glibc's, waiting writers keep new readers out only with
// PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP; on release both writer kinds wake writers first.
#include "shim/rwlock.h"

#include <errno.h>

#include "scheduler/wait_queue.h"
#include "shim/libc_sync.h"
#include "shim/self.h"
#include "shim/shared_owner.h"

namespace pfiber::shim {

namespace {

constexpr uint32_t kReaders = ~uint32_t{7};
constexpr uint32_t kMostReaders = kReaders - Rwlock::kOneReader;
constexpr uint32_t kAnybodyWaits = Rwlock::kWritersWait | Rwlock::kReadersWait;

bool writers_first(const Rwlock* lock) { return lock->flags != 0; }

// What keeps a reader out.
uint32_t reader_barrier(const Rwlock* lock) {
    const bool writers_bar = lock->flags == Rwlock::kPreferNonrecursiveWriter;
    return Rwlock::kWriter | (writers_bar ? Rwlock::kWritersWait : 0);
}

enum class Attempt { kTaken, kBusy, kTooMany };

Attempt attempt_read(Rwlock* lock, uint32_t mark) {
    const uint32_t barrier = reader_barrier(lock);
    uint32_t seen = lock->state.load(std::memory_order_relaxed);
    for (;;) {
        uint32_t wanted;
        // A bit left behind on a free lock keeps nobody out.
        const bool is_busy = (seen & barrier) != 0 && (seen & (Rwlock::kWriter | kReaders)) != 0;
        if (is_busy) {
            wanted = seen | mark;
            if (wanted == seen) return Attempt::kBusy;
        } else {
            if ((seen & kReaders) >= kMostReaders) return Attempt::kTooMany;
            wanted = seen + Rwlock::kOneReader;
        }
        if (lock->state.compare_exchange_weak(seen, wanted, std::memory_order_acq_rel))
            return is_busy ? Attempt::kBusy : Attempt::kTaken;
    }
}

// `mark` is set also when the lock is taken.
Attempt attempt_write(Rwlock* lock, uint32_t busy_mark, uint32_t taken_mark) {
    uint32_t seen = lock->state.load(std::memory_order_relaxed);
    for (;;) {
        const bool is_busy = (seen & (Rwlock::kWriter | kReaders)) != 0;
        const uint32_t wanted = is_busy ? seen | busy_mark : seen | Rwlock::kWriter | taken_mark;
        if (wanted == seen) return Attempt::kBusy;
        if (lock->state.compare_exchange_weak(seen, wanted, std::memory_order_acq_rel))
            return is_busy ? Attempt::kBusy : Attempt::kTaken;
    }
}

bool reader_must_wait(const void*, void* argument) {
    const auto* lock = static_cast<const Rwlock*>(argument);
    const uint32_t seen = lock->state.load(std::memory_order_relaxed);
    return (seen & Rwlock::kReadersWait) != 0 && (seen & reader_barrier(lock)) != 0 &&
           (seen & (Rwlock::kWriter | kReaders)) != 0;
}

// The count of waiting writers changes under the lock of their bucket only.
bool writer_must_wait(const void*, void* argument) {
    auto* lock = static_cast<Rwlock*>(argument);
    const uint32_t seen = lock->state.load(std::memory_order_relaxed);
    if ((seen & Rwlock::kWritersWait) == 0 || (seen & (Rwlock::kWriter | kReaders)) == 0)
        return false;
    lock->writers.fetch_add(1, std::memory_order_relaxed);
    return true;
}

void writer_woken(void* writers) {
    static_cast<Word*>(writers)->fetch_sub(1, std::memory_order_relaxed);
}

// The last one that gives up must not keep readers out any longer.
void writer_leaves(void* argument) {
    auto* lock = static_cast<Rwlock*>(argument);
    if (lock->writers.fetch_sub(1, std::memory_order_relaxed) == 1)
        lock->state.fetch_and(~Rwlock::kWritersWait, std::memory_order_seq_cst);
}

int wake_writer(Word* writers) { return wake_address(writers, 1, kAnyBits, writer_woken, writers); }

// After the last step on the object: addresses only, except that a waiting writer is counted off.
void wake_waiters(const void* readers, Word* writers, uint32_t bits, bool writers_come_first) {
    const bool want_writer = (bits & Rwlock::kWritersWait) != 0;
    const bool want_readers = (bits & Rwlock::kReadersWait) != 0;
    if (want_writer && (writers_come_first || !want_readers)) {
        if (wake_writer(writers) == 0 && want_readers) wake_address(readers, INT32_MAX);
    } else if (want_readers) {
        if (wake_address(readers, INT32_MAX) == 0 && want_writer) wake_writer(writers);
    }
}

// The bits that the release leaves set: of those who are not woken by it.
uint32_t bits_that_stay(uint32_t bits, bool writers_come_first) {
    if ((bits & kAnybodyWaits) != kAnybodyWaits) return 0;
    return writers_come_first ? Rwlock::kReadersWait : Rwlock::kWritersWait;
}

// Gives back the writer's hold or one reader's; the woken run before who locks again at once.
void release(Rwlock* lock, uint32_t hold) {
    const bool first = writers_first(lock);
    const void* readers = &lock->state;
    Word* writers = &lock->writers;
    uint32_t seen = lock->state.load(std::memory_order_relaxed);
    for (;;) {
        uint32_t wanted = seen - hold;
        const bool is_free = (wanted & (Rwlock::kWriter | kReaders)) == 0;
        if (is_free) wanted = bits_that_stay(seen, first);
        if (!lock->state.compare_exchange_weak(seen, wanted, std::memory_order_seq_cst)) continue;
        if (is_free) {
            wake_waiters(readers, writers, seen, first);
            if ((seen & kAnybodyWaits) != 0) let_woken_run(current_fiber());
        }
        return;
    }
}

bool own_write(const Rwlock* lock) {
    return lock->writer_tid.load(std::memory_order_relaxed) == self_tid();
}

int wait(Rwlock* lock, bool write, TimeLimit limit) {
    const Deadline deadline = limit.deadline();
    WaitRequest request;
    request.address = write ? static_cast<const void*>(&lock->writers) : &lock->state;
    request.validate = write ? writer_must_wait : reader_must_wait;
    request.argument = lock;
    request.on_leave = write ? writer_leaves : nullptr;
    request.reason = WaitReason::kRwlock;
    uint32_t taken_mark = 0;
    for (;;) {
        const Attempt attempt = write ? attempt_write(lock, Rwlock::kWritersWait, taken_mark)
                                      : attempt_read(lock, Rwlock::kReadersWait);
        if (attempt == Attempt::kTaken) break;
        if (attempt == Attempt::kTooMany) return EAGAIN;
        request.deadline_ns = deadline.monotonic_ns();
        WaitResult result;
        {
            OptionalSection section;
            result = wait_on_address(request);
        }
        if (result.outcome == Wake::kTimeout && deadline.has_passed()) {
            if (write && (lock->state.load() & Rwlock::kReadersWait) != 0)
                wake_address(&lock->state, INT32_MAX);  // perhaps it was we who kept them out
            return ETIMEDOUT;
        }
        if (result.validated) taken_mark = Rwlock::kWritersWait;
        request.at_front = result.validated && result.outcome == Wake::kReady;
    }
    if (write) lock->writer_tid.store(self_tid(), std::memory_order_relaxed);
    return 0;
}

pthread_rwlock_t* object(Rwlock* lock) { return reinterpret_cast<pthread_rwlock_t*>(lock); }

bool is_shared(const Rwlock* lock) { return lock->shared != 0; }

// libc compares the writer's tid with the caller's, so the fiber is its worker for each call and
// for as long as it holds the lock as a writer.
template <class Try, class Block>
int lock_shared(bool write, Try attempt, Block block) {
    Fiber* fiber = current_fiber();
    if (fiber == nullptr) return block();
    SharedOwner owner(fiber);
    int result = attempt();
    if (result == EBUSY) {
        LibcWait wait;
        result = block();
    }
    if (result == 0 && write) owner.keep();
    return result;
}

int read_shared(Rwlock* lock, TimeLimit limit) {
    const LibcSync& libc = libc_sync();
    return lock_shared(
        false, [&] { return libc.pthread_rwlock_tryrdlock(object(lock)); },
        [&] {
            return limit.time == nullptr
                       ? libc.pthread_rwlock_rdlock(object(lock))
                       : libc.pthread_rwlock_clockrdlock(object(lock), limit.clock, limit.time);
        });
}

int write_shared(Rwlock* lock, TimeLimit limit) {
    const LibcSync& libc = libc_sync();
    return lock_shared(
        true, [&] { return libc.pthread_rwlock_trywrlock(object(lock)); },
        [&] {
            return limit.time == nullptr
                       ? libc.pthread_rwlock_wrlock(object(lock))
                       : libc.pthread_rwlock_clockwrlock(object(lock), limit.clock, limit.time);
        });
}

int unlock_shared(Rwlock* lock) {
    Fiber* fiber = current_fiber();
    if (fiber == nullptr) return libc_sync().pthread_rwlock_unlock(object(lock));
    SharedOwner owner(fiber);
    const bool was_writer = lock->writer_tid.load(std::memory_order_relaxed) ==
                            static_cast<uint32_t>(worker_tid(fiber));
    const int result = libc_sync().pthread_rwlock_unlock(object(lock));
    if (was_writer) shared_owner_end(fiber);
    return result;
}

}  // namespace

int rwlock_read(Rwlock* lock, TimeLimit limit) {
    if (!limit.has_valid_clock() || !limit.has_valid_time()) return EINVAL;
    if (is_shared(lock)) return read_shared(lock, limit);
    const Attempt attempt = attempt_read(lock, 0);
    if (__builtin_expect(attempt == Attempt::kTaken, 1)) return 0;
    if (own_write(lock)) return EDEADLK;
    return wait(lock, false, limit);
}

int rwlock_write(Rwlock* lock, TimeLimit limit) {
    if (!limit.has_valid_clock() || !limit.has_valid_time()) return EINVAL;
    if (is_shared(lock)) return write_shared(lock, limit);
    if (__builtin_expect(attempt_write(lock, 0, 0) == Attempt::kTaken, 1)) {
        lock->writer_tid.store(self_tid(), std::memory_order_relaxed);
        return 0;
    }
    if (own_write(lock)) return EDEADLK;
    return wait(lock, true, limit);
}

int rwlock_try_read(Rwlock* lock) {
    if (is_shared(lock)) {
        Fiber* fiber = current_fiber();
        if (fiber == nullptr) return libc_sync().pthread_rwlock_tryrdlock(object(lock));
        SharedOwner owner(fiber);
        return libc_sync().pthread_rwlock_tryrdlock(object(lock));
    }
    switch (attempt_read(lock, 0)) {
        case Attempt::kTaken:
            return 0;
        case Attempt::kTooMany:
            return EAGAIN;
        case Attempt::kBusy:
            break;
    }
    return EBUSY;
}

int rwlock_try_write(Rwlock* lock) {
    if (is_shared(lock)) {
        Fiber* fiber = current_fiber();
        if (fiber == nullptr) return libc_sync().pthread_rwlock_trywrlock(object(lock));
        SharedOwner owner(fiber);
        const int result = libc_sync().pthread_rwlock_trywrlock(object(lock));
        if (result == 0) owner.keep();
        return result;
    }
    if (attempt_write(lock, 0, 0) != Attempt::kTaken) return EBUSY;
    lock->writer_tid.store(self_tid(), std::memory_order_relaxed);
    return 0;
}

int rwlock_unlock(Rwlock* lock) {
    if (is_shared(lock)) return unlock_shared(lock);
    if (own_write(lock)) {
        lock->writer_tid.store(0, std::memory_order_relaxed);
        release(lock, Rwlock::kWriter);
    } else {
        release(lock, Rwlock::kOneReader);
    }
    return 0;
}

}  // namespace pfiber::shim
