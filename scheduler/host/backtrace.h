// Unwinding the copy of a stack: the only user of libunwind.
//
// For the launcher, which is an ordinary program; the preloaded object has no part in it.  The
// library is opened when it is first needed, so that the command works without it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "scheduler/host/context.h"

namespace pfiber::host {

// Where the object around an address keeps its unwind table, as addresses in the process.
struct UnwindTable {
    uint64_t low = 0, high = 0;  // of the object's code
    uint64_t header = 0;         // of its .eh_frame_hdr
};

// The process that is looked at.  Both answer false where nothing is known.
struct BacktraceView {
    void* client;
    bool (*read)(void* client, uint64_t address, void* bytes, size_t size);
    bool (*find_table)(void* client, uint64_t ip, UnwindTable* table);
};

struct Frame {
    uint64_t ip = 0;
    bool is_call = false;  // ip is where a call returns to: its line is the one before
};

// False: no libunwind; *why is the loader's word for it.  Idempotent.
bool backtrace_open(const char** why);

// Innermost first; how many, at most `most`.  Reads the view only.  After backtrace_open().
int backtrace(const SavedRegisters& registers, const BacktraceView& view, Frame* frames, int most);

}  // namespace pfiber::host
