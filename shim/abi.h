// The synchronisation objects of glibc 2.36 on x86-64, field by field.
//
// Our code and libc's own work on the same words, so positions and values are glibc's: lock words
// 0/1/2, owner tids, counts, kinds.  Where an algorithm is ours (condition variable, rwlock,
// barrier) the object looks freshly initialised to glibc whenever nobody holds it or waits on it.
// Only this file and scheduler/host/ know a libc's layout.
#pragma once

#include <pthread.h>
#include <semaphore.h>
#include <threads.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace pfiber::shim {

using Word = std::atomic<uint32_t>;

struct RobustLink {
    RobustLink* prev;
    void* next;  // address of the next object's `next`; bit 0 marks priority inheritance
};

struct Mutex {
    // kind: type in bits 0-1, then flags.
    static constexpr int kNormal = 0, kRecursive = 1, kErrorcheck = 2, kAdaptive = 3, kTypeMask = 3;
    static constexpr int kRobust = 0x10, kInherit = 0x20, kProtect = 0x40, kShared = 0x80;
    static constexpr int kElision = 0x300;  // hints that we ignore
    static constexpr int kKnown = kTypeMask | kRobust | kInherit | kProtect | kShared | kElision;
    // Lock word of robust ones: owner tid and flags (the kernel's robust futex protocol).
    static constexpr uint32_t kTid = 0x3fffffff, kOwnerDied = 0x40000000, kWaiters = 0x80000000;
    // Lock word of priority-protect ones: the ceiling above the 0/1/2.
    static constexpr uint32_t kCeiling = 0xfff80000, kCeilingShift = 19;
    // Owner of a robust one whose state is in doubt or lost.
    static constexpr uint32_t kInconsistent = INT32_MAX, kNotRecoverable = INT32_MAX - 1;

    Word word;
    uint32_t count;  // of a recursive owner
    Word owner;
    uint32_t users;
    int32_t kind;
    int16_t spins;
    int16_t wait_in_kernel;  // libc's elision count, which nothing uses; see mutex.cc
    RobustLink link;

    static Mutex* of(pthread_mutex_t* mutex) { return reinterpret_cast<Mutex*>(mutex); }
    static Mutex* of(mtx_t* mutex) { return reinterpret_cast<Mutex*>(mutex); }
};
static_assert(sizeof(Mutex) == sizeof(pthread_mutex_t) && sizeof(mtx_t) == sizeof(pthread_mutex_t));
static_assert(offsetof(pthread_mutex_t, __data.__lock) == offsetof(Mutex, word));
static_assert(offsetof(pthread_mutex_t, __data.__count) == offsetof(Mutex, count));
static_assert(offsetof(pthread_mutex_t, __data.__owner) == offsetof(Mutex, owner));
static_assert(offsetof(pthread_mutex_t, __data.__nusers) == offsetof(Mutex, users));
static_assert(offsetof(pthread_mutex_t, __data.__kind) == offsetof(Mutex, kind));
static_assert(offsetof(pthread_mutex_t, __data.__elision) == offsetof(Mutex, wait_in_kernel));
static_assert(offsetof(pthread_mutex_t, __data.__list) == offsetof(Mutex, link));

struct Cond {
    static constexpr uint32_t kShared = 1, kMonotonic = 2, kOneWaiter = 8;

    uint64_t sequence, group_start;
    uint32_t group_refs[2], group_size[2];
    uint32_t group_size_before;
    Word waiters;  // flags above, count from bit 3
    uint32_t group_signals[2];

    static Cond* of(pthread_cond_t* cond) { return reinterpret_cast<Cond*>(cond); }
    // Private ones have no groups: how many waiters run a handler.
    uint32_t* interrupted() { return &group_refs[0]; }
    // And with which mutex the last one waits.  With the bucket of the condition variable locked.
    void set_mutex(const Mutex* mutex) { group_start = reinterpret_cast<uintptr_t>(mutex); }
    const Mutex* mutex() const { return reinterpret_cast<const Mutex*>(group_start); }
};
static_assert(sizeof(Cond) == sizeof(pthread_cond_t) && sizeof(cnd_t) == sizeof(pthread_cond_t));
static_assert(offsetof(pthread_cond_t, __data.__wrefs) == offsetof(Cond, waiters));

struct Rwlock {
    // state: ours; zero when free, as glibc's.
    static constexpr uint32_t kWritersWait = 1, kWriter = 2, kReadersWait = 4, kOneReader = 8;
    static constexpr uint32_t kPreferNonrecursiveWriter = 2;  // flags

    Word state;
    Word writers;  // writers that wait, on this address
    uint32_t phase_futex, writers_futex;
    uint32_t padding[2];
    Word writer_tid;
    int32_t shared;
    int8_t elision, padding_bytes[7];
    uint64_t padding_long;
    uint32_t flags;

    static Rwlock* of(pthread_rwlock_t* lock) { return reinterpret_cast<Rwlock*>(lock); }
};
static_assert(sizeof(Rwlock) == sizeof(pthread_rwlock_t));
static_assert(offsetof(pthread_rwlock_t, __data.__readers) == offsetof(Rwlock, state));
static_assert(offsetof(pthread_rwlock_t, __data.__cur_writer) == offsetof(Rwlock, writer_tid));
static_assert(offsetof(pthread_rwlock_t, __data.__shared) == offsetof(Rwlock, shared));
static_assert(offsetof(pthread_rwlock_t, __data.__flags) == offsetof(Rwlock, flags));

struct Barrier {
    uint32_t arrived;
    uint32_t round;
    uint32_t count;
    int32_t shared;
    Word away;  // waiters whose signal handlers run

    static Barrier* of(pthread_barrier_t* barrier) { return reinterpret_cast<Barrier*>(barrier); }
};
static_assert(sizeof(Barrier) <= sizeof(pthread_barrier_t));

struct Semaphore {
    static constexpr uint64_t kOneWaiter = uint64_t{1} << 32, kValue = 0xffffffff;

    std::atomic<uint64_t> data;  // value low, waiters high
    int32_t shared;              // 0: private
    int32_t padding;

    const void* address() const { return this; }  // the value is the low half: little-endian
    static Semaphore* of(sem_t* semaphore) { return reinterpret_cast<Semaphore*>(semaphore); }
};
static_assert(sizeof(Semaphore) <= sizeof(sem_t));

struct Once {
    static constexpr uint32_t kRunning = 1, kDone = 2, kForkShift = 2;

    Word state;

    static Once* of(pthread_once_t* once) { return reinterpret_cast<Once*>(once); }
    static Once* of(once_flag* once) { return reinterpret_cast<Once*>(once); }
};
static_assert(sizeof(Once) == sizeof(pthread_once_t) && sizeof(once_flag) == sizeof(Once));

// x86: 1 free, 0 or less held.
struct Spin {
    static constexpr int32_t kFree = 1, kHeld = 0;
    std::atomic<int32_t> word;
    static Spin* of(pthread_spinlock_t* lock) {
        return reinterpret_cast<Spin*>(const_cast<int*>(lock));
    }
};
static_assert(sizeof(Spin) == sizeof(pthread_spinlock_t));

}  // namespace pfiber::shim
