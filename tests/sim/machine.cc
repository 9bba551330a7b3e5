// See machine.h.
#include "tests/sim/machine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

namespace pfiber::sim {

Machine g_machine;

namespace {

using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

void thread_main(transfer_t arrived) {
    static_cast<KernelThread*>(arrived.data)->context = arrived.fctx;
    KernelThread* self = g_machine.self;
    self->entry(self->argument);
    fail("kernel thread %d returned from its entry", self->tid);
}

template <class T>
void erase_one(std::vector<T>& list, T what) {
    for (size_t i = 0; i < list.size(); i++) {
        if (list[i] != what) continue;
        list.erase(list.begin() + static_cast<long>(i));
        return;
    }
}

}  // namespace

void step_slow() { g_machine.decide(); }

void spin_hint() {
    step(40);
    if (g_machine.self == nullptr) return;
    g_machine.lower_priority();
    g_quantum = g_quantum > 8 ? g_quantum - 8 : 1;
}

void Machine::start(void (*main)(void*), void* argument, size_t stack_size) {
    random.state = g_config.seed * 0x2545f4914f6cdd1du;
    g_noise = random.next();
    const int64_t quanta[] = {2, 5, 12, 40, 150, 600};
    mean_quantum_ = quanta[random.below(6)];
    by_priority_ = random.one_in(3);
    const int64_t stalls[] = {0, 0, 3000, 400, 60};
    stall_one_in_ = stalls[random.below(5)];
    const int64_t latencies[] = {0, 2000, 30000};
    wake_latency_ns_ = latencies[random.below(3)];
    kernel_slice_ns_ = random.between(500000, 4000000);
    g_clock_ps = 1000000000000;  // one second after the boot
    void* stack = mmap(nullptr, stack_size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    static Fiber* identity = nullptr;
    KernelThread* first =
        create(reinterpret_cast<uintptr_t>(&identity), static_cast<char*>(stack) + stack_size,
               stack_size, main, argument, nullptr);
    g_quantum = 1;
    KernelThread outside;
    self = first;
    fill_cpus();
    compute_due();
    jump_fcontext(first->context, &outside);
}

KernelThread* Machine::create(uintptr_t fs, void* stack_top, size_t stack_size,
                              void (*entry)(void*), void* argument, std::atomic<int>* tid_word) {
    auto* thread = new KernelThread;
    thread->tid = next_tid_++;
    thread->fs = fs;
    thread->entry = entry;
    thread->argument = argument;
    thread->tid_word = tid_word;
    thread->mask = tid_word == nullptr ? 0 : ~uint64_t{0};
    thread->context = make_fcontext(stack_top, stack_size, thread_main);
    thread->priority = static_cast<uint32_t>(random.between(1000, 1000000));
    threads.push_back(thread);
    if (tid_word != nullptr) tid_word->store(thread->tid);
    record(Event::kThread, thread->tid);
    thread->run = Run::kBlocked;
    wake(thread, Ended::kWoken);
    return thread;
}

void Machine::exit_thread() {
    record(Event::kThreadEnd, self->tid);
    leave_cpu(self);
    self->run = Run::kDead;
    if (self->tid_word != nullptr) self->tid_word->store(0);
    schedule();
    abort();
}

KernelThread* Machine::find(int tid) {
    // In the order in which they were made, with numbers in a row.
    const auto at = static_cast<size_t>(tid - threads[0]->tid);
    return at < threads.size() && threads[at]->run != Run::kDead ? threads[at] : nullptr;
}

// ---- CPUs

void Machine::take_cpu(KernelThread* thread) {
    thread->run = Run::kOnCpu;
    thread->on_cpu_since_ps = thread->compute_since_ps = g_clock_ps;
    thread->slice_end_ps = g_clock_ps + kernel_slice_ns_ * 1000;
    on_cpu_.push_back(thread);
}

// Books the CPU time up to now.
void Machine::settle(KernelThread* thread) {
    thread->cpu_ps += g_clock_ps - thread->on_cpu_since_ps;
    thread->on_cpu_since_ps = g_clock_ps;
    if (!thread->computing) return;
    thread->compute_left_ps -= g_clock_ps - thread->compute_since_ps;
    thread->compute_since_ps = g_clock_ps;
    if (thread->compute_left_ps <= 0) thread->computing = false;
}

void Machine::leave_cpu(KernelThread* thread) {
    settle(thread);
    erase_one(on_cpu_, thread);
}

void Machine::fill_cpus() {
    while (!queue_.empty() && on_cpu_.size() < static_cast<size_t>(g_config.cpus)) {
        KernelThread* next = queue_[random.one_in(4) ? random.below(queue_.size()) : 0];
        erase_one(queue_, next);
        take_cpu(next);
    }
}

int64_t Machine::cpu_ps(const KernelThread* thread) const {
    return thread->cpu_ps + (thread->run == Run::kOnCpu ? g_clock_ps - thread->on_cpu_since_ps : 0);
}

// ---- time

void Machine::at(int64_t ns, std::function<void()> happen) {
    world_.emplace(ns * 1000, std::move(happen));
    if (ns * 1000 < g_due_ps) g_due_ps = ns * 1000;
}

void Machine::compute_due() {
    int64_t due = world_.empty() ? INT64_MAX : world_.begin()->first;
    if (!sleeping_.empty() && *sleeping_.begin() < due) due = *sleeping_.begin();
    int64_t stepping = 0;
    for (const KernelThread* thread : on_cpu_) {
        if (thread->computing) {
            const int64_t end = thread->compute_since_ps + thread->compute_left_ps;
            if (end < due) due = end;
        } else {
            stepping++;
        }
        if (thread->timer_next_ps != INT64_MAX) {
            const int64_t fire = g_clock_ps + thread->timer_next_ps - cpu_ps(thread);
            if (fire < due) due = fire;
        }
        if (!queue_.empty() && thread->slice_end_ps < due) due = thread->slice_end_ps;
    }
    g_due_ps = due;
    g_ps_per_ns = stepping == 0 ? 1000 : 1000 / stepping + 1;
}

void Machine::wake_at(KernelThread* thread, int64_t ps) {
    if (thread->wake_at_ps != INT64_MAX) sleeping_.erase(sleeping_.find(thread->wake_at_ps));
    if (ps != INT64_MAX) sleeping_.insert(ps);
    thread->wake_at_ps = ps;
}

void Machine::things_due() {
    while (!world_.empty() && world_.begin()->first <= g_clock_ps) {
        auto happen = std::move(world_.begin()->second);
        world_.erase(world_.begin());
        happen();
    }
    const bool has_sleepers = !sleeping_.empty() && *sleeping_.begin() <= g_clock_ps;
    for (size_t i = 0; i < threads.size() && has_sleepers; i++) {
        KernelThread* thread = threads[i];
        if (thread->wake_at_ps > g_clock_ps) continue;
        if (thread->run == Run::kWaking) {
            waking_--;
            wake_at(thread, INT64_MAX);
            thread->run = Run::kWaitsForCpu;
            queue_.push_back(thread);
        } else if (thread->run == Run::kBlocked) {
            wake(thread, Ended::kTimeout);
        }
    }
    for (size_t i = 0; i < on_cpu_.size(); i++) {
        KernelThread* thread = on_cpu_[i];
        settle(thread);
        if (thread->cpu_ps >= thread->timer_next_ps) {
            thread->timer_next_ps = thread->cpu_ps + thread->timer_period_ps;
            send_signal(thread, true);
        }
    }
    for (size_t i = 0; i < on_cpu_.size() && !queue_.empty(); i++) {
        KernelThread* thread = on_cpu_[i];
        if (thread->slice_end_ps > g_clock_ps) continue;
        leave_cpu(thread);
        thread->run = Run::kWaitsForCpu;
        queue_.push_back(thread);
        KernelThread* next = queue_[0];
        erase_one(queue_, next);
        take_cpu(next);
    }
    fill_cpus();
}

// ---- who runs next

void Machine::new_quantum() {
    given_quantum_ = static_cast<int32_t>(random.between(1, 2 * mean_quantum_));
    g_quantum = given_quantum_;
}

void Machine::calm() {
    stall_one_in_ = 0;
    wake_latency_ns_ = 5000;
    by_priority_ = false;
}

void Machine::lower_priority() {
    if (by_priority_ && self->priority > 8) self->priority /= 2;
}

KernelThread* Machine::choose() {
    KernelThread* chosen = nullptr;
    if (by_priority_ && !random.one_in(64)) {
        for (KernelThread* thread : on_cpu_)
            if (!thread->computing && (chosen == nullptr || thread->priority > chosen->priority))
                chosen = thread;
        if (chosen != nullptr && random.one_in(200))
            chosen->priority = static_cast<uint32_t>(random.between(1, 1000000));
        return chosen;
    }
    int64_t count = 0;
    for (KernelThread* thread : on_cpu_) count += thread->computing ? 0 : 1;
    if (count == 0) return nullptr;
    int64_t which = random.below(count);
    for (KernelThread* thread : on_cpu_) {
        if (thread->computing) continue;
        chosen = thread;
        if (which-- == 0) break;
    }
    return chosen;
}

void Machine::switch_to(KernelThread* next) {
    if (next == self) return;
    KernelThread* previous = self;
    *reinterpret_cast<Fiber**>(previous->fs) = t_current;
    self = next;
    t_current = *reinterpret_cast<Fiber**>(next->fs);
    const transfer_t arrived = jump_fcontext(next->context, previous);
    static_cast<KernelThread*>(arrived.data)->context = arrived.fctx;
}

// Returns on the same kernel thread, when it steps again.
void Machine::schedule() {
    KernelThread* next = nullptr;
    for (;;) {
        fill_cpus();
        compute_due();
        if (g_clock_ps >= g_due_ps) {
            things_due();
            continue;
        }
        next = choose();
        if (next != nullptr) break;
        if (on_cpu_.empty() && waking_ == 0 && stalled_ == 0) {
            if (quiescent != nullptr) quiescent();
            if (g_due_ps == INT64_MAX) stuck();
        }
        g_clock_ps = g_due_ps;
    }
    new_quantum();
    switch_to(next);
}

void Machine::decide() {
    steps += given_quantum_ > g_quantum ? given_quantum_ - g_quantum : 1;
    given_quantum_ = 0;
    if (self == nullptr) return;
    if (steps > g_config.steps) fail("not finished after %lld steps", (long long)g_config.steps);
    if (g_clock_ps >= watch_at_ps_ && watch != nullptr) {
        watch_at_ps_ = g_clock_ps + 20000000;
        watch();
    }
    if (random.one_in(stall_one_in_)) {
        const int64_t until = now_ns() + 1 + random.skewed(400000);
        block(Blocked::kStall, nullptr, until, false);
    } else {
        schedule();
    }
    deliver_signals();
}

// ---- blocking

Ended Machine::block(Blocked why, const void* place, int64_t deadline_ns, bool interruptible) {
    KernelThread* thread = self;
    if (why != Blocked::kStall) record(Event::kBlock, static_cast<int>(why), thread->tid);
    leave_cpu(thread);
    thread->run = Run::kBlocked;
    thread->blocked = why;
    thread->place = place;
    thread->interruptible = interruptible;
    wake_at(thread, deadline_ns >= INT64_MAX / 1000 ? INT64_MAX : deadline_ns * 1000);
    if (why == Blocked::kStall) stalled_++;
    schedule();
    if (why != Blocked::kStall) sleeps_ended++;
    return thread->ended;
}

void Machine::wake(KernelThread* thread, Ended how) {
    if (thread->run != Run::kBlocked) return;
    if (thread->blocked == Blocked::kStall)
        stalled_--;
    else
        record(Event::kWake, static_cast<int>(how), thread->tid);
    thread->ended = how;
    thread->blocked = Blocked::kNone;
    thread->place = nullptr;
    wake_at(thread, INT64_MAX);
    const int64_t latency = wake_latency_ns_ == 0 ? 0 : random.skewed(wake_latency_ns_);
    if (latency > 0) {
        thread->run = Run::kWaking;
        wake_at(thread, g_clock_ps + latency * 1000);
        waking_++;
    } else {
        thread->run = Run::kWaitsForCpu;
        queue_.push_back(thread);
        fill_cpus();
        // The kernel may prefer who just woke up.
        if (thread->run == Run::kWaitsForCpu && !on_cpu_.empty() && random.one_in(2)) {
            KernelThread* loser = on_cpu_[random.below(on_cpu_.size())];
            loser->slice_end_ps = g_clock_ps;
        }
    }
    g_due_ps = g_clock_ps;  // the next step looks at everything
}

void Machine::compute(int64_t ns) {
    int64_t left = ns * 1000;
    while (left > 0) {
        KernelThread* thread = self;
        thread->compute_left_ps = left;
        thread->compute_since_ps = g_clock_ps;
        thread->computing = true;
        schedule();
        left = thread->compute_left_ps;
        deliver_signals();  // perhaps on another kernel thread afterwards
    }
}

// ---- signals

void Machine::send_signal(KernelThread* thread, bool is_timer) {
    (is_timer ? thread->timer_signal : thread->kill_signal) = true;
    if (thread->mask != 0) return;
    if (thread->computing && (thread->run == Run::kOnCpu || thread->run == Run::kWaitsForCpu)) {
        if (thread->run == Run::kOnCpu) settle(thread);
        thread->computing = false;  // the handler first, when it has a CPU
    }
    if (thread->run == Run::kBlocked && thread->interruptible) wake(thread, Ended::kSignal);
}

void Machine::deliver_signals() {
    while ((self->timer_signal || self->kill_signal) && self->mask == 0 &&
           signal_handler != nullptr) {
        KernelThread* thread = self;
        siginfo_t info{};
        info.si_code = thread->timer_signal ? SI_TIMER : SI_TKILL;
        info.si_pid = 4000;
        (thread->timer_signal ? thread->timer_signal : thread->kill_signal) = false;
        record(Event::kSignal, info.si_code, thread->tid);
        SignalContext context;
        context.stack_pointer = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
        context.pc = random.next();
        signal_handler(SIGURG, &info, &context);  // perhaps on another kernel thread afterwards
    }
}

}  // namespace pfiber::sim
