// See dump.h.
#include "shim/dump.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>

#include "scheduler/host/report.h"
#include "scheduler/runtime.h"
#include "scheduler/runtime_descriptors.h"
#include "scheduler/trace.h"
#include "shim/stacks.h"
#include "shim/thread.h"

namespace pfiber::shim {

namespace {

constexpr int64_t kReaderStandsNs = 3000000000;  // it gets no more then
constexpr size_t kBufferBytes = 320 * 1024;
static_assert(kBufferBytes >= kStackMessageBytes);

enum class Part { kLines, kHead, kStacks, kEnd };

// One at a time.
struct Dump {
    int socket = -1;
    Descriptor* is_private = nullptr;  // the socket is out of the program's reach
    bool wants_stacks = false;
    FiberRoll fibers;
    size_t next = 0;  // of them
    Part part = Part::kLines;
    unsigned char* buffer = nullptr;
    size_t room = 0, filled = 0, sent = 0;
    int64_t moved_ns = 0;  // when something was sent last
};

Dump dump;
std::atomic<uint32_t> asked_by{0};
unsigned char small_buffer[2 * host::Line::kSizeMax];  // where no memory is to be had

// Without waiting: one whose backlog is full is not the launcher that asked.
long connect_to(uint32_t who) {
    host::Line name;
    name.add("pfiber.dump.%u", who & ~static_cast<uint32_t>(kDumpStacks));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path + 1, name.text(), name.size());
    const long fd =
        host::raw_syscall(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (host::is_error(fd)) return fd;
    const long rc = host::raw_syscall(SYS_connect, fd, &address,
                                      offsetof(sockaddr_un, sun_path) + 1 + name.size());
    if (!host::is_error(rc)) return fd;
    host::raw_close(static_cast<int>(fd));
    return rc;
}

bool begin(uint32_t who) {
    const long fd = connect_to(who);
    if (host::is_error(fd)) return false;
    dump.socket = duplicate_private(static_cast<int>(fd), &dump.is_private);
    if (dump.socket < 0)
        dump.socket = static_cast<int>(fd);
    else
        host::raw_close(static_cast<int>(fd));
    dump.wants_stacks = (who & kDumpStacks) != 0;
    dump.part = Part::kLines;
    dump.next = dump.filled = dump.sent = 0;
    dump.moved_ns = Platform::now_ns();
    const long at = host::raw_mmap(nullptr, kBufferBytes, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const bool has_memory = !host::is_error(at);
    dump.buffer = has_memory ? reinterpret_cast<unsigned char*>(at) : small_buffer;
    dump.room = has_memory ? kBufferBytes : sizeof small_buffer;
    dump.fibers.take();
    return true;
}

void end() {
    // Also where a child has the socket, too.
    host::raw_syscall(SYS_shutdown, dump.socket, SHUT_RDWR);
    if (dump.is_private != nullptr)
        io_release_private(dump.socket);
    else
        host::raw_close(dump.socket);
    if (dump.buffer != small_buffer) host::raw_munmap(dump.buffer, dump.room);
    dump.fibers.drop();
    dump.socket = -1;
    dump.is_private = nullptr;
}

void put(const void* bytes, size_t size) {
    memcpy(dump.buffer + dump.filled, bytes, size);
    dump.filled += size;
}

void put_lines() {
    const int64_t now = Platform::now_ns();
    while (dump.next < dump.fibers.count() && dump.filled + host::Line::kSizeMax < dump.room) {
        const size_t i = dump.next++;
        if (dump.fibers.is_over(i)) continue;
        host::Line line;
        describe_fiber(dump.fibers.at(i), thread_name, now, &line);
        line.add("\n");
        put(line.text(), line.size());
    }
}

// The next bytes to send; false: that was all.
bool fill() {
    dump.filled = dump.sent = 0;
    while (dump.filled == 0) {
        const bool is_through = dump.next >= dump.fibers.count();
        switch (dump.part) {
            case Part::kLines:
                if (!is_through) {
                    put_lines();
                    break;
                }
                if (dump.fibers.is_cut()) put("... (no memory for the others)\n", 31);
                dump.part = dump.wants_stacks ? Part::kHead : Part::kEnd;
                break;
            case Part::kHead: {
                StackStream stream;
                if (dump.buffer == small_buffer || dump.fibers.is_cut()) stream.error = ENOMEM;
                if (!may_read_stacks(dump.socket)) stream.error = EACCES;
                put("", 1);
                put(&stream, sizeof stream);
                dump.part = stream.error == 0 ? Part::kStacks : Part::kEnd;
                dump.next = 0;
                break;
            }
            case Part::kStacks:
                if (is_through) {
                    StackRecord last;
                    last.kind = StackKind::kEnd;
                    put(&last, sizeof last);
                    dump.part = Part::kEnd;
                } else if (const size_t i = dump.next++; !dump.fibers.is_over(i)) {
                    dump.filled = copy_stack_message(dump.fibers.at(i), dump.buffer);
                    if (dump.fibers.is_over(i)) dump.filled = 0;
                }
                break;
            case Part::kEnd:
                return false;
        }
    }
    return true;
}

// False: it is over, or the reader is gone or stands still.
bool send_some() {
    constexpr int kMostPerRound = 64;  // the monitor has others to look after
    for (int i = 0; i < kMostPerRound; i++) {
        if (dump.sent == dump.filled && !fill()) return false;
        const long sent =
            host::raw_syscall(SYS_sendto, dump.socket, dump.buffer + dump.sent,
                              dump.filled - dump.sent, MSG_NOSIGNAL | MSG_DONTWAIT, 0L, 0L);
        if (sent > 0) {
            dump.sent += static_cast<size_t>(sent);
            dump.moved_ns = Platform::now_ns();
        } else if (sent == -EAGAIN) {
            return Platform::now_ns() - dump.moved_ns < kReaderStandsNs;
        } else if (sent != -EINTR) {
            return false;
        }
    }
    return true;
}

}  // namespace

void dump_request(uint32_t who) {
    asked_by.store(who);
    request_monitor(kServeDump);
}

bool dump_serve() {
    if (dump.socket < 0) {
        const uint32_t who = asked_by.exchange(0);
        if (who == 0 || !begin(who)) return false;
    }
    if (send_some()) return true;
    end();
    return asked_by.load() != 0;
}

void dump_to_messages() {
    FiberRoll fibers;
    fibers.take();
    const int64_t now = Platform::now_ns();
    host::Patience patience(kReaderStandsNs);
    for (size_t i = 0; i < fibers.count() && !patience.is_over(); i++) {
        host::Line line;
        describe_fiber(fibers.at(i), thread_name, now, &line);
        line.write(&patience);
    }
    fibers.drop();
}

void dump_after_fork() {
    asked_by.store(0);
    if (dump.socket < 0) return;
    if (dump.is_private == nullptr) host::raw_close(dump.socket);  // else it is closed
    if (dump.buffer != small_buffer) host::raw_munmap(dump.buffer, dump.room);
    dump.fibers.drop();
    dump.socket = -1;
    dump.is_private = nullptr;
}

}  // namespace pfiber::shim
