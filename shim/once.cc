// One-time initialisation, with glibc's values: 0 not run, 1 | fork generation << 2 running, 2
// done. A child of fork finds a running mark of an older generation: that thread does not exist any
// more.
#include "scheduler/runtime.h"
#include "scheduler/wait_queue.h"
#include "shim/barrier.h"

namespace pfiber::shim {

namespace {

bool is_running(const void* address, void* mark) {
    return static_cast<const Word*>(address)->load(std::memory_order_relaxed) ==
           *static_cast<const uint32_t*>(mark);
}

// Settles the state when the function returns, or is unwound.
class Run {
  public:
    explicit Run(Once* once) : once_(once) {}
    ~Run() {
        once_->state.exchange(is_done_ ? Once::kDone : 0, std::memory_order_seq_cst);
        wake_address(&once_->state, INT32_MAX);
    }
    Run(const Run&) = delete;
    Run& operator=(const Run&) = delete;
    void done() { is_done_ = true; }

  private:
    Once* once_;
    bool is_done_ = false;
};

}  // namespace

void once_slow(Once* once, void (*function)()) {
    for (;;) {
        uint32_t seen = once->state.load(std::memory_order_acquire);
        if (seen == Once::kDone) return;
        uint32_t mark = wait_queues_fork_generation() << Once::kForkShift | Once::kRunning;
        if (seen == mark) {
            WaitRequest request;
            request.address = &once->state;
            request.validate = is_running;
            request.argument = &mark;
            request.reason = WaitReason::kOnce;
            OptionalSection section;
            wait_on_address(request);
            continue;
        }
        if (!once->state.compare_exchange_strong(seen, mark, std::memory_order_acquire)) continue;
        Run run(once);
        function();
        run.done();
        return;
    }
}

}  // namespace pfiber::shim
