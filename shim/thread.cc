// See thread.h.
#include "shim/thread.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <new>

#include "scheduler/base/counters.h"
#include "scheduler/base/options.h"
#include "scheduler/host/call_filter.h"
#include "scheduler/host/libc.h"
#include "scheduler/host/report.h"
#include "scheduler/runtime.h"
#include "scheduler/wait_queue.h"
#include "shim/cancel.h"
#include "shim/exit_words.h"
#include "shim/kernel_state.h"
#include "shim/mutex.h"
#include "shim/mutex_kinds.h"
#include "shim/shared_owner.h"
#include "shim/signal.h"
#include "shim/thread_attr.h"

// glibc's own registration of a clean-up frame, as pthread_cleanup_push expands to in C: forced
// unwinding (pthread_exit, cancellation) ends by a jump to it.
extern "C" {
void __pthread_register_cancel(__pthread_unwind_buf_t*);
void __pthread_unregister_cancel(__pthread_unwind_buf_t*);
int __sigsetjmp(__jmp_buf_tag*, int);
}

namespace pfiber::shim {

namespace {

constexpr uint32_t kDetached = 1, kFinished = 2, kJoining = 4, kReaped = 8;

std::atomic<int> threads_left{1};  // the last one to end calls exit(0)
std::atomic<bool> reported_no_stack{false};
void (*call_tls_destructors)();

struct KeyData {
    uintptr_t sequence;
    void* data;
};
struct KeyInfo {
    uintptr_t sequence;
    void (*destructor)(void*);
};
constexpr size_t kKeysPerBlock = 32;
KeyInfo* key_table;  // glibc's __pthread_keys

// pthread_key destructors in rounds, as glibc's __nptl_deallocate_tsd does on a kernel thread.
void run_key_destructors(Fiber* fiber) {
    auto** blocks = reinterpret_cast<KeyData**>(fiber->tp + host::identity_layout.specific);
    for (int round = 0; round < PTHREAD_DESTRUCTOR_ITERATIONS; round++) {
        bool found = false;
        for (size_t b = 0; b < kKeysPerBlock; b++) {
            KeyData* block = blocks[b];
            if (block == nullptr) continue;
            for (size_t i = 0; i < kKeysPerBlock; i++) {
                void* data = block[i].data;
                if (data == nullptr) continue;
                block[i].data = nullptr;
                const KeyInfo& info = key_table[b * kKeysPerBlock + i];
                if (block[i].sequence != info.sequence || info.destructor == nullptr) continue;
                found = true;
                info.destructor(data);
            }
        }
        if (!found) break;
    }
    for (size_t b = 1; b < kKeysPerBlock; b++) {
        free(blocks[b]);
        blocks[b] = nullptr;
    }
    memset(blocks[0], 0, kKeysPerBlock * sizeof(KeyData));
}

// After the thread's start routine, or forced unwinding, is done with its frames.  As in libc the
// thread_local objects of main live until exit().
[[noreturn]] void end_thread(bool is_main) {
    Fiber* fiber = current_fiber();
    thread_of(fiber)->is_ending = true;
    if (!is_main && call_tls_destructors != nullptr) call_tls_destructors();
    run_key_destructors(fiber);
    robust_mutexes_release(fiber);
    kernel_state_forget(fiber);
    exit_words_serve(fiber);
    signals_handle_pending(fiber);
    // The last one runs the exit handlers, and signals reach it there as before.
    if (threads_left.fetch_sub(1) == 1) exit(0);
    signals_thread_ending(fiber);
    RuntimeSection::enter(fiber);
    fiber_finish(fiber);
}

// The start routine returned in a fork's child that never made a thread: nobody else is left, and
// there is no runtime to finish in.
[[noreturn]] void end_only_thread(Fiber* fiber) {
    if (call_tls_destructors != nullptr) call_tls_destructors();
    run_key_destructors(fiber);
    exit(0);
}

void thread_entry(Fiber* fiber) {
    Thread* thread = thread_of(fiber);
    signals_thread_started(fiber);
    __pthread_unwind_buf_t frame;
    if (__sigsetjmp(reinterpret_cast<__jmp_buf_tag*>(frame.__cancel_jmp_buf), 0) == 0) {
        __pthread_register_cancel(&frame);
        if (thread->is_c11) {
            auto start = reinterpret_cast<int (*)(void*)>(reinterpret_cast<void*>(thread->start));
            thread->result =
                reinterpret_cast<void*>(static_cast<intptr_t>(start(thread->argument)));
        } else {
            thread->result = thread->start(thread->argument);
        }
    }
    if (current_fiber() == nullptr) end_only_thread(fiber);
    end_thread(false);
}

// On the stack that runs next, in the runtime.  Nothing of the fiber is touched after the flag: a
// joiner may recycle it at once.
void thread_finished(Fiber* fiber) {
    Thread* thread = thread_of(fiber);
    const uint32_t before = thread->life.fetch_or(kFinished);
    // Detached while somebody joins already: natively the join still gets the value.
    if ((before & (kDetached | kJoining)) == kDetached) {
        if (fiber != main_fiber()) fiber_recycle(fiber);
    } else {
        wake_address(&thread->life, INT_MAX);
    }
}

bool not_finished(const void* address, void*) {
    return (static_cast<const Platform::Atomic<uint32_t>*>(address)->load() & kFinished) == 0;
}

// The joiner leaves; a thread that was detached and ended meanwhile has nobody else.
void give_up_join(Fiber* fiber) {
    const uint32_t before = thread_of(fiber)->life.fetch_and(~kJoining);
    if ((before & (kDetached | kFinished)) == (kDetached | kFinished) && fiber != main_fiber())
        fiber_recycle(fiber);
}

int take_result(Fiber* fiber, void** result) {
    if (result != nullptr) *result = thread_of(fiber)->result;
    // Until the stack is used again, its handle is known for a joined thread's, as libc's are.
    thread_of(fiber)->life.fetch_or(kReaped);
    if (fiber != main_fiber()) fiber_recycle(fiber);
    return 0;
}

}  // namespace

void threads_start(Fiber* main) {
    call_tls_destructors = reinterpret_cast<void (*)()>(dlsym(RTLD_DEFAULT, "__call_tls_dtors"));
    key_table = static_cast<KeyInfo*>(dlsym(RTLD_DEFAULT, "__pthread_keys"));
    runtime_callbacks.finished = thread_finished;
    // In a fork child: the handlers in which it forked, and what goes on below them, even the very
    // start of the thread.
    const auto* before = thread_of(main);
    const auto start = before->start;
    void* const argument = before->argument;
    const bool is_c11 = before->is_c11;
    const InterruptMark interrupts = before->interrupts;
    const int32_t handlers_active = before->handlers_active;
    const uint64_t mask_outside = before->mask_outside;
    auto* thread = new (main->client) Thread;
    thread->start = start;
    thread->argument = argument;
    thread->is_c11 = is_c11;
    thread->interrupts = interrupts;
    thread->handlers_active = handlers_active;
    thread->mask_outside = mask_outside;
    thread_attributes_of_main(thread);
    // Set before there were fibers; threads that are made from now on inherit it.
    sched_param parameters{};
    const auto policy = static_cast<int>(host::raw_syscall(SYS_sched_getscheduler, 0L));
    if ((policy == SCHED_FIFO || policy == SCHED_RR) &&
        host::raw_syscall(SYS_sched_getparam, 0L, &parameters) == 0)
        thread_set_policy(main, policy, parameters.sched_priority);
    mutex_adopt_ceilings(main);
    shared_owner_adopt(main);
    cancel_adopt(main);
    signals_start(main);
}

bool threads_after_fork(Fiber* survivor) {
    threads_left.store(1);
    thread_of(survivor)->life.store(0);
    thread_of(survivor)->kernel_thread_locks = 0;
    // Its kernel thread has what it changed, and the child's other threads are cloned from that.
    thread_of(survivor)->has_kernel_state = false;
    thread_of(survivor)->wanted = nullptr;
    cancel_give_back(survivor);
    kernel_state_after_fork();
    signals_after_fork(survivor);
    return thread_of(survivor)->handlers_active > 0;
}

void thread_set_policy(Fiber* fiber, int policy, int priority) {
    thread_of(fiber)->policy = policy;
    thread_of(fiber)->priority = priority;
    fiber->wait_priority = policy == SCHED_FIFO || policy == SCHED_RR
                               ? raised_priority(thread_of(fiber), priority)
                               : 0;
}

int thread_create(pthread_t* out, const pthread_attr_t* attributes, void* (*start)(void*),
                  void* argument, bool is_c11) {
    ThreadAttributes wanted;
    if (const int rc = read_attributes(attributes, &wanted); rc != 0) return rc;
    Fiber* self = current_fiber();
    Fiber* fiber = fiber_create(wanted.stack_size, wanted.guard_size, wanted.stack_address);
    if (fiber == nullptr && self != nullptr) {
        // Threads that only have to be run to their end may hold the memory, and a caller that asks
        // again and again would keep them from it for its slice.
        {
            RuntimeSection section(self);
            yield(self);
        }
        fiber = fiber_create(wanted.stack_size, wanted.guard_size, wanted.stack_address);
    }
    if (fiber == nullptr) {
        host::warn_once(reported_no_stack,
                        "no memory for a thread's stack of %zu KiB (%s); "
                        "pthread_create answers EAGAIN",
                        wanted.stack_size / 1024, host::stack_last_limit());
        return EAGAIN;
    }
    auto* thread = new (fiber->client) Thread;
    thread->start = start;
    thread->argument = argument;
    thread->is_c11 = is_c11;
    thread->life.store(wanted.is_detached ? kDetached : 0);
    thread->stack_address = fiber->stack_low;
    // As libc tells them: the size rounded down to the alignment of a thread block, the guard up.
    constexpr size_t kAlignment = 64;
    thread->stack_size = wanted.stack_size;
    if (wanted.stack_address == 0) thread->stack_size &= ~(kAlignment - 1);
    // Page-aligned, since language runtimes lay guard pages of their own at the low end; the high
    // end then reaches into the thread block, as native ones do.
    constexpr uintptr_t kPage = 4096;
    if (wanted.stack_address == 0)
        thread->stack_address = (fiber->stack_top - wanted.stack_size + kPage - 1) & ~(kPage - 1);
    thread->guard_size = (wanted.guard_size + kPage - 1) & ~(kPage - 1);
    thread->has_explicit_policy = wanted.has_policy;
    if (wanted.has_policy)
        thread_set_policy(fiber, wanted.policy, wanted.priority);
    else if (self != nullptr)
        thread_set_policy(fiber, thread_of(self)->policy, thread_of(self)->priority);
    if (self != nullptr) memcpy(thread->name, thread_of(self)->name, sizeof thread->name);
    if (const int rc = kernel_state_of_new(fiber, wanted); rc != 0) {
        fiber_recycle(fiber);
        return rc;
    }
    signals_inherit(thread, self, wanted.has_mask ? &wanted.mask : nullptr);
    threads_left.fetch_add(1);
    *out = handle_of(fiber);
    fiber_spawn(fiber, thread_entry);
    let_created_run(self);
    return 0;
}

int thread_join(Fiber* fiber, void** result, int64_t deadline_ns, bool is_cancellation_point) {
    Fiber* self = current_fiber();
    if (fiber == self) return EDEADLK;
    Thread* thread = thread_of(fiber);
    uint32_t life = thread->life.load();
    do {
        if ((life & kReaped) != 0) return ESRCH;
        if ((life & (kDetached | kJoining)) != 0) return EINVAL;
    } while (!thread->life.compare_exchange_weak(life, life | kJoining));
    while ((thread->life.load() & kFinished) == 0) {
        WaitResult wait;
        {
            OptionalSection section;
            COUNT(parks_join);
            if (self == nullptr || !is_cancellation_point || !cancellation_is_due(self))
                wait = wait_on_address(&thread->life, not_finished, nullptr, nullptr, deadline_ns,
                                       WaitReason::kJoin);
        }
        if (wait.validated && wait.outcome == Wake::kTimeout &&
            (thread->life.load() & kFinished) == 0) {
            give_up_join(fiber);
            return ETIMEDOUT;
        }
        if (self != nullptr && is_cancellation_point && cancellation_is_due(self)) {
            give_up_join(fiber);
            cancellation_point(self);
        }
    }
    return take_result(fiber, result);
}

int thread_try_join(Fiber* fiber, void** result) {
    Thread* thread = thread_of(fiber);
    uint32_t life = thread->life.load();
    if ((life & kReaped) != 0) return ESRCH;
    if ((life & kFinished) == 0) return EBUSY;  // also when it is detached
    if ((life & (kDetached | kJoining)) != 0) return EINVAL;
    if (!thread->life.compare_exchange_strong(life, life | kJoining)) return EINVAL;
    return take_result(fiber, result);
}

int thread_detach(Fiber* fiber) {
    Thread* thread = thread_of(fiber);
    uint32_t life = thread->life.load();
    do {
        if ((life & kReaped) != 0) return ESRCH;
        if ((life & kDetached) != 0) return EINVAL;
    } while (!thread->life.compare_exchange_weak(life, life | kDetached));
    if ((life & (kFinished | kJoining)) == kFinished && fiber != main_fiber()) fiber_recycle(fiber);
    return 0;
}

bool thread_is_detached(const Thread* thread) { return (thread->life.load() & kDetached) != 0; }

void thread_exit(void* result) {
    if (Fiber* fiber = current_fiber()) thread_of(fiber)->result = result;
    // A process that runs on kernel threads has looked nothing up.
    auto libc_exit = host::real.pthread_exit;
    if (libc_exit == nullptr)
        libc_exit = reinterpret_cast<void (*)(void*)>(host::libc_symbol("pthread_exit"));
    libc_exit(result);
    __builtin_unreachable();
}

int run_main(int (*main)(int, char**, char**), int argc, char** argv, char** envp) {
    __pthread_unwind_buf_t frame;
    if (__sigsetjmp(reinterpret_cast<__jmp_buf_tag*>(frame.__cancel_jmp_buf), 0) == 0) {
        __pthread_register_cancel(&frame);
        const int status = main(argc, argv, envp);
        __pthread_unregister_cancel(&frame);
        return status;
    }
    if (current_fiber() != nullptr) end_thread(true);
    // pthread_exit in a process that never had a second thread: it was the last one.
    exit(0);
}

Fiber* fiber_of_clock(clockid_t clock) {
    constexpr int kKind = 7, kThread = 6;
    if (clock >= 0 || (clock & kKind) != kThread) return nullptr;
    return fiber_with_tid(~static_cast<uint32_t>(clock >> 3));
}

void set_thread_name(Fiber* fiber, const char* name) {
    Thread* thread = thread_of(fiber);
    size_t length = strnlen(name, sizeof thread->name - 1);
    memcpy(thread->name, name, length);
    memset(thread->name + length, 0, sizeof thread->name - length);
    int tid = 0;
    if (fiber == main_fiber())
        tid = host::raw_getpid();
    else if (thread->has_kernel_state)
        tid = worker_tid(fiber);
    if (tid == 0) return;
    host::Line path;
    path.add("/proc/self/task/%d/comm", tid);
    const long fd = host::optional_syscall(host::kOpenat, SYS_openat, AT_FDCWD, path.text(),
                                           O_WRONLY | O_CLOEXEC);
    if (host::is_error(fd)) return;
    host::raw_write(static_cast<int>(fd), thread->name, length);
    host::raw_close(static_cast<int>(fd));
}

const char* thread_name(const void* client) { return static_cast<const Thread*>(client)->name; }

}  // namespace pfiber::shim
