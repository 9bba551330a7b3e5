// See thread_files.h.
#include "interpose/thread_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "interpose/io.h"
#include "scheduler/cpu_time.h"
#include "scheduler/host/report.h"
#include "shim/kernel_state.h"
#include "shim/thread.h"

namespace pfiber::interpose {

namespace {

constexpr size_t kTextBytes = 8192;

// The number in front of `*at`, which goes past it; -1: there is none.
long take_number(const char** at) {
    const char* c = *at;
    long value = 0;
    if (*c < '1' || *c > '9') return -1;
    for (; *c >= '0' && *c <= '9'; c++) {
        if (value > INT32_MAX) return -1;
        value = value * 10 + (*c - '0');
    }
    if (*c != 0 && *c != '/') return -1;
    *at = c;
    return value;
}

bool take_word(const char** at, const char* word) {
    const size_t length = strlen(word);
    if (strncmp(*at, word, length) != 0 || ((*at)[length] != 0 && (*at)[length] != '/'))
        return false;
    *at += length;
    return true;
}

const char* skip_slashes(const char* at) {
    while (*at == '/') at++;
    return at;
}

ThreadPath thread_named(uint32_t tid, const char* rest) {
    ThreadPath path;
    path.fiber = fiber_with_tid(tid);
    if (path.fiber == nullptr) return path;
    path.kind = ThreadPath::kThread;
    path.rest = skip_slashes(rest);
    return path;
}

ThreadPath below_tasks(const char* at) {
    ThreadPath path;
    at = skip_slashes(at);
    if (*at == 0) {
        path.kind = ThreadPath::kTasks;
        return path;
    }
    const long tid = take_number(&at);
    const bool is_main = tid == host::raw_getpid();
    path = tid < 0 ? path : thread_named(static_cast<uint32_t>(tid), at);
    // The first thread has its own entry; only its CPU time is not what the kernel thinks, and we
    // keep its name.
    if (is_main && path.kind == ThreadPath::kThread && strcmp(path.rest, "stat") != 0 &&
        strcmp(path.rest, "comm") != 0)
        return ThreadPath{};
    return path;
}

uint32_t marked_tid(int directory) {
    const Descriptor* descriptor = descriptor_if_known(directory);
    return descriptor == nullptr ? 0 : descriptor->thread_entry;
}

constexpr uint32_t kTasksMark = 1;  // no fiber has this id

void mark(long fd, uint32_t tid) {
    Descriptor* descriptor = descriptor_of(static_cast<int>(fd));
    if (descriptor == nullptr) return;
    descriptor_opened(static_cast<int>(fd), DescriptorKind::kRegular, true);
    descriptor->thread_entry = tid;
    descriptor->listed_up_to = 0;
}

// ---- texts

struct Text {
    char data[kTextBytes];
    size_t size = 0;

