// See trace.h.
#include "scheduler/trace.h"

#include <sys/mman.h>

#include "scheduler/host/report.h"
#include "scheduler/scheduler.h"

namespace pfiber {

namespace {

const char* state_text(FiberState state) {
    switch (state) {
        case FiberState::kFree:
            return "free";
        case FiberState::kNew:
            return "new";
        case FiberState::kRunnable:
            return "runnable";
        case FiberState::kRunning:
            return "running";
        case FiberState::kInCall:
            return "syscall";
        case FiberState::kParked:
            return "parked";
        case FiberState::kFinished:
            return "finished";
    }
    return "unknown";
}

}  // namespace

void describe_fiber(const Fiber* fiber, NameOf name_of, int64_t now_ns, host::Line* line) {
    const FiberState state = fiber->state.load();
    const WaitReason reason = fiber->wait_reason;
    const char* text = state == FiberState::kParked && reason != WaitReason::kNone
                           ? wait_reason_text(reason)
                           : state_text(state);
    line->add("fiber %llu [%s", static_cast<unsigned long long>(fiber->id), text);
    const int64_t age_s = fiber->since_ns > 0 ? (now_ns - fiber->since_ns) / 1000000000 : 0;
    if (state == FiberState::kParked && age_s >= 60)
        line->add(", %lld minutes", static_cast<long long>(age_s / 60));
    else if (state == FiberState::kParked && age_s > 0)
        line->add(", %lld seconds", static_cast<long long>(age_s));
    if (fiber->locked_worker != nullptr) line->add(", locked to thread");
    line->add("]: tid=%u", fiber->tid);
    const char* name = name_of == nullptr ? nullptr : name_of(fiber->client);
    if (name != nullptr && *name != 0) line->add(" name=%s", name);
}

void schedtrace_line() {
    // Only the monitor traces.  No guarded static: those pull in a second unwinder
    // (host/unwind.cc).
    static int64_t start_ns = 0;
    if (start_ns == 0) start_ns = Platform::now_ns();
    const Scheduler& scheduler = g_scheduler;
    host::Line line;
    line.add(
        "SCHED %lldms: gomaxprocs=%d idleprocs=%d threads=%d spinningthreads=%d "
        "needspinning=%d idlethreads=%d runqueue=%d [",
        static_cast<long long>((Platform::now_ns() - start_ns) / 1000000),
        scheduler.processor_count.load(), scheduler.idle_processor_count.load(),
        scheduler.worker_count.load() + 1, scheduler.spinning.load(),
        static_cast<int>(scheduler.need_spinning.load()), scheduler.idle_worker_count.load(),
        scheduler.global.size.load());
    for (int i = 0; i < scheduler.processor_count; i++)
        line.add(" %u", scheduler.processors[i]->queue.size());
    line.add(" ] schedticks=[");
    for (int i = 0; i < scheduler.processor_count; i++)
        line.add(" %u", scheduler.processors[i]->schedule_tick.load());
    line.add(" ]");
    host::raw_line("%s", line.text());
}

void FiberRoll::add(Fiber* fiber, void* list) {
    auto* self = static_cast<FiberRoll*>(list);
    if (self->count_ < self->room_)
        self->entries_[self->count_++] = {fiber, fiber->id};
    else
        self->is_cut_ = true;
}

void FiberRoll::take() {
    constexpr size_t kNewOnes = 64;  // that are made before the registry is locked
    const size_t room = static_cast<size_t>(live_fibers()) + kNewOnes;
    const long at = host::raw_mmap(nullptr, room * sizeof(Entry), PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!host::is_error(at)) {
        entries_ = reinterpret_cast<Entry*>(at);
        room_ = room;
    }
    for_each_fiber(add, this);
}

void FiberRoll::drop() {
    if (entries_ != few_) host::raw_munmap(entries_, room_ * sizeof(Entry));
    entries_ = few_;
    room_ = kFew;
    count_ = 0;
    is_cut_ = false;
}

bool FiberRoll::is_over(size_t i) const {
    const FiberState state = at(i)->state.load();
    return state == FiberState::kFree || state == FiberState::kFinished ||
           at(i)->id != entries_[i].id;
}

}  // namespace pfiber
