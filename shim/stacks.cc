// See stacks.h.
//
// The process copies, the launcher unwinds.  Looking up unwind tables and names takes the loader's
// lock, malloc and files, which somebody may hold for ever when a dump is wanted, and needs a
// thread with a complete thread block, which cannot be made then.  A copy is also all of one
// moment: park word, state and context are the same before and after it, or it is thrown away.
#include "shim/stacks.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "scheduler/base/stack_record.h"
#include "scheduler/host/report.h"
#include "scheduler/host/syscall.h"
#include "scheduler/runtime.h"
#include "scheduler/trace.h"
#include "shim/thread.h"

namespace pfiber::shim {

namespace {

constexpr size_t kPage = 4096;
constexpr size_t kPartBytes = 128 * 1024;
constexpr int kTries = 3;
constexpr int kReaderStands_s = 3;

struct Listed {
    const Fiber* fiber;
    uint64_t id;
};
// A fiber's memory is never unmapped, so the list is good without the registry's lock; one that
// ended is told by its state, one that is used again by its id.
struct List {
    Listed* entries;
    size_t room, count;
};

struct Copy {
    StackRecord record;
    StackPart parts[2];
    unsigned char* bytes;  // 2 * kPartBytes
};

void list_one(Fiber* fiber, void* argument) {
    auto* list = static_cast<List*>(argument);
    if (list->count < list->room) list->entries[list->count++] = {fiber, fiber->id};
}

void* map(size_t size) {
    const long at =
        host::raw_mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return host::is_error(at) ? nullptr : reinterpret_cast<void*>(at);
}

// False: the reader is gone or stands still.
bool send_all(int socket, const void* data, size_t size) {
    const auto* at = static_cast<const char*>(data);
    while (size > 0) {
        const long sent = host::raw_syscall(SYS_sendto, socket, at, size, MSG_NOSIGNAL, 0L, 0L);
        if (sent == -EINTR) continue;
        if (sent <= 0) return false;
        at += sent;
        size -= static_cast<size_t>(sent);
    }
    return true;
}

// The kernel reads, so that memory which goes away meanwhile only ends the copy.  How many bytes.
size_t copy_memory(uintptr_t from, size_t size, void* to) {
    iovec pages[kPartBytes / kPage + 1];  // what is not there ends the transfer between two of them
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
    const size_t size = to - from < kPartBytes ? to - from : kPartBytes;
    unsigned char* bytes = copy->bytes;
    for (uint32_t i = 0; i < copy->record.part_count; i++) bytes += copy->parts[i].size;
    const size_t copied = copy_memory(from, size, bytes);
    if (copied > 0) copy->parts[copy->record.part_count++] = {from, copied};
}

// From the saved frame up.  A fiber that waits in a handler on its alternate stack has the
// interrupted frames on its own one, whose upper end is taken then; main's has no known end.
void copy_stack(const Fiber* fiber, uintptr_t context, Copy* copy) {
    copy->record.part_count = 0;
    const uintptr_t low = fiber->stack_low, top = fiber->stack_top;
    const uintptr_t alternate = fiber->alternate_stack;
    const uintptr_t alternate_top = alternate + fiber->alternate_stack_size;
    if (context >= low && context < top) {
        add_part(copy, context, top);
    } else if (alternate != 0 && context >= alternate && context < alternate_top) {
        add_part(copy, context, alternate_top);
        add_part(copy, top - low > kPartBytes ? top - kPartBytes : low, top);
    } else {
        add_part(copy, context, context + kPartBytes);
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

void copy_fiber(const Fiber* fiber, Copy* copy) {
    StackRecord& record = copy->record;
    for (int i = 0; i < kTries; i++) {
        record.kind = copy_once(fiber, copy);
        if (record.kind != StackKind::kChanged) break;
    }
    if (record.kind != StackKind::kCopied) {
        describe(fiber, &record);
        record.part_count = 0;
    }
    record.registers = {};
    uint64_t frame[host::kSavedBytes / 8];
    if (record.part_count == 0 || copy->parts[0].size < sizeof frame) return;
    memcpy(frame, copy->bytes, sizeof frame);
    record.registers =
        host::saved_registers(reinterpret_cast<host::Context>(copy->parts[0].address), frame);
}

bool send_copy(int socket, const Copy& copy) {
    if (!send_all(socket, &copy.record, sizeof copy.record)) return false;
    const unsigned char* bytes = copy.bytes;
    for (uint32_t i = 0; i < copy.record.part_count; i++) {
        const StackPart& part = copy.parts[i];
        if (!send_all(socket, &part, sizeof part) || !send_all(socket, bytes, part.size))
            return false;
        bytes += part.size;
    }
    return true;
}

// What stands on stacks is for those who may send signals to us: the reader's name could be
// somebody else's by now.
bool may_read(int socket) {
    ucred reader{};
    socklen_t size = sizeof reader;
    uid_t real = 0, effective = 0, saved = 0;
    if (host::raw_syscall(SYS_getsockopt, socket, SOL_SOCKET, SO_PEERCRED, &reader, &size) != 0 ||
        host::raw_syscall(SYS_getresuid, &real, &effective, &saved) != 0)
        return false;
    return reader.uid == 0 || reader.uid == real || reader.uid == saved;
}

}  // namespace

void send_stacks(int socket) {
    const timeval patience{kReaderStands_s, 0};
    host::raw_syscall(SYS_setsockopt, socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    List list{nullptr, static_cast<size_t>(live_fibers()) + 64, 0};
    const size_t list_bytes = list.room * sizeof(Listed);
    list.entries = static_cast<Listed*>(map(list_bytes));
    Copy copy{};
    copy.bytes = static_cast<unsigned char*>(map(2 * kPartBytes));
    StackStream stream;
    if (list.entries == nullptr || copy.bytes == nullptr) stream.error = ENOMEM;
    if (!may_read(socket)) stream.error = EACCES;
    if (send_all(socket, "", 1) && send_all(socket, &stream, sizeof stream) && stream.error == 0) {
        for_each_fiber(list_one, &list);
        bool is_read = true;
        for (size_t i = 0; i < list.count && is_read; i++) {
            const Fiber* fiber = list.entries[i].fiber;
            copy_fiber(fiber, &copy);
            const FiberState state = fiber->state.load();
            const bool is_over = state == FiberState::kFree || state == FiberState::kFinished ||
                                 fiber->id != list.entries[i].id;
            if (!is_over) is_read = send_copy(socket, copy);
        }
        copy.record = {};
        copy.record.kind = StackKind::kEnd;
        if (is_read) send_copy(socket, copy);
    }
    if (list.entries != nullptr) host::raw_munmap(list.entries, list_bytes);
    if (copy.bytes != nullptr) host::raw_munmap(copy.bytes, 2 * kPartBytes);
}

}  // namespace pfiber::shim
