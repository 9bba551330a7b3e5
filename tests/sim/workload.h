// What simulated programs are written with: fibers, waiting, sockets, calls, CPU time.
#pragma once

#include <functional>
#include <vector>

#include "scheduler/runtime.h"
#include "tests/sim/check.h"
#include "tests/sim/kernel.h"

namespace pfiber::sim {

inline Random g_program;  // the program's own randomness, apart from the machine's

struct Workload {
    const char* name;
    void (*main)();  // on the main fiber; returns when everything was verified
};
extern const Workload kWorkloads[];
extern const int kWorkloadCount;
constexpr int kAloneCount = 2;  // the last ones, whose bounds are of a fixed number of processors

Fiber* go(std::function<void()> body);
Fiber* self();

// Parks until open() was called; as often as one likes.
class Gate {
  public:
    void open();
    Wake wait(int64_t deadline_ns = kNever, WaitReason reason = WaitReason::kCond);
    bool is_open = false;

  private:
    std::vector<FiberRef> waiters_;
};

// A counter with waiters: post() adds one, take() waits for one.  Settles counts by hand-over, so a
// lost or doubled wake-up leaves a waiter behind.
class Semaphore {
  public:
    void post();  // also from foreign threads
    // False: the deadline passed first.
    bool take(int64_t deadline_ns = kNever);
    int64_t count = 0;

  private:
    struct Waiter {
        FiberRef who;
        bool* is_given;
    };
    std::vector<Waiter> waiters_;
};

// Waits for a number of fibers to be done.
class Group {
  public:
    explicit Group(int64_t count) : left_(count) {}
    void done();
    void wait();
    int64_t left() const { return left_; }

  private:
    int64_t left_;
    Gate gate_;
};

// A kernel thread that pfiber does not run, and its sleep.
void start_foreign(std::function<void()> body);
void nap(int64_t ns);

// ---- what a program does

int64_t now();
void burn(int64_t ns);           // CPU time in program code
void sleep_for(int64_t ns);      // parks; checks how late it is
void short_call(int64_t ns);     // a call that may block and sleeps so long
void blocking_call(int64_t ns);  // one that hands the processor off first
void unseen_call(int64_t ns);    // blocks where no hook sees it
void let_others();               // sched_yield
void end_turn();                 // what a fiber does whose calls never wait (W7)
void some_call();                // a hooked call that never waits

constexpr long kTimedOut = -1000;
long socket_receive(int fd, int64_t deadline_ns = kNever);
long socket_send(int fd);
long socket_accept(int fd);
void socket_close(int fd);

inline int64_t g_lateness_bound_ns = 3000000;
inline int64_t g_latest_ns = 0;

// Notes how long something took that has a bound, and fails beyond it.
void measured(int64_t ns, int64_t bound_ns, const char* what);
inline int64_t g_longest_ns = 0, g_longest_bound_ns = 0;

[[noreturn]] void workload_start(void* argument);

}  // namespace pfiber::sim
