// `pfiber dump PID`: every fiber of a running process, without ending it.
//
// The process gets its preemption signal queued with our pid (shim/inspect.h) and writes the list
// to an abstract socket of ours; it needs no descriptor and no thread of its own for that while
// nobody asks.  With --stacks it appends copies of the stacks (launcher_stacks.h).  A process
// without fibers ignores the signal, so silence is the answer then.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>

#include "interpose/launcher_stacks.h"
#include "scheduler/host/report.h"

namespace pfiber {

namespace {

constexpr uint64_t kDumpTag = 0x7066696200000000;  // shim/inspect.h
constexpr uint64_t kDumpStacks = 0x40000000;       // shim/dump.h
constexpr int kAnswerMs = 3000;
constexpr int kExitUsage = 125;

std::string contents(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// The preemption signal of the process: its environment may name another than SIGURG.
int signal_of(const std::string& environment) {
    const std::string name = std::string(1, '\0') + "PFIBER_SIGNAL=";
    const size_t at = (std::string(1, '\0') + environment).find(name);
    if (at == std::string::npos) return SIGURG;
    const int signal = atoi(environment.c_str() + at + name.size() - 1);
    return signal > 0 && signal <= 64 ? signal : SIGURG;
}

int listen_for_answer() {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const int size = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "pfiber.dump.%d",
                              static_cast<int>(getpid()));
    const auto length =
        static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1) + static_cast<socklen_t>(size);
    if (fd >= 0 && bind(fd, reinterpret_cast<sockaddr*>(&address), length) == 0 &&
        listen(fd, 1) == 0)
        return fd;
    return -1;
}

// The connection of process `id` itself: the socket's name is anybody's to know.  -1: it does not
// come.
int accept_answer(int listener, long id) {
    pollfd wait{listener, POLLIN, 0};
    while (poll(&wait, 1, kAnswerMs) == 1) {
        const int fd = accept(listener, nullptr, nullptr);
        ucred sender{};
        socklen_t size = sizeof sender;
        if (fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &sender, &size) == 0 &&
            sender.pid == id)
            return fd;
        if (fd >= 0) close(fd);
    }
    return -1;
}

// All of it before anything is printed: the process does not wait for our reader.
std::string read_answer(int fd) {
    std::string answer;
    char buffer[65536];
    ssize_t count;
    while ((count = recv(fd, buffer, sizeof buffer, 0)) > 0)
        answer.append(buffer, static_cast<size_t>(count));
    return answer;
}

}  // namespace

int dump_process(const char* text, bool wants_stacks) {
    char* end = nullptr;
    errno = 0;
    const long id = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || errno != 0 || id <= 0 || id > 0x3fffffff) {
        host::error("dump: %s is not a process id", text);
        return kExitUsage;
    }
    const std::string proc = "/proc/" + std::to_string(id);
    if (contents(proc + "/maps").find("libpfiber.so") == std::string::npos) {
        host::error(access(proc.c_str(), F_OK) == 0 ? "dump: process %ld does not run under pfiber"
                                                    : "dump: there is no process %ld",
                    id);
        return 1;
    }
    const bool has_stacks = wants_stacks && can_print_stacks();
    const int listener = listen_for_answer();
    sigval value{};
    value.sival_ptr = reinterpret_cast<void*>(kDumpTag | (has_stacks ? kDumpStacks : 0) |
                                              static_cast<uint64_t>(getpid()));
    if (listener < 0 ||
        sigqueue(static_cast<pid_t>(id), signal_of(contents(proc + "/environ")), value) != 0) {
        host::error("dump: process %ld cannot be asked: %s", id, strerror(errno));
        return 1;
    }
    const int fd = accept_answer(listener, id);
    if (fd < 0) {
        host::error(
            "dump: process %ld does not answer: it has created no thread yet, is stopped, or is in "
            "another network namespace",
            id);
        return 1;
    }
    // The list's text, and behind a zero byte what launcher_stacks.h prints.
    const std::string answer = read_answer(fd);
    const size_t list = std::min(answer.find('\0'), answer.size());
    fwrite(answer.data(), 1, list, stdout);
    fflush(stdout);
    const size_t stacks = std::min(list + 1, answer.size());
    if (has_stacks && !print_stacks(static_cast<pid_t>(id), answer.substr(stacks))) return 1;
    return fflush(stdout) == 0 && has_stacks == wants_stacks ? 0 : 1;
}

}  // namespace pfiber
