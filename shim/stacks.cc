// See stacks.h.
//
// The process copies, the launcher unwinds.  Looking up unwind tables and names takes the loader's
// lock, malloc and files, which somebody may hold for ever when a dump is wanted, and needs a
// thread with a complete thread block, which cannot be made then.  A copy is also all of one
// moment: park word, state and context are the same before and after it, or it is thrown away.
#include "shim/stacks.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "scheduler/host/report.h"
#include "scheduler/host/syscall.h"
#include "scheduler/runtime.h"
#include "scheduler/trace.h"
#include "shim/thread.h"

namespace pfiber::shim {

namespace {

constexpr size_t kPage = 4096;
constexpr int kTries = 3;

// Where the parts of a message are written: each its head and then its bytes.
struct Copy {
    StackRecord record;
    unsigned char* parts;
    size_t size;  // of all parts
};

// The kernel reads, so that memory which goes away meanwhile only ends the copy.  How many bytes.
size_t copy_memory(uintptr_t from, size_t size, void* to) {
    iovec pages[kStackPartBytes / kPage +
                1];  // what is not there ends the transfer between two of them
    unsigned long count = 0;
    for (size_t done = 0; done < size; count++) {
        const uintptr_t at = from + done;
        const size_t rest = kPage - at % kPage;
        pages[count] = {reinterpret_cast<void*>(at), rest < size - done ? rest : size - done};
        done += pages[count].iov_len;
    }
    const iovec local{to, size};
    const long copied =
        host::raw_syscall(SYS_process_vm_readv, host::raw_getpid(), &local, 1L, pages, count, 0L);
    return host::is_error(copied) ? 0 : static_cast<size_t>(copied);
}

void add_part(Copy* copy, uintptr_t from, uintptr_t to) {
    if (to <= from) return;
    const size_t size = to - from < kStackPartBytes ? to - from : kStackPartBytes;
    unsigned char* at = copy->parts + copy->size;
    const StackPart part{from, copy_memory(from, size, at + sizeof(StackPart))};
    if (part.size == 0) return;
    memcpy(at, &part, sizeof part);
    copy->size += sizeof part + part.size;
    copy->record.part_count++;
}

// From the saved frame up.  A fiber that waits in a handler on its alternate stack has the
// interrupted frames on its own one, whose upper end is taken then; main's has no known end.
void copy_stack(const Fiber* fiber, uintptr_t context, Copy* copy) {
    copy->record.part_count = 0;
    copy->size = 0;
    const uintptr_t low = fiber->stack_low, top = fiber->stack_top;
    const uintptr_t alternate = fiber->alternate_stack;
    const uintptr_t alternate_top = alternate + fiber->alternate_stack_size;
    if (context >= low && context < top) {
        add_part(copy, context, top);
    } else if (alternate != 0 && context >= alternate && context < alternate_top) {
        add_part(copy, context, alternate_top);
        add_part(copy, top - low > kStackPartBytes ? top - kStackPartBytes : low, top);
    } else {
        add_part(copy, context, context + kStackPartBytes);
    }
}

void describe(const Fiber* fiber, StackRecord* record) {
    host::Line line;
    describe_fiber(fiber, thread_name, Platform::now_ns(), &line);
    const size_t most = sizeof record->line - 1;
    const size_t length = line.size() < most ? line.size() : most;
    memset(record->line, 0, sizeof record->line);
    memcpy(record->line, line.text(), length);
}

StackKind copy_once(const Fiber* fiber, Copy* copy) {
    const FiberState state = fiber->state.load();
    if (state == FiberState::kInCall) return StackKind::kInCall;
    if (state != FiberState::kParked && state != FiberState::kRunnable) return StackKind::kRuns;
    const uint32_t wait = fiber->park.value();
    if (state == FiberState::kParked && !ParkWord<Platform>::is_asleep(wait))
        return StackKind::kChanged;
    const host::Context context = fiber->context;
    const int64_t since_ns = fiber->since_ns;
    std::atomic_thread_fence(std::memory_order_seq_cst);
    copy_stack(fiber, reinterpret_cast<uintptr_t>(context), copy);
    describe(fiber, &copy->record);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const bool is_same = fiber->state.load() == state && fiber->park.value() == wait &&
                         *const_cast<host::Context const volatile*>(&fiber->context) == context &&
                         *const_cast<int64_t const volatile*>(&fiber->since_ns) == since_ns;
    return is_same ? StackKind::kCopied : StackKind::kChanged;
}

}  // namespace

size_t copy_stack_message(const Fiber* fiber, unsigned char* message) {
    Copy copy{{}, message + sizeof(StackRecord), 0};
    StackRecord& record = copy.record;
    for (int i = 0; i < kTries; i++) {
        record.kind = copy_once(fiber, &copy);
        if (record.kind != StackKind::kChanged) break;
    }
    if (record.kind != StackKind::kCopied) {
        describe(fiber, &record);
        record.part_count = 0;
        copy.size = 0;
    }
    record.registers = {};
    uint64_t frame[host::kSavedBytes / 8];
    StackPart first;
    if (copy.size >= sizeof first + sizeof frame) {
        memcpy(&first, copy.parts, sizeof first);
        memcpy(frame, copy.parts + sizeof first, sizeof frame);
        if (first.size >= sizeof frame)
            record.registers =
                host::saved_registers(reinterpret_cast<host::Context>(first.address), frame);
    }
    memcpy(message, &record, sizeof record);
    return sizeof record + copy.size;
}

bool may_read_stacks(int socket) {
    ucred reader{};
    socklen_t size = sizeof reader;
    uid_t real = 0, effective = 0, saved = 0;
    if (host::raw_syscall(SYS_getsockopt, socket, SOL_SOCKET, SO_PEERCRED, &reader, &size) != 0 ||
        host::raw_syscall(SYS_getresuid, &real, &effective, &saved) != 0)
        return false;
    return reader.uid == 0 || reader.uid == real || reader.uid == saved;
}

}  // namespace pfiber::shim
