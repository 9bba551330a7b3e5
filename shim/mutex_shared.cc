// Process-shared mutexes on a fiber: libc's own code on libc's own format, waits in the kernel.
//
// Normal ones need no owner; the others make the fiber its worker for the time they are held
// (shared_owner.h).  The non-blocking form comes first, so that an uncontended lock costs no
// hand-off.
#include <errno.h>
#include <linux/futex.h>

#include "scheduler/host/identity.h"
#include "shim/libc_sync.h"
#include "shim/mutex_kinds.h"
#include "shim/shared_owner.h"

namespace pfiber::shim {

namespace {

// Of the fiber: TLS moves with it.
struct Ownership {
    int depth;
    void* former_list;  // the robust list that the worker had registered
};
__thread Ownership t_ownership __attribute__((tls_model("initial-exec")));

pthread_mutex_t* object(Mutex* mutex) { return reinterpret_cast<pthread_mutex_t*>(mutex); }

bool has_owner(const Mutex* mutex) {
    constexpr int kOwned = Mutex::kRobust | Mutex::kInherit | Mutex::kProtect;
    const int type = mutex->kind & Mutex::kTypeMask;
    return (mutex->kind & kOwned) != 0 || type == Mutex::kRecursive || type == Mutex::kErrorcheck;
}

bool is_outermost(const Mutex* mutex) {
    return (mutex->kind & Mutex::kTypeMask) != Mutex::kRecursive || mutex->count <= 1;
}

int lock_blocking(Mutex* mutex, TimeLimit limit) {
    const LibcSync& libc = libc_sync();
    LibcWait wait;
    return limit.time == nullptr
               ? libc.pthread_mutex_lock(object(mutex))
               : libc.pthread_mutex_clocklock(object(mutex), limit.clock, limit.time);
}

// libc's trylock of a mutex that is lost leaves it locked; its lock does not.
int try_then_lock(Mutex* mutex, TimeLimit limit) {
    if ((mutex->kind & Mutex::kRobust) != 0 &&
        mutex->owner.load(std::memory_order_relaxed) == Mutex::kNotRecoverable)
        return lock_blocking(mutex, limit);
    const int result = libc_sync().pthread_mutex_trylock(object(mutex));
    return result == EBUSY ? lock_blocking(mutex, limit) : result;
}

// The kernel hands a robust mutex with inheritance on when its owner's kernel thread ends, which
// the process's first one never does: not there, for the time of the call and while it is held.
class MortalOwner {
  public:
    explicit MortalOwner(const Mutex* mutex) {
        constexpr int kBoth = Mutex::kRobust | Mutex::kInherit;
        if ((mutex->kind & kBoth) != kBoth) return;
        fiber_ = current_fiber();
        lock_to_own_worker(fiber_);
    }
    ~MortalOwner() {
        if (fiber_ != nullptr) unlock_from_worker(fiber_);
    }
    MortalOwner(const MortalOwner&) = delete;
    MortalOwner& operator=(const MortalOwner&) = delete;

  private:
    Fiber* fiber_ = nullptr;
};

template <class Call>
int as_owner(Mutex* mutex, Call call) {
    if (!has_owner(mutex)) return call();
    const bool is_protected = (mutex->kind & Mutex::kProtect) != 0;
    if (is_protected && mutex_check_ceiling(mutex) != 0) return EINVAL;
    const MortalOwner mortal(mutex);
    SharedOwner owner(current_fiber());
    int result = call();
    // What libc believes of this thread's priority is of its own making, and right from now on.
    if (is_protected && result == EINVAL) result = call();
    if ((result == 0 || result == EOWNERDEAD) && is_outermost(mutex)) owner.keep();
    return result;
}

}  // namespace

void shared_owner_begin(Fiber* fiber) {
    if (t_ownership.depth++ > 0) return;
    lock_to_worker(fiber);
    const host::IdentityLayout& layout = host::identity_layout;
    size_t length = 0;
    host::raw_syscall(SYS_get_robust_list, 0L, &t_ownership.former_list, &length);
    host::set_tid_field(fiber->tp, static_cast<uint32_t>(worker_tid(fiber)));
    host::raw_syscall(SYS_set_robust_list, fiber->tp + layout.robust_head,
                      sizeof(robust_list_head));
}

void shared_owner_end(Fiber* fiber) {
    if (t_ownership.depth == 0 || --t_ownership.depth > 0) return;
    host::raw_syscall(SYS_set_robust_list, t_ownership.former_list, sizeof(robust_list_head));
    host::set_tid_field(fiber->tp, fiber->tid);
    unlock_from_worker(fiber);
}

int shared_lock(Mutex* mutex, TimeLimit limit) {
    return as_owner(mutex, [&] { return try_then_lock(mutex, limit); });
}

int shared_trylock(Mutex* mutex) {
    return as_owner(mutex, [&] { return libc_sync().pthread_mutex_trylock(object(mutex)); });
}

int shared_unlock(Mutex* mutex) {
    const bool ends = has_owner(mutex) && is_outermost(mutex);
    const int result = libc_sync().pthread_mutex_unlock(object(mutex));
    if (result == 0 && ends) shared_owner_end(current_fiber());
    return result;
}

}  // namespace pfiber::shim
