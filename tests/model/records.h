// Fiber, worker and processor as far as claims, calls and stops of the world know them.  What the
// shipped records keep in plain members is plain here, too: its stores may stay in a buffer.
#pragma once

#include "scheduler/claim.h"
#include "tests/model/platform.h"

namespace pfiber::model {

template <class T>
class ModelPlain {
  public:
    ModelPlain() = default;
    ModelPlain(T value) : cell_(value) {}
    operator T() const { return cell_.load(std::memory_order_relaxed); }
    T operator=(T value) {
        cell_.store(value, std::memory_order_relaxed);
        return value;
    }
    void operator++(int) { *this = *this + 1; }
    void operator--(int) { *this = *this - 1; }
    T peek() const { return cell_.peek(); }

  private:
    ModelAtomic<T> cell_;
};

template <class T>
T read_plain(const ModelPlain<T>& word) {
    return word;
}

struct ModelWorker;

struct ModelFiber {
    ModelPlain<int32_t> depth{0};
    ModelAtomic<uint32_t> attention{0};
    ModelWorker* worker = nullptr;
    bool is_scheduler = false;
};

struct ModelProcessor {
    ModelAtomic<ProcessorStatus> status{ProcessorStatus::kRunning};
    ModelAtomic<uint32_t> schedule_tick{0}, call_tick{0}, look_around{0};
    ModelPlain<ModelWorker*> worker{nullptr};
    ModelFiber* halted = nullptr;
    int users = 0;
};

struct ModelWorker {
    ModelFiber* current = nullptr;
    ModelPlain<ModelProcessor*> processor{nullptr};
    ModelProcessor* old_processor = nullptr;
};

// What only the owner may do: take from the ring, arm a timer.
inline void use(ModelProcessor* processor) {
    if (processor == nullptr) return Explorer::fail("W1: the runtime is used without a processor");
    if (processor->users++ != 0) Explorer::fail("W2: a processor has two owners");
    Explorer::point();
    processor->users--;
}

// A processor, its worker and fiber, and where a processor lies when nobody has it.
struct Machine {
    ModelProcessor processor;
    ModelWorker worker;
    ModelFiber fiber;
    ModelProcessor* idle = nullptr;  // the list, under the lock
    ModelLock lock, world_lock;

    Machine() {
        fiber.worker = &worker;
        worker.current = &fiber;
        worker.old_processor = &processor;
        worker.processor = &processor;
        processor.worker = &worker;
    }

    void put_idle(ModelProcessor* its) {
        lock.acquire();
        its->worker = nullptr;
        its->status.store(ProcessorStatus::kIdle);
        idle = its;
        lock.release();
    }
    // Sleeps until there is one, as on the global queue.
    void acquire_idle(ModelWorker* who) {
        ModelProcessor* its = nullptr;
        while (its == nullptr) {
            Explorer::wait_until([this] { return idle != nullptr; });
            lock.acquire();
            its = idle;
            idle = nullptr;
            lock.release();
        }
        its->worker = who;
        who->processor = its;
        its->status.store(ProcessorStatus::kRunning);
    }
    // Behind raise_depth().
    void after_call(ModelWorker* who) {
        if (!return_from_call<ModelPlatform>(who)) acquire_idle(who);
    }
};

}  // namespace pfiber::model
