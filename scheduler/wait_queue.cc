// See wait_queue.h.  One table for the process; fibers wait by their own park word, foreign threads
// by one on their stack.
//
// A foreign thread's signals are not deferred by the runtime, and its handler may post a semaphore:
// it blocks them while it holds a bucket's lock.
#include "scheduler/wait_queue.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>

#include <new>

#include "scheduler/base/counters.h"
#include "scheduler/scheduler.h"
#include "scheduler/wait_table.h"

namespace pfiber {

namespace {

constexpr size_t kBuckets = 2048;
constexpr int64_t kFairNs = 1000000;  // Go's starvation threshold

using Table = WaitTable<Platform, Lock, kBuckets>;
using Node = Table::Node;
using Claim = ParkWord<Platform>::Claim;

constexpr size_t kPage = 4096;
alignas(kPage) Table table;  // all zero at first
static_assert(sizeof table % kPage == 0);
uint32_t fork_generation = 0;

// In the runtime on a fiber; with signals blocked on any other thread.
class QueueSection {
  public:
    QueueSection() : fiber_(current_fiber()) {
        if (fiber_ != nullptr) {
            RuntimeSection::enter(fiber_);
        } else {
            const uint64_t all = ~uint64_t{0};
            host::raw_sigprocmask(SIG_BLOCK, &all, &old_mask_);
        }
    }
    ~QueueSection() {
        if (fiber_ != nullptr)
            RuntimeSection::leave(fiber_);
        else
            host::raw_sigprocmask(SIG_SETMASK, &old_mask_, nullptr);
    }
    QueueSection(const QueueSection&) = delete;
    QueueSection& operator=(const QueueSection&) = delete;

  private:
    Fiber* fiber_;
    uint64_t old_mask_ = 0;
};

// Collects those who were claimed under a bucket's lock; they are made runnable after it.
class Woken {
  public:
    void operator()(void* owner, ParkWord<Platform>* park, Claim claim) {
        if (owner == nullptr) {
            if (foreign_count_ == kForeign) flush_foreign();
            foreign_[foreign_count_++] = &park->raw();
        } else if (claim == Claim::kMustReady) {
            auto* fiber = static_cast<Fiber*>(owner);
            Fiber**& tail = fiber->runs_beside ? tail_beside_ : tail_;
            fiber->queue_next = nullptr;
            *tail = fiber;
            tail = &fiber->queue_next;
        }
    }

    // After the lock.  The words of foreign waiters may be gone: a stray wake is legal.
    void run() {
        flush_foreign();
        while (Fiber* fiber = first_beside_) {
            first_beside_ = fiber->queue_next;
            fiber->queue_next = nullptr;
            ready(fiber, true);
        }
        if (first_ == nullptr) return;
        Fiber* others = first_->queue_next;
        first_->queue_next = nullptr;
        ready(first_, true);
        ready_list(others);
    }

  private:
    static constexpr int kForeign = 16;

    void flush_foreign() {
        for (int i = 0; i < foreign_count_; i++) Platform::futex_wake(*foreign_[i], 1);
        foreign_count_ = 0;
    }

