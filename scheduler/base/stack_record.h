// What a process writes to `pfiber dump --stacks` after its list: plain data, both ends' one
// format.
//
// After the list's text comes a zero byte, then a StackStream, then for each fiber a StackRecord
// and its parts: a StackPart and that many bytes.  The reader unwinds; the process only copies.
#pragma once

#include <cstdint>

#include "scheduler/host/context.h"

namespace pfiber {

constexpr uint32_t kStackStreamVersion = 1;

struct StackStream {
    uint32_t version = kStackStreamVersion;
    uint32_t error = 0;  // an errno: why no record follows
};

enum class StackKind : uint32_t {
    kCopied,
    kRuns,     // its registers are in a processor
    kInCall,   // and here in the kernel
    kChanged,  // it ran while it was copied, each time that it was tried
    kEnd,      // no fiber: all of them were sent
};

struct StackRecord {
    StackKind kind = StackKind::kRuns;
    uint32_t part_count = 0;
    host::SavedRegisters registers;
    char line[240] = {};  // as in the list; zero-terminated
};

struct StackPart {
    uint64_t address = 0, size = 0;
};

}  // namespace pfiber
