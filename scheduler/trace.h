// Looking inside: Go's schedtrace line, and lists of every fiber.
#pragma once

#include <cstddef>
#include <cstdint>

#include "scheduler/host/report.h"

namespace pfiber {

struct Fiber;
using NameOf = const char* (*)(const void* client);

// Prints one line in Go's format.  Monitor thread.
void schedtrace_line();

// The fibers of one moment, for who looks at them at leisure: nothing is locked afterwards, and a
// fiber's memory is never unmapped.
class FiberRoll {
  public:
    FiberRoll() = default;
    FiberRoll(const FiberRoll&) = delete;
    FiberRoll& operator=(const FiberRoll&) = delete;

    // Any thread in the runtime.  Where no memory is to be had it has the first few only.
    void take();
    void drop();
    size_t count() const { return count_; }
    bool is_cut() const { return is_cut_; }
    const Fiber* at(size_t i) const { return entries_[i].fiber; }
    // It ended meanwhile; perhaps its memory is another fiber's by now.
    bool is_over(size_t i) const;

  private:
    struct Entry {
        const Fiber* fiber = nullptr;
        uint64_t id = 0;
    };
    static void add(Fiber* fiber, void* list);

    static constexpr size_t kFew = 32;
    Entry few_[kFew];
    Entry* entries_ = few_;
    size_t room_ = kFew, count_ = 0;
    bool is_cut_ = false;
};

// A fiber's id, name, state, wait reason and age in one line, without the newline.  The name comes
// from the layer above.  The fiber may be run, finished or used again meanwhile.
void describe_fiber(const Fiber* fiber, NameOf name_of, int64_t now_ns, host::Line* line);

}  // namespace pfiber
