// sendfile, splice and their kin: bytes that move inside the kernel.
//
// None of them has a non-blocking form for descriptors in blocking mode.  Both ends are polled and
// waited for first; the call itself stands in a region (MAYBE), so that what blocks after all (room
// for one part only) costs a processor nothing.
#include <linux/sock_diag.h>
#include <sys/sendfile.h>

#include "interpose/hooks.h"
#include "interpose/transfer.h"
#include "shim/mask.h"

namespace pfiber::interpose {

namespace {

// 0 when the descriptor is ready or never waits, else -errno.  The call itself is made on
// waiting.fd: the number may have been closed meanwhile.
long wait_ready(Fiber* fiber, Waiting& waiting, uint8_t direction) {
    const DescriptorKind kind = kind_of(waiting.descriptor, waiting.fd);
    if (kind == DescriptorKind::kRegular || kind == DescriptorKind::kUnknown) return 0;
    const auto go_on = [](int) { return 0L; };
    return polled_call(fiber, waiting, direction == kRead ? POLLIN : POLLOUT, go_on, go_on);
}

// Bytes that a socket takes without waiting, roughly.
size_t room_of(int fd) {
    uint32_t memory[SK_MEMINFO_VARS] = {};
    if (socket_option(fd, SO_MEMINFO, memory, sizeof memory) != 0) return kMostBytes;
    const uint32_t queued = memory[SK_MEMINFO_WMEM_QUEUED];    // TCP: bytes
    const uint32_t allocated = memory[SK_MEMINFO_WMEM_ALLOC];  // others: buffers, twice as much
    const uint32_t used = queued > allocated ? queued : allocated;
    constexpr uint32_t kLeast = 4096;
    const uint32_t limit = memory[SK_MEMINFO_SNDBUF];
    const uint32_t room = limit > used ? (limit - used) / (queued > 0 ? 1 : 2) : 0;
    return room > kLeast ? room : kLeast;
}

long sendfile_on(Fiber* fiber, int out, int in, off64_t* offset, size_t count) {
    Descriptor* descriptor = descriptor_of(out);
    if (descriptor == nullptr) return host::raw_syscall(SYS_sendfile, out, in, offset, count);
    const bool is_socket = kind_of(descriptor, out) == DescriptorKind::kSocket;
    Waiting waiting(fiber, out, descriptor, kWrite);
    size_t done = 0;
    for (;;) {
        const long waited = wait_ready(fiber, waiting, kWrite);
        if (waited != 0) return done > 0 ? static_cast<long>(done) : waited;
        size_t part = count - done;
        if (is_socket && part > 0) {
            const size_t room = room_of(waiting.fd);
            if (part > room) part = room;
        }
        // Only the kernel may look at the caller's offset.
        const PredictedCall call = offset == nullptr ? predict_read(SYS_sendfile, in, -1, part)
                                                     : PredictedCall(file_key(SYS_sendfile, in));
        const long answer =
            predicted_call(fiber, call, Restart::kYes, SYS_sendfile, waiting.fd, in, offset, part);
        if (answer <= 0) return done > 0 ? static_cast<long>(done) : answer;
        done += static_cast<size_t>(answer);
        if (done >= count || !is_socket) return static_cast<long>(done);
        RuntimeSection::enter(fiber);
        const bool stops = is_nonblocking(waiting.descriptor, waiting.fd);
        RuntimeSection::leave(fiber);
        if (stops && static_cast<size_t>(answer) < part) return static_cast<long>(done);
    }
}

// Both ends, then call(in, out).
template <class Call>
long between(Fiber* fiber, int in, int out, Call&& call) {
    Descriptor *source = descriptor_of(in), *sink = descriptor_of(out);
    if (source == nullptr || sink == nullptr) return call(in, out);
    Waiting from(fiber, in, source, kRead), to(fiber, out, sink, kWrite);
    long waited = wait_ready(fiber, from, kRead);
    if (waited == 0) waited = wait_ready(fiber, to, kWrite);
    return waited != 0 ? waited : call(from.fd, to.fd);
}

}  // namespace

}  // namespace pfiber::interpose

using namespace pfiber;
using namespace pfiber::interpose;

extern "C" {

ssize_t pf_sendfile64(int out, int in, off64_t* offset, size_t count) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) return result(host::raw_syscall(SYS_sendfile, out, in, offset, count));
    const shim::NoCancel guard(fiber);
    return result(sendfile_on(fiber, out, in, offset, count));
}

ssize_t pf_splice(int in, off64_t* in_offset, int out, off64_t* out_offset, size_t size,
                  unsigned flags) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr)
        return result(plain_call(SYS_splice, in, in_offset, out, out_offset, size, flags));
    shim::cancellation_point(fiber);
    const auto call = [&](int from, int to) {
        return maybe_call(fiber, Restart::kYes, SYS_splice, from, in_offset, to, out_offset, size,
                          flags);
    };
    return result((flags & SPLICE_F_NONBLOCK) != 0 || size == 0 ? call(in, out)
                                                                : between(fiber, in, out, call));
}

ssize_t pf_tee(int in, int out, size_t size, unsigned flags) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) return result(plain_call(SYS_tee, in, out, size, flags));
    shim::cancellation_point(fiber);
    const auto call = [&](int from, int to) {
        return maybe_call(fiber, Restart::kYes, SYS_tee, from, to, size, flags);
    };
    return result((flags & SPLICE_F_NONBLOCK) != 0 || size == 0 ? call(in, out)
                                                                : between(fiber, in, out, call));
}

ssize_t pf_vmsplice(int fd, const iovec* vector, size_t count, unsigned flags) {
    Fiber* fiber = calling_fiber();
    if (fiber == nullptr) return result(plain_call(SYS_vmsplice, fd, vector, count, flags));
    shim::cancellation_point(fiber);
    const auto call = [&](int number) {
        return maybe_call(fiber, Restart::kYes, SYS_vmsplice, number, vector, count, flags);
    };
    Descriptor* descriptor = descriptor_of(fd);
    if ((flags & SPLICE_F_NONBLOCK) != 0 || count == 0 || descriptor == nullptr)
        return result(call(fd));
    const long mode = host::raw_syscall(SYS_fcntl, fd, F_GETFL);
    const bool reads = !host::is_error(mode) && (mode & O_ACCMODE) == O_RDONLY;
    Waiting waiting(fiber, fd, descriptor, reads ? kRead : kWrite);
    const long waited = wait_ready(fiber, waiting, reads ? kRead : kWrite);
    return result(waited != 0 ? waited : call(waiting.fd));
}

ssize_t pf_copy_file_range(int in, off64_t* in_offset, int out, off64_t* out_offset, size_t size,
                           unsigned flags) {
    return cancellable_call(SYS_copy_file_range, in, in_offset, out, out_offset, size, flags);
}

}  // extern "C"
