// See workload.h.
#include "tests/sim/workload.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "scheduler/base/counters.h"
#include "scheduler/base/options.h"
#include "scheduler/host/report.h"

namespace pfiber::sim {

namespace {

constexpr size_t kStack = 96 * 1024;

void fiber_body(Fiber* fiber) {
    check_program(fiber);
    auto* body = *reinterpret_cast<std::function<void()>**>(fiber->client);
    (*body)();
    check_program(fiber);
    delete body;
    RuntimeSection::enter(fiber);
    fiber_finish(fiber);
}

void fiber_finished(Fiber* fiber) {
    if (fiber != main_fiber()) fiber_recycle(fiber);
}

void open_mask(Worker* worker) {
    if (worker->mask_generation == 1) return;
    worker->mask_generation = 1;
    worker->kernel_mask = 0;
    g_machine.self->mask = 0;
}

}  // namespace

Fiber* self() {
    Fiber* fiber = current_fiber();
    check_program(fiber);
    return fiber;
}

Fiber* go(std::function<void()> body) {
    Fiber* fiber = fiber_create(kStack, 4096, 0);
    if (fiber == nullptr) fail("no memory for a fiber");
    *reinterpret_cast<std::function<void()>**>(fiber->client) =
        new std::function<void()>(std::move(body));
    fiber_spawn(fiber, fiber_body);
    return fiber;
}

// Between two steps the machine runs nothing else, so plain members need no lock.
void Gate::open() {
    is_open = true;
    const std::vector<FiberRef> waiters = std::move(waiters_);
    waiters_.clear();
    OptionalSection section;
    for (const FiberRef& who : waiters) wake(who, Wake::kReady);
}

Wake Gate::wait(int64_t deadline_ns, WaitReason reason) {
    Fiber* fiber = self();
    RuntimeSection section(fiber);
    while (!is_open) {
        const uint32_t sequence = fiber->park.arm();
        if (is_open) {
            fiber->park.cancel();
            break;
        }
        waiters_.push_back({fiber, sequence});
        const Wake outcome = park(fiber, reason, deadline_ns);
        if (outcome != Wake::kReady) return outcome;
    }
    return Wake::kReady;
}

void Semaphore::post() {
    OptionalSection section;
    while (!waiters_.empty()) {
        const Waiter first = waiters_.front();
        waiters_.erase(waiters_.begin());
        // Before the wake: from then on the flag's frame may be gone.  Taken back on failure, when
        // nobody looks at it any more.
        const auto claim = first.who.fiber->park.claim(first.who.sequence, Wake::kReady);
        if (claim == ParkWord<Platform>::Claim::kFailed) continue;
        *first.is_given = true;
        if (claim == ParkWord<Platform>::Claim::kMustReady) ready(first.who.fiber, true);
        return;
    }
    count++;
}

bool Semaphore::take(int64_t deadline_ns) {
    Fiber* fiber = self();
    RuntimeSection section(fiber);
    for (;;) {
        if (count > 0) {
            count--;
            return true;
        }
        const uint32_t sequence = fiber->park.arm();
        if (count > 0) {
            fiber->park.cancel();
            continue;
        }
        bool is_given = false;
        waiters_.push_back({{fiber, sequence}, &is_given});
        const Wake outcome = park(fiber, WaitReason::kSemaphore, deadline_ns);
        waiters_.erase(std::remove_if(waiters_.begin(), waiters_.end(),
                                      [fiber, sequence](const Waiter& waiter) {
                                          return waiter.who.fiber == fiber &&
                                                 waiter.who.sequence == sequence;
                                      }),
                       waiters_.end());
        if (outcome == Wake::kReady) return true;
        if (outcome == Wake::kTimeout) return false;
        // Interrupted: leave the runtime, so that the handler runs, and wait again.
        RuntimeSection::leave(fiber);
        RuntimeSection::enter(fiber);
    }
}

void Group::done() {
    if (--left_ < 0) fail("more fibers are done than there are");
    if (left_ == 0) gate_.open();
}

void Group::wait() { gate_.wait(); }

namespace {

// A foreign kernel thread: t_current is null on it.
struct Foreign {
    std::function<void()> body;
    std::atomic<int> tid{0};
    Fiber* identity = nullptr;
};

void foreign_entry(void* argument) {
    auto* thread = static_cast<Foreign*>(argument);
    thread->body();
    g_machine.exit_thread();
}

}  // namespace

void start_foreign(std::function<void()> body) {
    constexpr size_t kStack = 128 * 1024;
    auto* thread = new Foreign;
    thread->body = std::move(body);
    void* stack = mmap(nullptr, kStack, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    g_machine.create(reinterpret_cast<uintptr_t>(&thread->identity),
                     static_cast<char*>(stack) + kStack, kStack, foreign_entry, thread,
                     &thread->tid);
}

void nap(int64_t ns) {
    step(250);
    g_machine.block(Blocked::kSleep, nullptr, g_machine.now_ns() + ns, false);
}

void measured(int64_t ns, int64_t bound_ns, const char* what) {
    if (ns > g_longest_ns) {
        g_longest_ns = ns;
        g_longest_bound_ns = bound_ns;
    }
    if (g_config.faults) bound_ns *= g_config.processors + 1;  // the kernel may have no threads
    if (ns > bound_ns)
        fail("fairness: %s for %lld us, at most %lld are allowed", what,
             static_cast<long long>(ns / 1000), static_cast<long long>(bound_ns / 1000));
}

// ---- what a program does

int64_t now() { return SimPlatform::now_ns(); }

void burn(int64_t ns) {
    Fiber* fiber = self();
    if (ns > 0) g_machine.compute(ns);
    check_program(fiber);
}

void sleep_for(int64_t ns) {
    Fiber* fiber = self();
    const int64_t deadline = now() + ns;
    for (Wake outcome = Wake::kSignal; outcome != Wake::kTimeout;) {
        RuntimeSection section(fiber);  // left after an interruption, so that its handler runs
        fiber->park.arm();
        outcome = park(fiber, WaitReason::kSleep, deadline);
    }
    const int64_t late = g_machine.now_ns() - deadline;
    if (late < 0) fail("a sleep of %lld ns ended %lld ns early", (long long)ns, (long long)-late);
    if (late > g_latest_ns) g_latest_ns = late;
    if (late > g_lateness_bound_ns)
        fail("T1: a timer was %lld us late", static_cast<long long>(late / 1000));
    check_program(fiber);
}

namespace {

// The kernel puts the caller to sleep; a signal ends it early, and the program sleeps on.
void kernel_sleep(int64_t ns) {
    step(250);
    const int64_t until = g_machine.now_ns() + ns;
    while (g_machine.now_ns() < until &&
           g_machine.block(Blocked::kSleep, nullptr, until, true) == Ended::kSignal)
        g_machine.deliver_signals();
}

}  // namespace

void short_call(int64_t ns) {
    Fiber* fiber = self();
    enter_call(fiber);
    if (ns > 0) kernel_sleep(ns);
    exit_call(fiber);
    check_program(fiber);
}

void blocking_call(int64_t ns) {
    Fiber* fiber = self();
    enter_blocking_call(fiber);
    kernel_sleep(ns);
    exit_call(fiber);
    check_program(fiber);
}

void unseen_call(int64_t ns) {
    Fiber* fiber = self();
    kernel_sleep(ns);
    RuntimeSection section(fiber);
    const Processor* mine = fiber->worker->processor;
    for (int i = 0; i < 400; i++) Platform::chaos_point();
    if (fiber->worker->processor != mine) fail("W5: a processor was taken inside the runtime");
}

void some_call() {
    RuntimeSection section(self());
    step(100);
}

void let_others() {
    Fiber* fiber = self();
    RuntimeSection section(fiber);
    yield(fiber);
}

void end_turn() {
    Fiber* fiber = self();
    RuntimeSection section(fiber);
    leave_fiber(fiber, AfterSwitch::kYieldLocal);
}

namespace {

// One try of a call; sockets behave as the hooks of interpose/ do.
template <class Try>
long until_done(int fd, Direction direction, int64_t deadline_ns, Try attempt) {
    Fiber* fiber = self();
    RuntimeSection section(fiber);
    bool is_private = false;
    for (;;) {
        Descriptor* descriptor = descriptor_of(fd);
        const bool had = io_clear_ready(descriptor, direction);
        const long result = attempt(fd);
        if (result != -EAGAIN) {
            if (had && result >= 0) io_restore_ready(descriptor, direction);
            if (is_private) io_release_private(fd);
            return result;
        }
        IoWaiter waiter;
        waiter.fd = fd;
        waiter.directions = direction;
        waiter.is_exclusive = true;
        bool is_unpollable = false;
        const Wake outcome =
            io_wait(fiber, &waiter, 1, deadline_ns, WaitReason::kIo, &is_unpollable);
        if (is_unpollable) {  // the call keeps its kernel thread
            RuntimeSection::leave(fiber);
            blocking_call(2000000);
            RuntimeSection::enter(fiber);
            if (now() >= deadline_ns) return kTimedOut;
        } else if (outcome == Wake::kTimeout) {
            if (is_private) io_release_private(fd);
            return kTimedOut;
        } else if (outcome == Wake::kClosed) {
            if (waiter.fd == fd) return -EBADF;
            if (is_private) io_release_private(fd);
            fd = waiter.fd;
            is_private = true;
        } else if (outcome != Wake::kReady) {
            RuntimeSection::leave(fiber);
            RuntimeSection::enter(fiber);
        }
    }
}

}  // namespace

long socket_receive(int fd, int64_t deadline_ns) {
    return until_done(fd, kRead, deadline_ns, [](int number) { return g_kernel.receive(number); });
}

long socket_send(int fd) {
    return until_done(fd, kWrite, kNever, [](int number) { return g_kernel.send(number); });
}

long socket_accept(int fd) {
    const long made =
        until_done(fd, kRead, kNever, [](int number) { return g_kernel.accept(number); });
    if (made >= 0) {
        RuntimeSection section(self());
        descriptor_opened(static_cast<int>(made), DescriptorKind::kSocket, true);
    }
    return made;
}

void socket_close(int fd) {
    RuntimeSection section(self());
    descriptor_closing(fd);
    g_kernel.close(fd);
}

// ---- the run

namespace {

int messages_fd;

// Warnings are part of many runs; a fatal one is shown with the state.
void keep_messages() {
    messages_fd = memfd_create("messages", 0);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", messages_fd);
    host::report_init(path);
    host::report_set_fatal_hook([] {
        char text[2048];
        const off_t end = lseek(messages_fd, 0, SEEK_END);
        const off_t from = end > 600 ? end - 600 : 0;
        const ssize_t size = pread(messages_fd, text, sizeof text - 1, from);
        text[size < 0 ? 0 : size] = 0;
        fail("%s", text);
    });
}

}  // namespace

void workload_start(void*) {
    keep_messages();
    g_program.state = g_config.seed;
    detail::g_options.gomaxprocs = g_config.processors;
    if (strcmp(g_config.workload, "resizing") == 0)
        detail::g_options.gomaxprocs = g_program.between(1, g_config.processors);
    detail::g_options.spare_ms = g_program.one_in(2) ? 5000 : 1 + g_program.below(20);
    if (g_program.one_in(4)) detail::g_options.pollers = Pollers::kGlobal;
    if (g_config.pollers != nullptr)
        detail::g_options.pollers =
            strcmp(g_config.pollers, "global") == 0 ? Pollers::kGlobal : Pollers::kProcessor;
    const int mode = static_cast<int>(g_program.below(4));
    if (mode == 0) detail::g_options.preempt = Preempt::kTgkill;
    if (mode == 1) detail::g_options.preempt = Preempt::kTimer;
    // Everybody enters hooks there.
    if (mode == 2 && strcmp(g_config.workload, "tight_pair") == 0)
        detail::g_options.preempt = Preempt::kOff;
    // Threads that wait for a CPU, and not the scheduler, decide on a machine that is too small.
    const int64_t share = g_config.processors / g_config.cpus;
    if (share > 0) g_lateness_bound_ns += share * 8000000;
    // Calls may take up every thread that there is.
    if (refuses_every_thread()) g_lateness_bound_ns += 1000000000;
    g_machine.watch = check_now_and_then;
    g_machine.quiescent = check_quiescent;
    g_machine.stuck = [] { fail("nothing can run any more and the program has not ended"); };
    const char* reason = nullptr;
    if (!runtime_start(&reason)) fail("runtime_start: %s", reason);
    runtime_callbacks.finished = fiber_finished;
    runtime_callbacks.worker_mask = open_mask;
    g_machine.self->mask = 0;
    for (int i = 0; i < kWorkloadCount; i++) {
        if (strcmp(kWorkloads[i].name, g_config.workload) != 0) continue;
        kWorkloads[i].main();
        self();
        if (g_config.verbose)
            fprintf(stderr,
                    "done at %.3f us after %lld steps, latest timer %lld ns, longest %lld of "
                    "%lld us\n",
                    static_cast<double>(g_machine.now_ns() - 1000000000) / 1000,
                    static_cast<long long>(g_machine.steps), static_cast<long long>(g_latest_ns),
                    static_cast<long long>(g_longest_ns / 1000),
                    static_cast<long long>(g_longest_bound_ns / 1000));
        _exit(0);
    }
    fail("no workload %s", g_config.workload);
}

}  // namespace pfiber::sim
