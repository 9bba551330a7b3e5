// Priority protection: whoever takes such a mutex runs at its ceiling until it gives it back.
//
// Its own priority stays what pthread_getschedparam tells; the kernel's, which sched_getparam
// tells, is the highest of it and the ceilings of what it holds or waits for.  Source: POSIX
// pthread_mutexattr_getprotocol(), and libc for what happens to threads without a real-time policy.
#include <errno.h>
#include <sched.h>

#include "scheduler/runtime.h"
#include "shim/kernel_state.h"
#include "shim/libc_sync.h"
#include "shim/mutex_kinds.h"
#include "shim/thread.h"

namespace pfiber::shim {

namespace {

// The highest ceiling to which libc would believe to have raised this thread.
__thread int t_failed_ceiling __attribute__((tls_model("initial-exec")));

// Ceilings that count for the thread, and how many mutexes have each; a ninth different one at a
// time raises nobody.
struct Held {
    int ceiling;
    int count;
};
constexpr int kMostHeld = 8;
__thread Held t_held[kMostHeld] __attribute__((tls_model("initial-exec")));
__thread int t_raised_to
    __attribute__((tls_model("initial-exec")));  // of a thread that is no fiber

struct Own {
    int policy;
    int priority;  // without any mutex
    bool is_real_time() const { return policy == SCHED_FIFO || policy == SCHED_RR; }
};

// libc asks the kernel once, before anything is raised, and keeps the answer.
Own policy_of_libc() {
    Own own{};
    sched_param parameters{};
    libc_sync().pthread_getschedparam(host::thread_pointer(), &own.policy, &parameters);
    own.priority = parameters.sched_priority;
    return own;
}

Own own_policy() {
    const Fiber* fiber = current_fiber();
    return fiber == nullptr ? policy_of_libc()
                            : Own{thread_of(fiber)->policy, thread_of(fiber)->priority};
}

int highest_held() {
    int highest = 0;
    for (const Held& held : t_held)
        if (held.count > 0 && held.ceiling > highest) highest = held.ceiling;
    return highest;
}

Held* held_at(int ceiling) {
    Held* free = nullptr;
    for (Held& held : t_held) {
        if (held.count > 0 && held.ceiling == ceiling) return &held;
        if (held.count == 0 && free == nullptr) free = &held;
    }
    if (free != nullptr) free->ceiling = ceiling;
    return free;
}

// 0 or an error number.
int raise_to(const Own& own, int ceiling) {
    Fiber* fiber = current_fiber();
    int& raised_to = fiber == nullptr ? t_raised_to : thread_of(fiber)->raised_to;
    const int now = raised_to > own.priority ? raised_to : own.priority;
    const int wanted = ceiling > own.priority ? ceiling : own.priority;
    if (now != wanted) {
        sched_param parameters{};
        parameters.sched_priority = wanted;
        const long rc =
            change_own_state(fiber, SYS_sched_setscheduler, 0L, own.policy, &parameters);
        if (rc != 0) return static_cast<int>(-rc);
        if (fiber != nullptr) fiber->wait_priority = wanted;
    }
    raised_to = ceiling;
    return 0;
}

// Only real-time policies may be raised.  libc answers EINVAL otherwise, but only the first time:
// it takes the thread for raised from then on.  So do we.
int check(const Own& own, int ceiling) {
    if (own.is_real_time()) return own.priority <= ceiling ? 0 : EINVAL;
    if (ceiling <= t_failed_ceiling) return 0;
    t_failed_ceiling = ceiling;
    return EINVAL;
}

}  // namespace

int mutex_check_ceiling(const Mutex* mutex) { return check(own_policy(), mutex_ceiling(mutex)); }

int mutex_enter_ceiling(const Mutex* mutex, int* entered) {
    const int ceiling = mutex_ceiling(mutex);
    const Own own = own_policy();
    *entered = 0;
    if (const int rc = check(own, ceiling); rc != 0) return rc;
    Held* held = own.is_real_time() ? held_at(ceiling) : nullptr;
    if (held == nullptr) return 0;
    held->count++;
    const int rc = raise_to(own, highest_held());
    if (rc != 0) held->count--;
    if (rc == 0) *entered = ceiling;
    return rc;
}

void mutex_leave_ceiling(int ceiling) {
    for (Held& held : t_held) {
        if (held.count == 0 || held.ceiling != ceiling) continue;
        held.count--;
        const Own own = own_policy();
        if (own.is_real_time()) raise_to(own, highest_held());
        return;
    }
}

void mutex_adopt_ceilings(Fiber* main) {
    if (t_raised_to == 0) return;
    thread_of(main)->raised_to = t_raised_to;
    const Own own = policy_of_libc();
    thread_set_policy(main, own.policy, own.priority);
    t_raised_to = 0;
}

}  // namespace pfiber::shim
