// Runs a program whose system calls fail by rule (fail_rule.h), once or for ever.
//
// usage: fail [-o REPORT] [-s SEED] [-t SECONDS] RULE… -- PROGRAM ARGUMENT…
//   The program needs fail_preload.so in its LD_PRELOAD: its constructor installs a seccomp filter
//   that sends the calls which a rule matches to this process; here each is let through or answered
//   with the rule's error.  REPORT gets a line "RULE seen N failed N" for each rule.
//   Ends as the program ends: with its status, or by its signal.  After SECONDS (20) it is killed,
//   with a SIGQUIT first, so that pfiber prints what every fiber does.
#include "tests/support/fail_rule.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace {

using pfiber::fail::Rule;

struct Counted {
    std::string text;
    Rule rule;
    long seen = 0, failed = 0;
};

std::vector<Counted> rules;
uint64_t random_state = 1;

[[noreturn]] void refuse(const char* what, const char* text) {
    fprintf(stderr, "fail: %s: %s\n", what, text);
    exit(125);
}

uint64_t next_random() {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return random_state >> 33;
}

bool is_due(const Counted& entry) {
    switch (entry.rule.when) {
        case '%':
            return entry.seen % entry.rule.first == 0;
        case '?':
            return next_random() % static_cast<uint64_t>(entry.rule.first) == 0;
        default:
            return entry.seen >= entry.rule.first &&
                   (entry.rule.last < 0 || entry.seen <= entry.rule.last);
    }
}

// The first rule that matches decides.
int error_for(const seccomp_data& call) {
    for (Counted& entry : rules) {
        if (!matches(entry.rule, call.nr, reinterpret_cast<const uint64_t*>(call.args))) continue;
        entry.seen++;
        if (!is_due(entry)) return 0;
        entry.failed++;
        return entry.rule.error;
    }
    return 0;
}

void answer(int listener) {
    seccomp_notif request{};
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &request) != 0) return;  // it is gone
    seccomp_notif_resp response{};
    response.id = request.id;
    response.error = -error_for(request.data);
    if (response.error == 0) response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

// The filter's descriptor, sent by the constructor; -1: the program ended or never sends one.
int receive_listener(int from) {
    char byte;
    iovec part{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    if (recvmsg(from, &message, 0) <= 0 || CMSG_FIRSTHDR(&message) == nullptr) return -1;
    int listener;
    memcpy(&listener, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof listener);
    return listener;
}

int64_t now_ms() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void serve(int listener, int process, pid_t child, int64_t deadline_ms) {
    bool is_asked = false;
    for (;;) {
        pollfd ready[] = {{process, POLLIN, 0}, {listener, POLLIN, 0}};
        const int64_t left = deadline_ms - now_ms();
        if (left <= 0) {
            kill(child, is_asked ? SIGKILL : SIGQUIT);
            is_asked = true;
            deadline_ms = now_ms() + 1000;
        }
        if (poll(ready, listener < 0 ? 1 : 2, left < 0 ? 0 : static_cast<int>(left)) <= 0) continue;
        if (listener >= 0 && (ready[1].revents & POLLIN) != 0) answer(listener);
        if ((ready[0].revents & POLLIN) != 0) return;
    }
}

[[noreturn]] void run(char** program, int socket) {
    const std::string number = std::to_string(socket);
    setenv("FAIL_SOCKET", number.c_str(), 1);
    std::string all;
    for (const Counted& entry : rules) all += entry.text + "\n";
    setenv("FAIL_RULES", all.c_str(), 1);
    execvp(program[0], program);
    refuse("cannot run", program[0]);
}

[[noreturn]] void end_alike(int status) {
    if (!WIFSIGNALED(status)) exit(WEXITSTATUS(status));
    const rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
    signal(WTERMSIG(status), SIG_DFL);
    raise(WTERMSIG(status));
    exit(128 + WTERMSIG(status));
}

}  // namespace

int main(int argc, char** argv) {
    const char* report = nullptr;
    int64_t limit_ms = 20000;
    int at = 1;
    for (; at < argc && strcmp(argv[at], "--") != 0; at++) {
        if (strcmp(argv[at], "-o") == 0 && at + 1 < argc) {
            report = argv[++at];
        } else if (strcmp(argv[at], "-s") == 0 && at + 1 < argc) {
            random_state = strtoull(argv[++at], nullptr, 10);
        } else if (strcmp(argv[at], "-t") == 0 && at + 1 < argc) {
            limit_ms = strtol(argv[++at], nullptr, 10) * 1000;
        } else {
            Counted entry{argv[at], {}};
            if (!pfiber::fail::parse_rule(argv[at], &entry.rule)) refuse("no rule", argv[at]);
            rules.push_back(entry);
        }
    }
    if (at + 1 >= argc) refuse("missing", "-- PROGRAM");
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) refuse("socketpair", strerror(errno));
    const pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        run(argv + at + 1, ends[1]);
    }
    close(ends[1]);
    const int process = static_cast<int>(syscall(SYS_pidfd_open, child, 0));
    if (process < 0) refuse("pidfd_open", strerror(errno));
    // A terminal's or the runner's signals are the program's to answer.
    for (const int number : {SIGINT, SIGQUIT, SIGTERM}) signal(number, SIG_IGN);
    const int listener = rules.empty() ? -1 : receive_listener(ends[0]);
    serve(listener, process, child, now_ms() + limit_ms);
    int status = 0;
    waitpid(child, &status, 0);
    if (FILE* out = report == nullptr ? nullptr : fopen(report, "w")) {
        for (const Counted& entry : rules)
            fprintf(out, "%s seen %ld failed %ld\n", entry.text.c_str(), entry.seen, entry.failed);
        fclose(out);
    }
    end_alike(status);
}