    void put(const char* from, size_t count) {
        if (count > sizeof data - size) count = sizeof data - size;
        memcpy(data + size, from, count);
        size += count;
    }
    void put(host::Line& line) { put(line.text(), line.size()); }
};

size_t read_stand_in(Fiber* self, const ThreadPath& path, char* text, size_t room) {
    char name[kStandInBytes];
    stand_in_path(self, path, name, sizeof name);
    const long fd = host::raw_syscall(SYS_openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC);
    if (host::is_error(fd)) return 0;
    const long size = host::raw_syscall(SYS_read, fd, text, room - 1);
    host::raw_close(static_cast<int>(fd));
    text[size > 0 ? size : 0] = 0;
    return size > 0 ? static_cast<size_t>(size) : 0;
}

const char* name_of(const Fiber* fiber) { return shim::thread_of(fiber)->name; }

// The state of a kernel thread of ours; 0: it is gone.
char state_of_kernel_thread(int tid) {
    host::Line path;
    path.add("/proc/self/task/%d/stat", tid);
    const long fd = host::raw_syscall(SYS_openat, AT_FDCWD, path.text(), O_RDONLY | O_CLOEXEC);
    if (host::is_error(fd)) return 0;
    char text[256];
    const long size = host::raw_syscall(SYS_read, fd, text, sizeof text - 1);
    host::raw_close(static_cast<int>(fd));
    text[size > 0 ? size : 0] = 0;
    const char* rest = strrchr(text, ')');
    return rest != nullptr && rest[1] == ' ' ? rest[2] : 0;
}

// Whoever waits to see another thread asleep counts on its waiting: in a call it may not yet.
char state_of(Fiber* self, Fiber* fiber) {
    const FiberState state = fiber->state.load();
    if (fiber == self || state == FiberState::kRunning || state == FiberState::kRunnable)
        return 'R';
    const char in_call =
        state == FiberState::kInCall ? state_of_kernel_thread(worker_tid(fiber)) : char{0};
    return in_call != 0 ? in_call : 'S';
}

// proc(5): pid (comm) state, then fields 4 to 52; 14 and 15 are CPU time, 20 the number of threads.
void make_stat(Fiber* self, const ThreadPath& path, Text* out) {
    char text[kTextBytes];
    if (read_stand_in(self, path, text, sizeof text) == 0) return;
    const char* rest = strrchr(text, ')');
    if (rest == nullptr || strlen(rest) < 5) return;
    host::Line line;
    line.add("%u (%s) %c", path.fiber->tid, name_of(path.fiber), state_of(self, path.fiber));
    constexpr int64_t kTickNs = 10000000;  // USER_HZ is 100
    const long long ticks = cpu_time_of(path.fiber) / kTickNs;
    rest += 3;  // past the state
    for (int field = 4; *rest != 0; field++) {
        const char* end = strchr(rest + 1, ' ');
        const size_t length = end == nullptr ? strlen(rest) : static_cast<size_t>(end - rest);
        if (field == 14)
            line.add(" %lld", ticks);
        else if (field == 15)
            line.add(" 0");
        else if (field == 20)
            line.add(" %lld", static_cast<long long>(live_fibers()));
        else
            line.add("%.*s", static_cast<int>(length), rest);
        rest += length;
    }
    out->put(line);
}

void make_status(Fiber* self, const ThreadPath& path, Text* out) {
    char text[kTextBytes];
    read_stand_in(self, path, text, sizeof text);
    const shim::Thread* thread = shim::thread_of(path.fiber);
    for (const char* at = text; *at != 0;) {
        const char* end = strchr(at, '\n');
        const size_t length = end == nullptr ? strlen(at) : static_cast<size_t>(end + 1 - at);
        const auto is = [&](const char* key) { return strncmp(at, key, strlen(key)) == 0; };
        host::Line line;
        const char state = state_of(self, path.fiber);
        if (is("Name:"))
            line.add("Name:\t%s\n", thread->name);
        else if (is("State:"))
            line.add("State:\t%c (%s)\n", state, state == 'R' ? "running" : "sleeping");
        else if (is("Pid:"))
            line.add("Pid:\t%u\n", path.fiber->tid);
        else if (is("NSpid:"))
            line.add("NSpid:\t%u\n", path.fiber->tid);
        else if (is("Threads:"))
            line.add("Threads:\t%lld\n", static_cast<long long>(live_fibers()));
        else if (is("SigPnd:"))
            line.add("SigPnd:\t%016lx\n", static_cast<unsigned long>(thread->pending.load()));
        else if (is("SigBlk:"))
            line.add("SigBlk:\t%016lx\n", static_cast<unsigned long>(thread->mask));
        if (line.size() != 0)
            out->put(line);
        else
            out->put(at, length);
        at += length;
    }
}

// A file with this text, at its beginning.
long file_of(const char* name, const Text& text, int flags) {
    const long fd = host::raw_syscall(SYS_memfd_create, name, (flags & O_CLOEXEC) != 0 ? 1 : 0);
    if (host::is_error(fd)) return fd;
    host::raw_syscall(SYS_pwrite64, fd, text.data, text.size, 0);
    return fd;
}

long open_made(Fiber* self, const ThreadPath& path, int flags) {
    Text text;
    const bool writes = (flags & O_ACCMODE) != O_RDONLY;
    const bool is_name = strcmp(path.rest, "comm") == 0;
    if (writes && !is_name) return -EACCES;
    if (is_name) {
        host::Line line;
        line.add("%s\n", name_of(path.fiber));
        text.put(line);
    } else if (strcmp(path.rest, "stat") == 0) {
        make_stat(self, path, &text);
    } else {
        make_status(self, path, &text);
    }
    const long fd = file_of(path.rest, text, flags);
    if (host::is_error(fd)) return fd;
    mark(fd, writes ? path.fiber->tid : 0);
    return fd;
}

bool is_made(const char* rest) {
    return strcmp(rest, "comm") == 0 || strcmp(rest, "stat") == 0 || strcmp(rest, "status") == 0;
}

}  // namespace

bool may_name_thread(long answer, int directory, const char* path) {
    if (answer < 0 && answer != -ENOENT) return false;
    if (!g_runtime_started) return false;
    return path[0] == '/' ? strncmp(path, "/proc/", 6) == 0 : marked_tid(directory) != 0;
}

ThreadPath thread_path(Fiber* self, int directory, const char* path) {
    if (path[0] != '/') {
        const uint32_t tid = marked_tid(directory);
        if (tid == kTasksMark) return *path == 0 ? ThreadPath{} : below_tasks(path);
        return thread_named(tid, path);
    }
    const char* at = skip_slashes(path + strlen("/proc/"));
    if (take_word(&at, "thread-self")) {
        if (*at == 0) return {ThreadPath::kSelfLink, self, at};
        return thread_named(self->tid, at);
    }
    const bool is_self = take_word(&at, "self");
    const long number = is_self ? host::raw_getpid() : take_number(&at);
    if (number >= kFirstFiberTid) return thread_named(static_cast<uint32_t>(number), at);
    at = skip_slashes(at);
    if (number != host::raw_getpid()) return {};
    if (strcmp(at, "comm") == 0) return thread_named(static_cast<uint32_t>(number), at);
    return take_word(&at, "task") ? below_tasks(at) : ThreadPath{};
}

void stand_in_path(Fiber* self, const ThreadPath& path, char* out, size_t size) {
    int tid = host::raw_getpid();
    if (path.fiber == self)
        tid = worker_tid(self);
    else if (path.fiber != main_fiber())
        tid = shim::kernel_thread_of(path.fiber);
    host::Line line;
    line.add("/proc/%d/task/%d/%s", host::raw_getpid(), tid, path.rest);
    strncpy(out, line.text(), size - 1);
    out[size - 1] = 0;
}

long opened_thread_file(Fiber* self, long answer, int directory, const char* path, int flags) {
    if (!may_name_thread(answer, directory, path)) return answer;
    const ThreadPath named = thread_path(self, directory, path);
    if (named.kind == ThreadPath::kTasks && answer >= 0) mark(answer, kTasksMark);
    if (named.kind != ThreadPath::kThread) return answer;
    long fd;
    if (is_made(named.rest)) {
        fd = open_made(self, named, flags);
    } else {
        if (answer >= 0) return answer;
        char instead[kStandInBytes];
        stand_in_path(self, named, instead, sizeof instead);
        fd = host::raw_syscall(SYS_openat, AT_FDCWD, instead, flags & ~O_CREAT);
        if (fd >= 0 && named.rest[0] == 0) mark(fd, named.fiber->tid);
    }
    if (fd < 0 || answer < 0) return fd;
    // The number that the kernel gave is the lowest: the file takes its place.
    host::raw_syscall(SYS_dup3, fd, answer, flags & O_CLOEXEC);
    mark(answer, marked_tid(static_cast<int>(fd)));
    host::raw_close(static_cast<int>(fd));
    return answer;
}

long read_self_link(Fiber* self, int directory, const char* path, char* data, size_t size) {
    if (!may_name_thread(0, directory, path) ||
        thread_path(self, directory, path).kind != ThreadPath::kSelfLink)
        return -1;
    host::Line line;
    line.add("%d/task/%u", host::raw_getpid(), self->tid);
    const size_t length = line.size() < size ? line.size() : size;
    memcpy(data, line.text(), length);
    return static_cast<long>(length);
}

void count_threads(Fiber* self, int directory, const char* path, unsigned long* links) {
    if (self != nullptr && may_name_thread(0, directory, path) &&
        thread_path(self, directory, path).kind == ThreadPath::kTasks)
        *links = 2 + static_cast<unsigned long>(live_fibers());
}

long write_thread_name(uint32_t tid, const iovec* vector, int count) {
    char name[sizeof(shim::Thread::name)] = {};
    size_t length = 0, all = 0;
    for (int i = 0; i < count; i++) {
        const char* data = static_cast<const char*>(vector[i].iov_base);
        for (size_t k = 0; k < vector[i].iov_len && length < sizeof name - 1; k++)
            name[length++] = data[k];
        all += vector[i].iov_len;
    }
    Fiber* fiber = fiber_with_tid(tid);
    if (fiber == nullptr) return -ESRCH;
    shim::set_thread_name(fiber, name);
    return static_cast<long>(all);
}

namespace {

// The fibers with the lowest numbers above `after`, in order.
struct Listing {
    static constexpr int kMost = 128;
    uint64_t after;
    int count = 0;
    struct {
        uint64_t id;
        uint32_t tid;
    } found[kMost];
};

void list_one(Fiber* fiber, void* argument) {
    auto* listing = static_cast<Listing*>(argument);
    if (fiber->id <= listing->after || fiber == main_fiber()) return;
    int at = listing->count;
    if (at == Listing::kMost) {
        if (listing->found[at - 1].id < fiber->id) return;
        at--;
    } else {
        listing->count++;
    }
    for (; at > 0 && listing->found[at - 1].id > fiber->id; at--)
        listing->found[at] = listing->found[at - 1];
    listing->found[at] = {fiber->id, fiber->tid};
}

size_t put_entry(char* at, size_t room, uint64_t id, uint32_t tid) {
    host::Line name;
    name.add("%u", tid);
    const size_t length = (offsetof(dirent64, d_name) + name.size() + 1 + 7) & ~size_t{7};
    if (length > room) return 0;
    memset(at, 0, length);
    auto* entry = reinterpret_cast<dirent64*>(at);
    entry->d_ino = (uint64_t{1} << 40) + tid;
    entry->d_off = static_cast<int64_t>((uint64_t{1} << 40) + id);
    entry->d_reclen = static_cast<unsigned short>(length);
    entry->d_type = DT_DIR;
    memcpy(entry->d_name, name.text(), name.size());
    return length;
}

long list_fibers(Descriptor* descriptor, char* data, size_t size) {
    Listing listing;
    listing.after = descriptor->listed_up_to;
    {
        OptionalSection section;
        for_each_fiber(list_one, &listing);
    }
    size_t used = 0;
    for (int i = 0; i < listing.count; i++) {
        const size_t length =
            put_entry(data + used, size - used, listing.found[i].id, listing.found[i].tid);
        if (length == 0) break;
        used += length;
        descriptor->listed_up_to = listing.found[i].id;
    }
    return used == 0 && listing.count > 0 ? -EINVAL : static_cast<long>(used);
}

// Leaves the entries out for which `drops` holds; the bytes that are left.
template <class Drops>
long without(char* bytes, long size, Drops&& drops) {
    long kept = 0;
    for (long at = 0; at < size;) {
        const auto* entry = reinterpret_cast<const dirent64*>(bytes + at);
        const long length = entry->d_reclen;
        const char* name = entry->d_name;
        if (!drops(take_number(&name))) {
            memmove(bytes + kept, bytes + at, static_cast<size_t>(length));
            kept += length;
        }
        at += length;
    }
    return kept;
}

bool names_hidden(const char* bytes, long size) {
    for (long at = 0; at < size;) {
        const auto* entry = reinterpret_cast<const dirent64*>(bytes + at);
        const char* name = entry->d_name;
        const long number = take_number(&name);
        if (number >= 0 && *name == 0 && is_hidden(static_cast<int>(number))) return true;
        at += entry->d_reclen;
    }
    return false;
}

// fd or fdinfo of this process or one of its threads.
bool lists_our_descriptors(int fd) {
    host::Line link, ours;
    link.add("/proc/self/fd/%d", fd);
    ours.add("/proc/%d/", host::raw_getpid());
    char path[64];
    const long length =
        host::raw_syscall(SYS_readlinkat, AT_FDCWD, link.text(), path, sizeof path - 1);
    if (length <= 0) return false;
    path[length] = 0;
    const char* last = strrchr(path, '/');
    return strncmp(path, ours.text(), ours.size()) == 0 && last != nullptr &&
           (strcmp(last, "/fd") == 0 || strcmp(last, "/fdinfo") == 0);
}

// A listing of numbers that the program did not open is looked at: is it /proc/self/fd?  Not asked
// at the open, because many paths lead there (/dev/fd, fdopendir).
long list_others(int fd, char* bytes, size_t size) {
    for (;;) {
        const long got = host::raw_syscall(SYS_getdents64, fd, bytes, size);
        if (got <= 0 || !g_runtime_started || !names_hidden(bytes, got) ||
            !lists_our_descriptors(fd))
            return got;
        const long kept = without(bytes, got, [](long number) {
            return number >= 0 && is_hidden(static_cast<int>(number));
        });
        if (kept > 0) return kept;
    }
}

}  // namespace

long list_directory(int fd, void* data, size_t size) {
    Descriptor* descriptor = descriptor_if_known(fd);
    if (descriptor == nullptr || descriptor->thread_entry != kTasksMark || !g_runtime_started)
        return list_others(fd, static_cast<char*>(data), size);
    auto* bytes = static_cast<char*>(data);
    for (;;) {
        const long got = host::raw_syscall(SYS_getdents64, fd, data, size);
        if (got < 0) return got;
        if (got == 0) return list_fibers(descriptor, bytes, size);
        descriptor->listed_up_to = 0;  // at the beginning, or rewound
        const long kept = without(bytes, got, [](long tid) {
            return tid >= 0 && tid != host::raw_getpid() && is_worker_tid(static_cast<int>(tid));
        });
        if (kept > 0) return kept;
    }
}

}  // namespace pfiber::interpose
