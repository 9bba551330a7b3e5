// /proc/self/task/TID/…, /proc/TID/… and /proc/thread-self/… with a fiber's id, which the kernel
// does not know, and the listing of /proc/self/task.
//
// The call is made as it was asked for first; only when the kernel found nothing, or found a
// thread's entry that is a worker's, the path is looked at.  So other paths cost a comparison, and
// an address that cannot be read was refused by the kernel already.
//
//   comm          the fiber's name; written to, it changes that
//   stat, status  a snapshot: the text of the kernel thread that stands for the fiber, with id,
//                 name, state, CPU time, mask, pending signals and number of threads the fiber's
//   the rest      of the kernel thread that stands for it: its worker when it runs or is bound,
//                 else one that has what all threads have that changed nothing
//   the listing   one entry for each fiber and each thread that only the kernel knows
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

#include "scheduler/fiber.h"
#include "scheduler/host/syscall.h"

namespace pfiber::interpose {

// Which entry a path names.
struct ThreadPath {
    enum Kind : uint8_t { kOther, kTasks, kThread, kSelfLink };
    Kind kind = kOther;
    Fiber* fiber = nullptr;      // of kThread
    const char* rest = nullptr;  // below the thread's directory, "" for itself
};

// After the kernel's answer to a call on this path.
bool may_name_thread(long answer, int directory, const char* path);
ThreadPath thread_path(Fiber* self, int directory, const char* path);  // kOther: no such entry

// After an open that answered `answer`: the descriptor, or -errno.
long opened_thread_file(Fiber* self, long answer, int directory, const char* path, int flags);

// The path of the kernel's entry that stands for it; at most `size` bytes.
void stand_in_path(Fiber* self, const ThreadPath& path, char* out, size_t size);
inline constexpr size_t kStandInBytes = 320;

// call(directory, path) is one system call on a path; made again for the entry that stands for a
// fiber.
template <class Call>
long call_on_path(Fiber* self, int directory, const char* path, Call&& call) {
    const long answer = call(directory, path);
    if (__builtin_expect(answer != -ENOENT, 1) || self == nullptr ||
        !may_name_thread(answer, directory, path))
        return answer;
    const ThreadPath named = thread_path(self, directory, path);
    if (named.kind != ThreadPath::kThread) return answer;
    char instead[kStandInBytes];
    stand_in_path(self, named, instead, sizeof instead);
    return call(AT_FDCWD, instead);
}

// readlink of /proc/thread-self; -1: it is another path.
long read_self_link(Fiber* self, int directory, const char* path, char* data, size_t size);
// As many links as the listing has threads.
void count_threads(Fiber* self, int directory, const char* path, unsigned long* links);

// On a descriptor of `comm` that is open for writing.
long write_thread_name(uint32_t tid, const iovec* vector, int count);
// getdents64: on the listing of threads, or on /proc/self/fd, which leaves the runtime's out.
long list_directory(int fd, void* data, size_t size);

}  // namespace pfiber::interpose
