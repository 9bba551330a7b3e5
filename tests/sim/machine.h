// The simulated machine: CPUs, kernel threads and virtual time, on one real thread.
//
// A kernel thread is a coroutine.  At each step (platform.h) the machine may go on with another
// kernel thread that has a CPU; which one, and for how many steps, is drawn from the seed.  Time
// advances with the steps, shared by all that step at once, and jumps when nobody steps.
#pragma once

#include <signal.h>

#include <atomic>
#include <boost/context/detail/fcontext.hpp>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "tests/sim/platform.h"

namespace pfiber {
struct Fiber;
struct Worker;
extern __thread Fiber* t_current __attribute__((tls_model("initial-exec")));
}  // namespace pfiber

namespace pfiber::sim {

struct Random {
    uint64_t state = 1;
    uint64_t next() {
        state += 0x9e3779b97f4a7c15u;
        uint64_t x = state;
        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
        x = (x ^ x >> 27) * 0x94d049bb133111ebu;
        return x ^ x >> 31;
    }
    int64_t below(int64_t n) { return static_cast<int64_t>(next() % static_cast<uint64_t>(n)); }
    int64_t between(int64_t low, int64_t high) { return low + below(high - low + 1); }
    bool one_in(int64_t n) { return n > 0 && below(n) == 0; }
    // Spread evenly over the orders of magnitude up to `most`.
    int64_t skewed(int64_t most) {
        const auto bits = below(64 - __builtin_clzll(static_cast<uint64_t>(most) | 1) + 1);
        const int64_t limit = int64_t{1} << bits;
        return below((limit < most ? limit : most) + 1);
    }
};

struct Config {
    uint64_t seed = 1;
    int processors = 2;
    int cpus = 2;
    const char* workload = "mix";
    int64_t steps = 0;    // a run that needs more has failed; 0: by its size
    bool faults = false;  // system calls of the runtime fail at random
    bool verbose = false;
    const char* pollers = nullptr;  // processor, global; null: by the seed
};
inline Config g_config;
bool refuses_every_thread();  // after the start, for the whole run
inline int64_t g_threads_refused = 0;

enum class Run : uint8_t { kDead, kWaitsForCpu, kOnCpu, kBlocked, kWaking };
enum class Blocked : uint8_t { kNone, kFutex, kEpoll, kSleep, kStall };
enum class Ended : uint8_t { kWoken, kTimeout, kSignal };

struct KernelThread {
    int tid = 0;
    boost::context::detail::fcontext_t context = nullptr;
    uintptr_t fs = 0;  // thread pointer: the address of its value of t_current
    void (*entry)(void*) = nullptr;
    void* argument = nullptr;
    std::atomic<int>* tid_word = nullptr;
    Run run = Run::kDead;
    uint32_t priority = 0;
    int64_t steps_alone = 0;

    bool computing = false;  // burns CPU time without a step
    int64_t compute_left_ps = 0, compute_since_ps = 0;
    int64_t cpu_ps = 0, on_cpu_since_ps = 0, slice_end_ps = 0;

    Blocked blocked = Blocked::kNone;
    bool interruptible = false;
    int64_t wake_at_ps = INT64_MAX;
    Ended ended = Ended::kWoken;
    const void* place = nullptr;  // futex word or epoll file

    bool timer_signal = false, kill_signal = false;
    uint64_t mask = 0;
    int64_t timer_period_ps = 0, timer_next_ps = INT64_MAX;  // in its CPU time
};

// What a signal handler gets as its context.
struct SignalContext {
    uintptr_t stack_pointer = 0;
    unsigned long pc = 0;
};

class Machine {
  public:
    std::vector<KernelThread*> threads;
    KernelThread* self = nullptr;
    Random random;  // scheduling
    int64_t steps = 0;
    int64_t sleeps_ended = 0;  // blocking kernel calls that returned: what "idle" must not do
    void (*signal_handler)(int, siginfo_t*, void*) = nullptr;
    void (*watch)() = nullptr;      // called now and then between two steps
    void (*quiescent)() = nullptr;  // called when every kernel thread sleeps
    void (*stuck)() = nullptr;      // ... and nothing will ever wake one

    void start(void (*main)(void*), void* argument, size_t stack_size);
    KernelThread* create(uintptr_t fs, void* stack_top, size_t stack_size, void (*entry)(void*),
                         void* argument, std::atomic<int>* tid_word);
    [[noreturn]] void exit_thread();

    // Blocks the running kernel thread until wake() or the deadline.
    Ended block(Blocked why, const void* place, int64_t deadline_ns, bool interruptible);
    void wake(KernelThread* thread, Ended how);
    void compute(int64_t ns);
    void send_signal(KernelThread* thread, bool is_timer);
    void deliver_signals();
    void at(int64_t ns, std::function<void()> happen);
    KernelThread* find(int tid);
    int64_t cpu_ps(const KernelThread* thread) const;
    void decide();  // next scheduling decision; called by step_slow()
    void lower_priority();
    void calm();  // from now on nothing stalls and wake-ups take 5 us: for bounds in virtual time

    int64_t now_ns() const { return g_clock_ps / 1000; }
    static int64_t next_due_ns() { return g_due_ps / 1000; }
    bool has_runnable() const { return !on_cpu_.empty() || !queue_.empty() || waking_ > 0; }
    size_t on_cpu_count() const { return on_cpu_.size(); }

  private:
    void take_cpu(KernelThread* thread);
    void leave_cpu(KernelThread* thread);
    void fill_cpus();
    void things_due();
    void compute_due();
    void wake_at(KernelThread* thread, int64_t ps);  // INT64_MAX: never
    void schedule();
    void switch_to(KernelThread* next);
    KernelThread* choose();
    void new_quantum();
    void settle(KernelThread* thread);

    std::vector<KernelThread*> on_cpu_, queue_;
    std::multimap<int64_t, std::function<void()>> world_;
    std::multiset<int64_t> sleeping_;  // when those wake that have a time for it
    int waking_ = 0, stalled_ = 0;
    int next_tid_ = 4000;
    int64_t watch_at_ps_ = 0;
    // The character of this run, drawn from the seed.
    int64_t mean_quantum_ = 20;
    bool by_priority_ = false;
    int64_t stall_one_in_ = 0;
    int64_t wake_latency_ns_ = 0;
    int64_t kernel_slice_ns_ = 3000000;
    int32_t given_quantum_ = 0;
};
extern Machine g_machine;

// ---- what happened, for the report of a failure

enum class Event : uint8_t {
    kSwitch,
    kBlock,
    kWake,
    kThread,
    kThreadEnd,
    kSignal,
    kEpollEvent,
    kWrite,
    kNote,
};
void record(Event event, int64_t a = 0, int64_t b = 0, const char* text = "");
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));
void finish_run();  // the workload is done: ends the process with success
extern void (*g_dump)();

// What the affinity mask and the cgroup limit give.
inline int g_default_processors = 1;

}  // namespace pfiber::sim
