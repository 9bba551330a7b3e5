// An interleaving explorer: runs a small scenario of virtual threads over code that is a template
// of its platform, under every schedule with at most `bound` preemptions.
//
// Each operation on an atomic, each chaos_point() and each lock operation is a scheduling point.
// The threads run one at a time on stacks of their own, so a schedule is the list of who goes on at
// each point, and can be printed and repeated.  Search is depth first: the last choice with an
// untried alternative is changed, everything before it is replayed. A scenario fails by a deadlock
// (all unfinished threads blocked), by fail(), or by its final check. Memory is sequentially
// consistent here: weaker orders are x86's business and the review's.
#pragma once

#include <atomic>
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
    std::string failure;  // empty: every schedule was well
};

class Explorer {
  public:
    static constexpr int kMaxSteps = 20000;  // in one schedule: more is a livelock

    explicit Explorer(int bound) : bound_(bound) {}

    Result explore(const std::function<Scenario()>& make) {
        Result result;
        do {
            result.schedules++;
            Scenario scenario = make();
            run(scenario);
            result.steps += step_count_;
            if (failure_.empty() && scenario.check) failure_ = scenario.check();
            if (!failure_.empty()) {
                result.failure = failure_ + "\n  schedule:" + describe() + "\n  run " +
                                 std::to_string(result.schedules);
                return result;
            }
        } while (advance());
        return result;
    }

    // ---- called on virtual threads; elsewhere (set-up, final check) they do nothing

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
    static int self() { return active_ == nullptr ? -1 : active_->current_; }

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
        std::unique_ptr<char[]> stack;
    };

    static constexpr size_t kStackSize = 128 * 1024;

    void run(const Scenario& scenario) {
        while (threads_.size() < scenario.threads.size()) {
            threads_.emplace_back();
            threads_.back().stack = std::make_unique<char[]>(kStackSize);
        }
        count_ = static_cast<int>(scenario.threads.size());
        for (int i = 0; i < count_; i++) {
            Thread& thread = threads_[static_cast<size_t>(i)];
            thread.body = &scenario.threads[static_cast<size_t>(i)];
            thread.blocked_on = nullptr;
            thread.is_finished = false;
            thread.context =
                host::make_context(thread.stack.get() + kStackSize, kStackSize, thread_main);
        }
        failure_.clear();
        taken_.clear();
        depth_ = 0;
        preemptions_ = 0;
        step_count_ = 0;
        current_ = -1;
        active_ = this;
        for (;;) {
            const int next = choose();
            if (next < 0) break;
            taken_.push_back(next);
            current_ = next;
            Thread& thread = threads_[static_cast<size_t>(next)];
            thread.blocked_on = nullptr;
            thread.context = host::jump(thread.context, this).fctx;
            if (!failure_.empty()) break;
            if (++step_count_ > kMaxSteps) {
                failure_ = "livelock: too many steps";
                break;
            }
        }
        active_ = nullptr;
    }

    static void thread_main(host::Transfer arrived) {
        auto* self = static_cast<Explorer*>(arrived.data);
        self->controller_ = arrived.fctx;
        Thread& thread = self->threads_[static_cast<size_t>(self->current_)];
        (*thread.body)();
        thread.is_finished = true;
        host::jump(self->controller_, nullptr);
        std::abort();
    }

    void leave(const std::function<bool()>* condition) {
        threads_[static_cast<size_t>(current_)].blocked_on = condition;
        controller_ = host::jump(controller_, nullptr).fctx;
    }

    bool is_enabled(int index) const {
        const Thread& thread = threads_[static_cast<size_t>(index)];
        if (thread.is_finished) return false;
        return thread.blocked_on == nullptr || without_points(*thread.blocked_on);
    }

    // Conditions read atomics; those reads are no steps.
    static bool without_points(const std::function<bool()>& condition) {
        Explorer* const active = active_;
        active_ = nullptr;
        const bool holds = condition();
        active_ = active;
        return holds;
    }

    // Who goes on: -1 when all are finished, or on failure.
    int choose() {
        std::vector<int> options;
        bool all_finished = true;
        const bool can_go_on = current_ >= 0 && is_enabled(current_);
        if (can_go_on) options.push_back(current_);
        for (int i = 0; i < count_; i++) {
            if (!threads_[static_cast<size_t>(i)].is_finished) all_finished = false;
            if (i == current_) continue;
            if (can_go_on && preemptions_ >= bound_) continue;
            if (is_enabled(i)) options.push_back(i);
        }
        if (all_finished) return -1;
        if (options.empty()) {
            failure_ = "deadlock";
            return -1;
        }
        size_t index = 0;
        if (options.size() > 1) {
            if (depth_ < choices_.size()) {
                if (choices_[depth_].options != options) {
                    failure_ = "the scenario is not deterministic";
                    return -1;
                }
            } else {
                choices_.push_back({options, 0});
            }
            index = choices_[depth_++].index;
        }
        if (can_go_on && index != 0) preemptions_++;
        return options[index];
    }

    // The next schedule in the order of the search; false: all were run.
    bool advance() {
        while (!choices_.empty()) {
            Choice& last = choices_.back();
            if (++last.index < last.options.size()) return true;
            choices_.pop_back();
        }
        return false;
    }

    std::string describe() const {
        std::string text;
        for (size_t i = 0; i < taken_.size();) {
            size_t same = i;
            while (same < taken_.size() && taken_[same] == taken_[i]) same++;
            text += " T" + std::to_string(taken_[i]) + "x" + std::to_string(same - i);
            i = same;
        }
        return text;
    }

    static inline Explorer* active_ = nullptr;

    const int bound_;
    std::vector<Thread> threads_;
    int count_ = 0;
    int current_ = -1;
    host::Context controller_ = nullptr;
    std::vector<Choice> choices_;
    size_t depth_ = 0;
    int preemptions_ = 0;
    int step_count_ = 0;
    std::vector<int> taken_;
    std::string failure_;
};

