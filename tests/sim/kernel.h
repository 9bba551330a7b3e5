// The simulated kernel: futexes, files, epoll, CPU-time timers; and what the world outside does to
// it.
#pragma once

#include <sys/epoll.h>

#include <list>
#include <map>
#include <memory>
#include <vector>

#include "tests/sim/machine.h"

namespace pfiber::sim {

struct File;

// A registration of a file with an epoll instance.
struct Watch {
    File* target = nullptr;
    File* epoll = nullptr;
    int fd = -1;
    uint32_t events = 0;
    uint64_t data = 0;
    bool is_queued = false;
};

enum class FileKind : uint8_t { kSocket, kListener, kEvent, kEpoll };

struct File {
    FileKind kind = FileKind::kSocket;
    int references = 0;
    std::vector<Watch*> watched_by;
    // A socket's receive side in messages, its send side in room for messages.
    int64_t received = 0, room = 8, capacity = 8;
    bool is_ended = false;
    bool wants_room = false;
    int peer = -1;                     // the workload's number of the other end
    void (*on_sent)(File*) = nullptr;  // the peer notices a message
    std::list<int> backlog;            // of a listener: peers
    // An epoll instance.
    std::list<Watch*> queued;
    std::vector<Watch*> watches;
    std::vector<KernelThread*> sleepers;
};

class Kernel {
  public:
    long call(long number, long a, long b, long c, long d, long e, long f);

    long futex_wait(const void* address, uint32_t expected, int64_t deadline_ns);
    long futex_wake(const void* address, int count);

    // Files, for workloads: calls of a program (steps of time), never blocking.
    int open_socket(FileKind kind, int peer = -1);
    long receive(int fd);  // 1 message, 0 at the end, or -errno
    long send(int fd);
    long accept(int fd);  // a new descriptor
    long close(int fd);

    // The world: no time passes, nobody is switched to.
    void peer_sends(File* file, int64_t count);
    void peer_reads(File* file, int64_t count);
    void peer_ends(File* file);
    void peer_connects(File* listener, int peer);

    File* file(int fd);
    // A queued event whose file is really ready, in an instance in which nobody sleeps.
    bool has_event(File* epoll);

  private:
    int install(File* file, int lowest = 0);
    void release(File* file);
    void raise(File* file, uint32_t events);
    uint32_t state(File* file);
    long epoll_control(int epoll, int operation, int fd, epoll_event* event);
    long epoll_wait(int epoll, epoll_event* events, int room, int64_t deadline_ns);
    int collect(File* epoll, epoll_event* events, int room);
    void forget(Watch* watch);
    bool fault(int64_t one_in);

    std::vector<File*> files_ = std::vector<File*>(3, nullptr);
    std::map<const void*, std::vector<KernelThread*>> futexes_;
    Random faults_{12345};
};
extern Kernel g_kernel;

}  // namespace pfiber::sim
