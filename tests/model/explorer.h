// An interleaving explorer: runs a small scenario of virtual threads over code that is a template
// of its platform, under every schedule with at most `bound` preemptions, on memory as x86 has it
// (total store order).
//
// Each operation on an atomic, each chaos_point() and each lock operation is a scheduling point.
// The threads run one at a time on stacks of their own, so a schedule is the list of who goes on at
// each point, and can be printed and repeated.  Search is depth first: the last choice with an
// untried alternative is changed, everything before it is replayed. A scenario fails by a deadlock
// (all unfinished threads blocked), by fail(), or by its final check.
//
// A plain store goes into its thread's buffer: the thread itself sees it, others do not.  What can
// be told from memory without buffers is a load that is done while older stores are still there, so
// the choice is made at the load: it lets them out first, or passes the newest k of them, at most
// `delays` times in a schedule.  A store that was passed leaves in its turn: when its thread does a
// locked operation or a fence, or at any point at which the schedule says so (as a preemption).
#pragma once

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "scheduler/host/context.h"

namespace pfiber::model {

struct Scenario {
    std::vector<std::function<void()>> threads;
    std::function<std::string()> check;  // after all threads ended; "" is well
    std::shared_ptr<void> state;         // keeps what the threads share
};

struct Result {
    long schedules = 0;
    long steps = 0;
    long delayed = 0;     // loads that passed older stores
    std::string failure;  // empty: every schedule was well
};

// A store on its way to memory.
struct BufferedStore {
    void* cell;
    void (*write)(void* cell, uint64_t bits);
    uint64_t bits;
};

class Explorer {
  public:
    static constexpr int kMaxSteps = 20000;  // in one schedule: more is a livelock
#ifdef __SANITIZE_ADDRESS__
    static constexpr long kMostSchedules = 20000;  // looks at memory, not at interleavings
#else
    static constexpr long kMostSchedules = INT64_MAX;
#endif

    explicit Explorer(int bound, int delays = 1) : bound_(bound), delays_(delays) {}

    Result explore(const std::function<Scenario()>& make) {
        Result result;
        do {
            result.schedules++;
            Scenario scenario = make();
            run(scenario);
            result.steps += step_count_;
            result.delayed += delays_taken_;
            if (failure_.empty() && scenario.check) failure_ = scenario.check();
            if (!failure_.empty()) {
                result.failure = failure_ + "\n  schedule:" + describe() + "\n  run " +
                                 std::to_string(result.schedules);
                return result;
            }
        } while (result.schedules < kMostSchedules && advance());
        return result;
    }

    // ---- called on virtual threads; elsewhere (set-up, final check) they do nothing

    static bool is_running() { return active_ != nullptr; }
    static void point() {
        if (active_ != nullptr) active_->leave(nullptr);
    }
    // Blocks until the condition holds; it is evaluated between the steps of others.
    static void wait_until(const std::function<bool()>& condition) {
        if (active_ == nullptr) {
            if (!condition()) std::abort();  // nobody else runs
            return;
        }
        active_->leave(&condition);
    }
    static void fail(const std::string& message) {
        if (active_ != nullptr && active_->failure_.empty()) active_->failure_ = message;
    }

    // The store buffer of the running thread.  False: nothing buffers here, write at once.
    static bool buffer_store(const BufferedStore& store) {
        if (active_ == nullptr) return false;
        active_->running().buffer.push_back(store);
        return true;
    }
    // The newest store to `cell` that is still in the buffer, or null.
    static const BufferedStore* forwarded(const void* cell) {
        if (active_ == nullptr) return nullptr;
        const auto& buffer = active_->running().buffer;
        for (size_t i = buffer.size(); i > 0; i--)
            if (buffer[i - 1].cell == cell) return &buffer[i - 1];
        return nullptr;
    }
    static void before_load() {
        if (active_ != nullptr) active_->pass_or_let_out();
    }
    static void drain() {  // a locked operation or a fence
        if (active_ != nullptr) let_out_all(active_->running());
    }