template <class T>
class ModelAtomic {
  public:
    ModelAtomic() = default;
    ModelAtomic(T value) : value_(value) {}
    ModelAtomic(const ModelAtomic&) = delete;
    ModelAtomic& operator=(const ModelAtomic&) = delete;

    using Order = std::memory_order;
    static constexpr Order kSeq = std::memory_order_seq_cst;

    T load(Order = kSeq) const {
        Explorer::point();
        return value_;
    }
    void store(T value, Order = kSeq) {
        Explorer::point();
        value_ = value;
    }
    T exchange(T value, Order = kSeq) {
        Explorer::point();
        const T old = value_;
        value_ = value;
        return old;
    }
    bool compare_exchange_strong(T& expected, T value, Order = kSeq, Order = kSeq) {
        Explorer::point();
        if (value_ == expected) {
            value_ = value;
            return true;
        }
        expected = value_;
        return false;
    }
    bool compare_exchange_weak(T& expected, T value, Order = kSeq, Order = kSeq) {
        return compare_exchange_strong(expected, value);
    }
    T fetch_add(T amount, Order = kSeq) {
        Explorer::point();
        const T old = value_;
        value_ = static_cast<T>(value_ + amount);
        return old;
    }
    T fetch_sub(T amount, Order = kSeq) {
        Explorer::point();
        const T old = value_;
        value_ = static_cast<T>(value_ - amount);
        return old;
    }
    T peek() const { return value_; }  // no step: for conditions and checks

  private:
    T value_{};
};

// Its steps are those of the data, so a lock has one point: before it is taken.
class ModelLock {
  public:
    void acquire() {
        Explorer::wait_until([this] { return !is_held_; });
        is_held_ = true;
    }
    void release() { is_held_ = false; }

  private:
    bool is_held_ = false;
};

struct ModelPlatform {
    template <class T>
    using Atomic = ModelAtomic<T>;
    static inline int64_t time_ns = 0;
    static int64_t now_ns() { return time_ns; }
    static void chaos_point() { Explorer::point(); }
    static void pause() { Explorer::point(); }
};

}  // namespace pfiber::model
