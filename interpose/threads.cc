// Thread life: the bodies call shim/thread.  Before the start, and for threads that are no fibers,
// libc's own functions serve.
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "interpose/clocks.h"
#include "interpose/hooks.h"
#include "interpose/start.h"
#include "scheduler/host/report.h"
#include "scheduler/host/syscall.h"
#include "shim/cancel.h"
#include "shim/kernel_state.h"
#include "shim/thread.h"
#include "shim/thread_attr.h"

using namespace pfiber;
using namespace pfiber::shim;
using pfiber::interpose::ensure_started;

namespace {

int join_until(pthread_t thread, void** result, clockid_t clock, const timespec* deadline) {
    Fiber* fiber = fiber_of(thread);
    int64_t deadline_ns = kNever;
    if (deadline != nullptr && (deadline->tv_nsec < 0 || deadline->tv_nsec >= 1000000000)) {
        const int rc = thread_try_join(fiber, result);
        return rc == EBUSY ? EINVAL : rc;
    }
    if (deadline != nullptr) deadline_ns = interpose::monotonic_deadline(clock, deadline);
    return thread_join(fiber, result, deadline_ns, true);
}

}  // namespace

extern "C" {

int pf_pthread_create(pthread_t* out, const pthread_attr_t* attributes, void* (*start)(void*),
                      void* argument) {
    if (!ensure_started()) return real(pthread_create)(out, attributes, start, argument);
    return thread_create(out, attributes, start, argument, false);
}

int pf_thrd_create(thrd_t* out, thrd_start_t start, void* argument) {
    if (!ensure_started()) return real(thrd_create)(out, start, argument);
    auto untyped = reinterpret_cast<void* (*)(void*)>(reinterpret_cast<void*>(start));
    const int rc = thread_create(out, nullptr, untyped, argument, true);
    return rc == 0 ? thrd_success : rc == EAGAIN || rc == ENOMEM ? thrd_nomem : thrd_error;
}

int pf_pthread_join(pthread_t thread, void** result) {
    if (fiber_of(thread) == nullptr) return real(pthread_join)(thread, result);
    return join_until(thread, result, CLOCK_REALTIME, nullptr);
}

int pf_thrd_join(thrd_t thread, int* result) {
    if (fiber_of(thread) == nullptr) return real(thrd_join)(thread, result);
    void* value = nullptr;
    if (join_until(thread, &value, CLOCK_REALTIME, nullptr) != 0) return thrd_error;
    if (result != nullptr) *result = static_cast<int>(reinterpret_cast<intptr_t>(value));
    return thrd_success;
}

int pf_pthread_tryjoin_np(pthread_t thread, void** result) {
    Fiber* fiber = fiber_of(thread);
    if (fiber == nullptr) return real(pthread_tryjoin_np)(thread, result);
    return thread_try_join(fiber, result);
}

int pf_pthread_timedjoin_np(pthread_t thread, void** result, const timespec* deadline) {
    if (fiber_of(thread) == nullptr) return real(pthread_timedjoin_np)(thread, result, deadline);
    return join_until(thread, result, CLOCK_REALTIME, deadline);
}

int pf_pthread_clockjoin_np(pthread_t thread, void** result, clockid_t clock,
                            const timespec* deadline) {
    if (fiber_of(thread) == nullptr)
        return real(pthread_clockjoin_np)(thread, result, clock, deadline);
    if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC) return EINVAL;
    return join_until(thread, result, clock, deadline);
}

int pf_pthread_detach(pthread_t thread) {
    Fiber* fiber = fiber_of(thread);
    return fiber == nullptr ? real(pthread_detach)(thread) : thread_detach(fiber);
}

int pf_thrd_detach(thrd_t thread) {
    Fiber* fiber = fiber_of(thread);
    if (fiber == nullptr) return real(thrd_detach)(thread);
    return thread_detach(fiber) == 0 ? thrd_success : thrd_error;
}

void pf_pthread_exit(void* result) {
    // The only thread of a process that has no fibers: its destructors run as a fiber's.
    ensure_started();
    thread_exit(result);
}

void pf_thrd_exit(int result) {
    ensure_started();
    thread_exit(reinterpret_cast<void*>(static_cast<intptr_t>(result)));
}

int pf_pthread_getattr_np(pthread_t thread, pthread_attr_t* attributes) {
    Fiber* fiber = fiber_of(thread);
    if (fiber == nullptr) return real(pthread_getattr_np)(thread, attributes);
    const Thread* record = thread_of(fiber);
    // The main thread's stack is the process's: libc reads its bounds from /proc/self/maps.
    const int rc = fiber == main_fiber()
                       ? real(pthread_getattr_np)(thread, attributes)
                       : tell_attributes(record, thread_is_detached(record), attributes);
    if (rc != 0) return rc;
    unsigned char mask[ThreadAttributes::kMostMaskBytes];
    const long bytes = read_affinity(fiber, sizeof mask, mask);
    if (bytes > 0)
        pthread_attr_setaffinity_np(attributes, static_cast<size_t>(bytes),
                                    reinterpret_cast<cpu_set_t*>(mask));
    return 0;
}

int pf_pthread_setname_np(pthread_t thread, const char* name) {
    Fiber* fiber = fiber_of(thread);
    if (fiber == nullptr) return real(pthread_setname_np)(thread, name);
    const size_t length = strlen(name);
    if (length >= sizeof(Thread::name)) return ERANGE;
    set_thread_name(fiber, name);
    return 0;
}

int pf_pthread_getname_np(pthread_t thread, char* name, size_t size) {
    Fiber* fiber = fiber_of(thread);
    if (fiber == nullptr) return real(pthread_getname_np)(thread, name, size);
    const char* own = thread_of(fiber)->name;
    if (size < sizeof(Thread::name)) return ERANGE;
    memcpy(name, own, strlen(own) + 1);
    return 0;
}

int pf_sched_yield() {
    Fiber* fiber = current_fiber();
    if (fiber == nullptr || fiber->runs_beside)
        return static_cast<int>(host::raw_syscall(SYS_sched_yield));
    {
        RuntimeSection section(fiber);
        yield(fiber);
    }
    // Its equals in the kernel's queue do not come by themselves.
    if (__builtin_expect(fiber->wait_priority != 0, 0)) host::raw_syscall(SYS_sched_yield);
    return 0;
}

pid_t pf_gettid() {
    Fiber* fiber = current_fiber();
    return fiber == nullptr ? host::raw_gettid() : static_cast<pid_t>(fiber->tid);
}

int pf_pthread_cancel(pthread_t thread) {
    // The only thread of a process without fibers: points of cancellation look at fibers alone.
    if (current_fiber() == nullptr && pthread_equal(thread, pthread_self())) ensure_started();
    Fiber* fiber = fiber_of(thread);
    return fiber == nullptr ? real(pthread_cancel)(thread) : thread_cancel(fiber);
}

int pf_pthread_setcancelstate(int state, int* old) {
    Fiber* fiber = current_fiber();
    return fiber == nullptr ? real(pthread_setcancelstate)(state, old)
                            : set_cancel_state(fiber, state, old);
}

int pf_pthread_setcanceltype(int type, int* old) {
    Fiber* fiber = current_fiber();
    return fiber == nullptr ? real(pthread_setcanceltype)(type, old)
                            : set_cancel_type(fiber, type, old);
}

void pf_pthread_testcancel() {
    Fiber* fiber = current_fiber();
    if (fiber == nullptr)
        real(pthread_testcancel)();
    else
        cancellation_point(fiber);
}

}  // extern "C"
