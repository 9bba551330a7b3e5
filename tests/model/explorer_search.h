// The explorer's inside: running one schedule, stores on their way, and the search for the next
// schedule.  Included by explorer.h.
#pragma once

namespace pfiber::model {

inline void Explorer::run(const Scenario& scenario) {
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
        thread.gave_way_at = -1;
        thread.buffer.clear();
        thread.passed = 0;
        thread.context =
            host::make_context(thread.stack.get() + kStackSize, kStackSize, thread_main);
    }
    failure_.clear();
    taken_.clear();
    sleepers_.clear();
    depth_ = 0;
    preemptions_ = delays_taken_ = 0;
    step_count_ = 0;
    turns_ = 0;
    current_ = -1;
    active_ = this;
    for (int next = choose(); next >= 0; next = choose()) {
        taken_.push_back(next);
        if (next >= kTimeOut) {
            end_sleep(next - kTimeOut);
            enter(next - kTimeOut);
            if (!failure_.empty()) break;
        } else if (next >= kLetOut) {
            let_out_oldest(threads_[static_cast<size_t>(next - kLetOut)]);
        } else {
            enter(next);
            if (!failure_.empty()) break;
        }
        if (++step_count_ > kMaxSteps) {
            failure_ = "livelock: too many steps";
            break;
        }
    }
    active_ = nullptr;
}

inline void Explorer::enter(int next) {
    if (current_ >= 0 && current_ != next) settle(running());
    if (current_ != next) turns_++;
    current_ = next;
    Thread& thread = running();
    thread.blocked_on = nullptr;
    thread.context = host::jump(thread.context, this).fctx;
    if (thread.is_finished || thread.blocked_on != nullptr) settle(thread);
}

inline void Explorer::thread_main(host::Transfer arrived) {
    auto* self = static_cast<Explorer*>(arrived.data);
    self->controller_ = arrived.fctx;
    Thread& thread = self->running();
    (*thread.body)();
    thread.is_finished = true;
    host::jump(self->controller_, nullptr);
    std::abort();
}

inline void Explorer::leave(const std::function<bool()>* condition) {
    running().blocked_on = condition;
    controller_ = host::jump(controller_, nullptr).fctx;
}

// ---- stores on their way
inline void Explorer::let_out_oldest(Thread& thread) {
    const BufferedStore store = thread.buffer.front();
    thread.buffer.erase(thread.buffer.begin());
    if (thread.passed > 0) thread.passed--;
    store.write(store.cell, store.bits);
}

inline void Explorer::let_out_all(Thread& thread) {
    while (!thread.buffer.empty()) let_out_oldest(thread);
}

inline void Explorer::settle(Thread& thread) {
    if (thread.passed == 0)
        let_out_all(thread);
    else
        thread.passed = thread.buffer.size();
}

inline void Explorer::pass_or_let_out() {
    Thread& thread = running();
    if (thread.passed > 0) {
        thread.passed = thread.buffer.size();
        return;
    }
    const size_t fresh = thread.buffer.size();
    if (fresh == 0) return;
    size_t kept = 0;
    if (delays_taken_ < delays_) {
        std::vector<int> options;
        for (size_t i = 0; i <= fresh; i++) options.push_back(static_cast<int>(i));
        kept = pick(options);
    }
    while (thread.buffer.size() > kept) let_out_oldest(thread);
    thread.passed = kept;
    if (kept > 0) delays_taken_++;
}

// ---- the search
inline bool Explorer::is_enabled(int index) const {
    const Thread& thread = threads_[static_cast<size_t>(index)];
    if (thread.is_finished) return false;
    return thread.blocked_on == nullptr || without_points(*thread.blocked_on);
}

inline bool Explorer::without_points(const std::function<bool()>& condition) {
    Explorer* const active = active_;
    active_ = nullptr;
    const bool holds = condition();
    active_ = active;
    return holds;
}

inline size_t Explorer::pick(const std::vector<int>& options) {
    if (depth_ < choices_.size()) {
        if (choices_[depth_].options != options) {
            failure_ = "the scenario is not deterministic";
            return 0;
        }
    } else {
        choices_.push_back({options, 0});
    }
    return choices_[depth_++].index;
}

inline bool Explorer::is_due(int index) const {
    return is_enabled(index) && threads_[static_cast<size_t>(index)].gave_way_at != turns_;
}

inline void Explorer::end_sleep(int thread) {
    for (size_t i = 0; i < sleepers_.size(); i++) {
        if (sleepers_[i].thread != thread) continue;
        *sleepers_[i].is_woken = true;
        sleepers_.erase(sleepers_.begin() + static_cast<long>(i));
        return;
    }
}

inline std::vector<int> Explorer::options_now(bool can_go_on) const {
    std::vector<int> options;
    if (can_go_on) options.push_back(current_);
    if (can_go_on && preemptions_ >= bound_) return options;
    for (int i = 0; i < count_; i++) {
        const Thread& thread = threads_[static_cast<size_t>(i)];
        if (i != current_ && is_due(i)) options.push_back(i);
        if (!thread.buffer.empty() && (i != current_ || thread.passed > 0))
            options.push_back(kLetOut + i);
    }
    if (!options.empty() && preemptions_ >= bound_) return options;
    for (const Sleeper& sleeper : sleepers_)
        if (sleeper.has_deadline) options.push_back(kTimeOut + sleeper.thread);
    return options;
}

inline int Explorer::choose() {
    bool all_finished = true;
    for (int i = 0; i < count_; i++)
        all_finished = all_finished && threads_[static_cast<size_t>(i)].is_finished;
    if (all_finished) {
        for (Thread& thread : threads_) let_out_all(thread);
        return -1;
    }
    const bool can_go_on = current_ >= 0 && is_due(current_);
    std::vector<int> options = options_now(can_go_on);
    if (options.empty() && current_ >= 0 && is_enabled(current_)) options.push_back(current_);
    if (options.empty()) {
        failure_ = "deadlock";
        return -1;
    }
    const size_t index = options.size() > 1 ? pick(options) : 0;
    if (!failure_.empty()) return -1;
    const bool is_early = options[index] >= kTimeOut && options[0] < kTimeOut;
    if ((can_go_on && index != 0) || is_early) preemptions_++;
    return options[index];
}

inline bool Explorer::advance() {
    while (!choices_.empty()) {
        Choice& last = choices_.back();
        if (++last.index < last.options.size()) return true;
        choices_.pop_back();
    }
    return false;
}

inline std::string Explorer::describe() const {
    std::string text;
    for (size_t i = 0; i < taken_.size();) {
        size_t same = i;
        while (same < taken_.size() && taken_[same] == taken_[i]) same++;
        const bool is_late = taken_[i] >= kTimeOut;
        const bool is_store = !is_late && taken_[i] >= kLetOut;
        text += is_late    ? " late T" + std::to_string(taken_[i] - kTimeOut)
                : is_store ? " store of T" + std::to_string(taken_[i] - kLetOut)
                           : " T" + std::to_string(taken_[i]) + "x" + std::to_string(same - i);
        i = same;
    }
    return text + " (" + std::to_string(delays_taken_) + " loads passed stores)";
}

}  // namespace pfiber::model
