// See check.h.
#include "tests/sim/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <unordered_map>
#include <unordered_set>

#include "tests/sim/kernel.h"

namespace pfiber::sim {

namespace {

using Queue = RunQueue<Platform, Fiber>;
using Ring = Platform::Atomic<Fiber*>[Queue::kCapacity];

// Explicit instantiation may name private members: a look into the queues without a change of them.
template <class Tag, typename Tag::Type member>
struct Reveal {
    friend typename Tag::Type reveal(Tag) { return member; }
};
struct HeadTag {
    using Type = Platform::Atomic<uint32_t> Queue::*;
    friend Type reveal(HeadTag);
};
struct TailTag {
    using Type = Platform::Atomic<uint32_t> Queue::*;
    friend Type reveal(TailTag);
};
struct NextTag {
    using Type = Platform::Atomic<Fiber*> Queue::*;
    friend Type reveal(NextTag);
};
struct RingTag {
    using Type = Ring Queue::*;
    friend Type reveal(RingTag);
};
template struct Reveal<HeadTag, &Queue::head_>;
template struct Reveal<TailTag, &Queue::tail_>;
template struct Reveal<NextTag, &Queue::next_>;
template struct Reveal<RingTag, &Queue::ring_>;

template <class Visit>
void visit_queue(const Processor* processor, Visit visit) {
    const Queue& queue = processor->queue;
    if (Fiber* next = (queue.*reveal(NextTag())).peek()) visit(next);
    const uint32_t tail = (queue.*reveal(TailTag())).peek();
    for (uint32_t at = (queue.*reveal(HeadTag())).peek(); at != tail; at++)
        visit((queue.*reveal(RingTag()))[at % Queue::kCapacity].peek());
}

template <class Visit>
void visit_queued(Visit visit) {
    for (int i = 0; i < g_scheduler.processor_count; i++)
        visit_queue(g_scheduler.processors[i], visit);
    for (Fiber* fiber = g_scheduler.global.first; fiber != nullptr; fiber = fiber->queue_next)
        visit(fiber);
}

int queue_length(const Processor* processor) {
    int length = 0;
    visit_queue(processor, [&length](Fiber*) { length++; });
    return length;
}

unsigned long long id_of(const Fiber* fiber) { return fiber == nullptr ? 0 : fiber->id; }

constexpr int64_t kRetakeBoundNs = 35000000;
// How long a fiber lies in a queue while a processor is idle.
std::unordered_map<Fiber*, int64_t> lying;
// How long a processor is in one call.
struct InCall {
    uint32_t tick = 0;
    int64_t ns = -1;  // -1: not in a call at the last look
};
InCall calls[kMaxProcessors];
int64_t looked_ns;            // the last look, and what it found
bool was_idle, was_attended;  // a processor idle; somebody could have done something

}  // namespace

void check_switch(Worker* worker, host::Context target) {
    Fiber* to = worker->current;
    Fiber* from = worker->previous;
    const int processor = worker->processor == nullptr ? -1 : worker->processor->id;
    record(Event::kSwitch, static_cast<int64_t>(to->is_scheduler ? 0 : to->id), processor,
           from->is_scheduler ? "loop" : "");
    if (worker->tid.load() != g_machine.self->tid)
        fail("worker %d switches on kernel thread %d", worker->id, g_machine.self->tid);
    if (t_current != to) fail("fiber %llu entered with another identity", id_of(to));
    if (target == nullptr || to->context != target)
        fail("F2/Q1: fiber %llu is entered twice or before its context was saved", id_of(to));
    to->context = nullptr;
    if (to->is_scheduler) return;
    lying.erase(to);
    if (to->state.peek() != FiberState::kRunning)
        fail("fiber %llu entered in state %d", id_of(to), static_cast<int>(to->state.peek()));
    if (worker->processor == nullptr)
        fail("W1: worker %d runs fiber %llu without a processor", worker->id, id_of(to));
    if (worker->processor->worker != worker ||
        worker->processor->status.peek() != ProcessorStatus::kRunning)
        fail("W2: processor %d is not worker %d's", processor, worker->id);
    if (worker->locked_fiber != nullptr && worker->locked_fiber != to)
        fail("worker %d is locked to fiber %llu and runs %llu", worker->id,
             id_of(worker->locked_fiber), id_of(to));
    if (to->locked_worker != nullptr && to->locked_worker != worker)
        fail("fiber %llu is locked to worker %d and runs on %d", id_of(to), to->locked_worker->id,
             worker->id);
}

void check_program(Fiber* fiber) {
    if (t_current != fiber) fail("fiber %llu runs with another identity", id_of(fiber));
    Worker* worker = fiber->worker;
    if (worker == nullptr || worker->tid.load() != g_machine.self->tid || worker->current != fiber)
        fail("fiber %llu runs on kernel thread %d, not its worker's", id_of(fiber),
             g_machine.self->tid);
    if (fiber->depth != 0)
        fail("fiber %llu at depth %d in program code", id_of(fiber), fiber->depth);
    if ((fiber->attention.peek() & (kAttendClaim | kAttendRetaken)) != 0) return;
    if (worker->processor == nullptr) fail("W1: fiber %llu has no processor", id_of(fiber));
    // Of thousands at times only.
    static uint32_t turn = 0;
    if (g_scheduler.worker_count.peek() > 1000 && ++turn % 1000 != 0) return;
    for (const Worker* other = g_scheduler.workers.peek(); other != nullptr;
         other = other->all_next)
        if (other != worker && other->processor == worker->processor && other->current != nullptr &&
            !other->current->in_call)
            fail("W2: workers %d and %d both have processor %d", worker->id, other->id,
                 worker->processor->id);
}

// C1: a stop ends soon, however long a fiber computes or sleeps where no hook sees it.
void check_stop() {
    static int64_t since_ns = 0;
    const int64_t now = g_machine.now_ns();
    if (g_scheduler.stop_requested.peek() == 0) {
        since_ns = now;
        return;
    }
    const int64_t share = 1 + g_config.processors / g_config.cpus;  // workers wait for a CPU
    if (now - since_ns > share * 20000000) fail("C1: the world does not stop");
}

namespace {

// W2: the monitor takes a processor from a call within two of its longest sleeps, whoever else
// makes progress meanwhile and whether or not anybody waits.
void check_calls(int64_t passed_ns) {
    for (int i = 0; i < g_scheduler.processor_count; i++) {
        const Processor* processor = g_scheduler.processors[i];
        InCall& call = calls[i];
        const uint32_t tick = processor->call_tick.peek();
        if (processor->status.peek() != ProcessorStatus::kInCall) {
            call.ns = -1;
        } else if (call.ns < 0 || call.tick != tick) {
            call = {tick, 0};
        } else {
            call.ns += passed_ns;
            if (call.ns > kRetakeBoundNs)
                fail("W2: processor %d is in one call for %lld us", i,
                     static_cast<long long>(call.ns / 1000));
        }
    }
}

// W3, work conservation.
void check_lying(const std::unordered_set<Fiber*>& queued, bool is_idle, int64_t passed_ns) {
    if (!is_idle) return lying.clear();
    for (auto at = lying.begin(); at != lying.end();)
        at = queued.count(at->first) == 0 ? lying.erase(at) : std::next(at);
    for (Fiber* fiber : queued) {
        const auto [at, is_new] = lying.emplace(fiber, 0);
        if (is_new) continue;
        at->second += passed_ns;
        if (at->second > g_conservation_bound_ns)
            fail("W3: fiber %llu is runnable and a processor idle for %lld us", id_of(fiber),
                 static_cast<long long>(at->second / 1000));
    }
}

}  // namespace

void check_now_and_then() {
    check_stop();
    std::unordered_set<Fiber*> seen;
    visit_queued([&](Fiber* fiber) {
        if (!seen.insert(fiber).second) fail("Q1: fiber %llu is on two queues", id_of(fiber));
        const FiberState state = fiber->state.peek();
        if (state != FiberState::kRunnable && state != FiberState::kRunning)
            fail("fiber %llu is queued in state %d", id_of(fiber), static_cast<int>(state));
    });
    for (int i = 0; i < g_scheduler.processor_count; i++)
        if (g_scheduler.processors[i]->poller.waiters.peek() < 0)
            fail("C2: fewer than no fibers wait at processor %d", i);
    // Time in which there was no CPU for whoever is to act, or no kernel thread, does not count.
    // Without threads the monitor runs the fibers (rescue.cc) instead of watching calls, and those
    // who return take turns, so there both bounds are the workloads' own.
    static int64_t refused = 0;  // perhaps tried again and refused again since the last look
    const bool was_refused = refused != g_threads_refused;
    refused = g_threads_refused;
    const bool is_attended = g_scheduler.thread_refused.peek() == 0 && !refuses_every_thread() &&
                             g_machine.on_cpu_count() < static_cast<size_t>(g_config.cpus);
    const int64_t now = g_machine.now_ns();
    const int64_t passed_ns = is_attended && was_attended && !was_refused ? now - looked_ns : 0;
    check_calls(passed_ns);
    const bool is_idle = g_scheduler.idle_processor_count.peek() > 0;
    check_lying(seen, is_attended && is_idle, was_idle ? passed_ns : 0);
    was_idle = is_idle;
    was_attended = is_attended;
    looked_ns = now;
}

namespace {

// A worker that counts as spinning and is in its short sleep: find.cc, next_slot_stays().  Nobody
// else may: it ends within that time.
bool spinner_rests() {
    for (Worker* worker = g_scheduler.workers.peek(); worker != nullptr;
         worker = worker->all_next) {
        const KernelThread* thread = g_machine.find(worker->tid.load());
        if (worker->is_spinning && worker->processor != nullptr && thread != nullptr &&
            thread->run == Run::kBlocked && thread->blocked == Blocked::kFutex &&
            thread->place == &worker->wake_word &&
            thread->wake_at_ps / 1000 - g_machine.now_ns() <= kThiefRestNs)
            return true;
    }
    return false;
}

}  // namespace

void check_quiescent() {
    check_now_and_then();
    if (g_scheduler.thread_refused.peek() != 0) return;  // the monitor will try again
    // A spinner that leaves a next slot to its processor for a moment looks at everything after it.
    if (g_scheduler.idle_processor_count.peek() > 0 && !spinner_rests())
        visit_queued([](Fiber* fiber) {
            fail("W3: fiber %llu is runnable, a processor idle and everybody asleep", id_of(fiber));
        });
    if (g_machine.next_due_ns() - g_machine.now_ns() > kRetakeBoundNs)
        for (int i = 0; i < g_scheduler.processor_count; i++)
            if (g_scheduler.processors[i]->status.peek() == ProcessorStatus::kInCall &&
                queue_length(g_scheduler.processors[i]) > 0)
                fail("W2: nobody watches a call, and fibers wait for processor %d", i);
    if (!g_runtime_started) return;
    for (int i = 0; i < g_scheduler.processor_count; i++) {
        Poller& poller = g_scheduler.processors[i]->poller;
        if (g_scheduler.idle_processor_count.peek() != g_scheduler.processor_count) continue;
        if (poller.waiters.peek() > 0 && g_scheduler.sleeper_deadline_ns.peek() == 0)
            fail("nobody sleeps in the pollers, and fibers wait at that of processor %d", i);
        File* epoll = g_kernel.file(poller.epoll_fd);
        if (poller.waiters.peek() > 0 && epoll->sleepers.empty() && g_kernel.has_event(epoll))
            fail("B1: everybody sleeps while an event waits at processor %d", i);
    }
}

// ---- the report

void (*g_dump)() = dump_state;

namespace {

struct Happened {
    int64_t ns;
    Event event;
    int tid;
    int64_t a, b;
    const char* text;
};
constexpr unsigned kKept = 80;
Happened happened[kKept];
unsigned long happened_count;

const char* const kBlockedTexts[] = {"-", "futex", "epoll", "sleep", "stall"};
const char* const kEndedTexts[] = {"woken", "timeout", "signal"};
const char* const kRunTexts[] = {"dead", "waits for a CPU", "on CPU", "blocked", "waking"};
const char* const kStatusTexts[] = {"idle", "running", "in call", "stopped"};

void print(const Happened& what) {
    fprintf(stderr, "  %12.3f us  [%d] ", static_cast<double>(what.ns - 1000000000) / 1000,
            what.tid);
    const auto a = static_cast<long long>(what.a), b = static_cast<long long>(what.b);
    switch (what.event) {
        case Event::kSwitch:
            if (a == 0)
                fprintf(stderr, "to its loop, processor %lld\n", b);
            else
                fprintf(stderr, "%s to fiber %lld, processor %lld\n", what.text, a, b);
            break;
        case Event::kBlock:
            fprintf(stderr, "sleeps: %s\n", kBlockedTexts[a]);
            break;
        case Event::kWake:
            fprintf(stderr, "thread %lld awake: %s\n", b, kEndedTexts[a]);
            break;
        case Event::kThread:
            fprintf(stderr, "new thread %lld\n", a);
            break;
        case Event::kThreadEnd:
            fprintf(stderr, "thread ends\n");
            break;
        case Event::kSignal:
            fprintf(stderr, "signal, code %lld\n", a);
            break;
        case Event::kEpollEvent:
            fprintf(stderr, "event of %lld: %llx\n", a, b);
            break;
        case Event::kWrite:
            fprintf(stderr, "writes %lld\n", a);
            break;
        case Event::kNote:
            fprintf(stderr, "%s %lld %lld\n", what.text, a, b);
            break;
    }
}

void print_fiber(Fiber* fiber, void*) {
    fprintf(stderr, "  fiber %llu state %d reason %s park %x attention %x depth %d%s worker %d\n",
            id_of(fiber), static_cast<int>(fiber->state.peek()),
            wait_reason_text(fiber->wait_reason), fiber->park.raw().peek(), fiber->attention.peek(),
            fiber->depth, fiber->locked_worker != nullptr ? " locked" : "",
            fiber->worker == nullptr ? 0 : fiber->worker->id);
}

}  // namespace

void record(Event event, int64_t a, int64_t b, const char* text) {
    happened[happened_count++ % kKept] = {
        g_machine.now_ns(), event, g_machine.self == nullptr ? 0 : g_machine.self->tid, a, b, text};
    if (g_config.verbose) print(happened[(happened_count - 1) % kKept]);
}

void dump_state() {
    const Scheduler& s = g_scheduler;
    fprintf(stderr,
            "global %d, idle processors %d, idle workers %d, spinning %d, need_spinning %u, "
            "threads refused %u, sleeper deadline %lld, monitor asleep %u, live %lld\n",
            s.global.size.peek(), s.idle_processor_count.peek(), s.idle_worker_count.peek(),
            s.spinning.peek(), s.need_spinning.peek(), s.thread_refused.peek(),
            static_cast<long long>(s.sleeper_deadline_ns.peek()), s.monitor_asleep.peek(),
            static_cast<long long>(s.live.peek()));
    for (int i = 0; i < s.made_count && i < 16; i++) {
        Processor* p = s.processors[i];
        fprintf(stderr, "  processor %d %s, worker %d, queued %d, io waiters %d, timers %zu%s\n", i,
                kStatusTexts[static_cast<int>(p->status.peek())],
                p->worker == nullptr ? 0 : p->worker->id, queue_length(p), p->poller.waiters.peek(),
                p->timers.size(),
                g_kernel.has_event(g_kernel.file(p->poller.epoll_fd)) ? ", has an event" : "");
    }
    int shown = 0;
    for (Worker* w = s.workers.peek(); w != nullptr && shown++ < 24; w = w->all_next) {
        const KernelThread* thread = g_machine.find(w->tid.load());
        fprintf(stderr, "  worker %d thread %d %s %s, processor %d, fiber %llu%s%s\n", w->id,
                w->tid.load(), thread == nullptr ? "?" : kRunTexts[static_cast<int>(thread->run)],
                thread == nullptr ? "" : kBlockedTexts[static_cast<int>(thread->blocked)],
                w->processor == nullptr ? -1 : w->processor->id,
                w->current == nullptr || w->current->is_scheduler ? 0 : id_of(w->current),
                w->is_spinning ? " spinning" : "", w->is_idle ? " idle" : "");
    }
    shown = 0;
    if (g_runtime_started)
        for (Fiber* f = s.registry.all_next; f != &s.registry && shown++ < 24; f = f->all_next)
            print_fiber(f, nullptr);
    fprintf(stderr, "last events:\n");
    const unsigned long first = happened_count > 60 ? happened_count - 60 : 0;
    for (unsigned long i = first; i < happened_count; i++) print(happened[i % kKept]);
}

void fail(const char* format, ...) {
    g_quantum = INT32_MAX;
    g_due_ps = INT64_MAX;
    static bool failing = false;
    if (failing) _exit(1);
    failing = true;
    fprintf(stderr, "FAILED at %.3f us after %lld steps: ",
            static_cast<double>(g_machine.now_ns() - 1000000000) / 1000,
            static_cast<long long>(g_machine.steps));
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n");
    g_dump();
    _exit(1);
}

}  // namespace pfiber::sim