    Fiber* first_ = nullptr;
    Fiber** tail_ = &first_;
    Fiber* first_beside_ = nullptr;
    Fiber** tail_beside_ = &first_beside_;
    Platform::Atomic<uint32_t>* foreign_[kForeign];
    int foreign_count_ = 0;
};

// The template copies its sink; the notes stay in one place.
struct Notes {
    Woken* woken;
    void operator()(void* owner, ParkWord<Platform>* park, Claim claim) {
        (*woken)(owner, park, claim);
    }
};

bool enqueue(Node* node, const WaitRequest& request, Woken* woken) {
    return table.enqueue(
        node, request.address, request.at_front,
        [&] {
            return request.validate == nullptr ||
                   request.validate(request.address, request.argument);
        },
        [&] {
            if (request.release_others)
                table.wake_locked(
                    table.bucket_of(request.address), request.address, INT32_MAX, kAnyBits, [] {},
                    Notes{woken});
        });
}

// False: a waker had taken it off.
bool leave(Node* node, const WaitRequest& request) {
    return table.leave(node, [&] {
        if (request.on_leave != nullptr) request.on_leave(request.argument);
    });
}

WaitResult wait_as_fiber(Fiber* fiber, Node* node, const WaitRequest& request) {
    WaitResult result;
    Woken woken;
    node->park = &fiber->park;
    node->owner = fiber;
    node->priority = fiber->wait_priority;
    node->sequence = fiber->park.arm();
    if (!enqueue(node, request, &woken)) {
        fiber->park
            .cancel();  // fails when an interruption was first: it is looked at on the way out
        woken.run();
        result.validated = false;
        return result;
    }
    if (request.after_enqueue != nullptr) request.after_enqueue(request.argument);
    COUNT(parks_sync);
    result.outcome = park(fiber, request.reason, request.deadline_ns);
    const bool was_linked = result.outcome != Wake::kReady && leave(node, request);
    if (request.was_unlinked != nullptr) *request.was_unlinked = !was_linked;
    return result;
}

WaitResult wait_as_foreign(Node* node, const WaitRequest& request) {
    WaitResult result;
    ParkWord<Platform> park_word;
    node->park = &park_word;
    node->sequence = park_word.arm();
    {
        QueueSection section;
        Woken woken;
        if (!enqueue(node, request, &woken)) {
            woken.run();
            result.validated = false;
            return result;
        }
    }
    if (request.after_enqueue != nullptr) request.after_enqueue(request.argument);
    while (!park_word.is_claimed()) {
        const uint32_t armed = park_word.raw().load(std::memory_order_relaxed);
        if (park_word.is_claimed()) break;
        if (request.deadline_ns != kNever && Platform::now_ns() >= request.deadline_ns) {
            result.outcome = Wake::kTimeout;
            break;
        }
        if (Platform::futex_wait(park_word.raw(), armed, request.deadline_ns) == -EINTR) {
            result.outcome = Wake::kSignal;
            break;
        }
    }
    if (result.outcome != Wake::kReady) {
        // Only wakers of this table claim a foreign wait, and they unlink it first.
        QueueSection section;
        if (!leave(node, request)) result.outcome = Wake::kReady;
    }
    if (request.was_unlinked != nullptr) *request.was_unlinked = result.outcome == Wake::kReady;
    return result;
}

}  // namespace

WaitResult wait_on_address(const WaitRequest& request) {
    Node node;
    node.bits = request.bits;
    node.identity = request.identity;
    node.since_ns = request.since_ns != 0 ? request.since_ns : Platform::now_ns();
    Fiber* fiber = current_fiber();
    WaitResult result =
        fiber != nullptr ? wait_as_fiber(fiber, &node, request) : wait_as_foreign(&node, request);
    result.handed = result.validated && result.outcome == Wake::kReady && node.handed;
    return result;
}

int wake_address(const void* address, int count, uint32_t bits, void (*settle)(void*),
                 void* argument) {
    // Without the signal mask of a foreign thread: most wakes find nobody.
    if (count <= 0 || table.bucket_of(address).nobody_waits()) return 0;
    QueueSection section;
    Woken woken;
    const int count_woken = table.wake(
        address, count, bits,
        [&] {
            if (settle != nullptr) settle(argument);
        },
        Notes{&woken});
    woken.run();
    return count_woken;
}

void release_address(const void* address, void (*release)(void*), void* argument,
                     void (*hand)(void*, uint32_t)) {
    QueueSection section;
    Woken woken;
    table.release_or_hand_over(
        address, kFairNs,
        [&](uint32_t identity) {
            if (hand != nullptr) hand(argument, identity);
        },
        [&] { release(argument); }, Notes{&woken});
    woken.run();
}

int requeue_address(const void* address, int wake_count, const void* target, int move_count,
                    Validate validate, void* argument, int* moved) {
    QueueSection section;
    Woken woken;
    const int count_woken = table.requeue(
        address, wake_count, target, move_count,
        [&] { return validate == nullptr || validate(address, argument); }, moved, Notes{&woken});
    woken.run();
    return count_woken;
}

bool spinning_may_help(const Fiber* fiber) {
    if (!g_runtime_started) return false;
    const int count = g_scheduler.processor_count;
    const int idle = g_scheduler.idle_processor_count.load(std::memory_order_relaxed);
    if (count - idle <= 1) return false;
    if (fiber == nullptr || fiber->in_call) return true;
    const Processor* processor = fiber->worker->processor;
    return processor == nullptr || (processor->queue.size() == 0 && !processor->queue.has_next());
}

void wait_queues_reset_after_fork() {
    fork_generation++;
    // Not written: a fork's child would copy each of its pages.
    if (host::raw_madvise(&table, sizeof table, MADV_DONTNEED) != 0) new (&table) Table;
}

uint32_t wait_queues_fork_generation() { return fork_generation; }

}  // namespace pfiber