    // membarrier: every thread's buffer.
    static void drain_everybody() {
        if (active_ == nullptr) return;
        for (Thread& thread : active_->threads_) let_out_all(thread);
    }

    // In a loop that waits for others without sleeping: they go first, if any of them can.
    static void give_way() {
        if (active_ == nullptr) return;
        active_->running().gave_way_at = active_->turns_;
        active_->leave(nullptr);
    }

    // A sleep in the kernel under a key, and the end of up to `count` of them.  One with a deadline
    // ends at any time (as a preemption), and when nobody else can go on.
    static void sleep_on(const void* key, bool has_deadline = false) {
        bool is_woken = false;
        Sleeper sleeper{key, &is_woken, has_deadline, active_->current_};
        active_->sleepers_.push_back(sleeper);
        wait_until([&is_woken] { return is_woken; });
    }
    static void wake_sleepers(const void* key, int count) {
        if (active_ == nullptr) return;
        auto& sleepers = active_->sleepers_;
        for (size_t i = 0; i < sleepers.size() && count > 0;) {
            if (sleepers[i].key != key) {
                i++;
                continue;
            }
            *sleepers[i].is_woken = true;
            sleepers.erase(sleepers.begin() + static_cast<long>(i));
            count--;
        }
    }

  private:
    struct Choice {
        std::vector<int> options;
        size_t index = 0;
    };

    struct Thread {
        host::Context context = nullptr;
        const std::function<void()>* body = nullptr;
        const std::function<bool()>* blocked_on = nullptr;
        bool is_finished = false;
        long gave_way_at = -1;
        std::vector<BufferedStore> buffer;  // oldest first
        size_t passed = 0;                  // the oldest so many were passed by a load
        std::unique_ptr<char[]> stack;
    };

    struct Sleeper {
        const void* key;
        bool* is_woken;
        bool has_deadline;
        int thread;
    };

    static constexpr size_t kStackSize = 128 * 1024;
    static constexpr int kLetOut = 1000;   // option: the oldest store of thread n - kLetOut
    static constexpr int kTimeOut = 2000;  // option: thread n - kTimeOut, whose deadline is over

    Thread& running() { return threads_[static_cast<size_t>(current_)]; }

    void run(const Scenario& scenario);
    void enter(int next);
    static void thread_main(host::Transfer arrived);
    void leave(const std::function<bool()>* condition);

    // ---- stores on their way
    static void let_out_oldest(Thread& thread);
    static void let_out_all(Thread& thread);
    // The thread does not go on for now.  Stores that no load passed yet could as well be done
    // later than what others do next, which other schedules show; those behind a passed one stay.
    static void settle(Thread& thread);
    void pass_or_let_out();

    // ---- the search
    bool is_enabled(int index) const;
    // Conditions read atomics; those reads are no steps.
    static bool without_points(const std::function<bool()>& condition);
    // Index of the option that this schedule takes.
    size_t pick(const std::vector<int>& options);
    // False: it gave way, and nobody else ran since.
    bool is_due(int index) const;
    void end_sleep(int thread);
    // Who can go on, the running thread first, and stores that can leave their buffer.
    std::vector<int> options_now(bool can_go_on) const;
    // Who goes on: -1 when all are finished, or on failure.
    int choose();
    // The next schedule in the order of the search; false: all were run.
    bool advance();
    std::string describe() const;

    static inline Explorer* active_ = nullptr;

    const int bound_;
    const int delays_;
    std::vector<Thread> threads_;
    std::vector<Sleeper> sleepers_;
    int count_ = 0;
    int current_ = -1;
    host::Context controller_ = nullptr;
    std::vector<Choice> choices_;
    size_t depth_ = 0;
    int preemptions_ = 0;
    int delays_taken_ = 0;
    int step_count_ = 0;
    long turns_ = 0;  // of one thread after another
    std::vector<int> taken_;
    std::string failure_;
};

}  // namespace pfiber::model

#include "tests/model/explorer_search.h"
