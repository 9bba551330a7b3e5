// The formatter and the rule where messages go; report.h has the contract.
//
// Not snprintf: that one takes locks, reads the locale and may allocate.  Not a kept descriptor for
// the log: the program owns the descriptor numbers, and a closing loop would take ours away.  A
// message must never kill the program, so a pipe or socket without reader is noticed before the
// write.
#include "scheduler/host/report.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "scheduler/host/call_filter.h"
#include "scheduler/host/syscall.h"

namespace pfiber::host {
namespace {

// Written by report_init() while the process has one thread of ours; read at any time.
struct Target {
    std::atomic<bool> is_known{false};  // false: write to descriptor 2 unseen
    bool is_open = false;               // what follows describes descriptor 2 at start
    dev_t device = 0;
    ino_t inode = 0;
    char log_path[PATH_MAX] = "";
};

Target g_target;
std::atomic<bool> g_is_verbose{false};
std::atomic<bool> g_is_dying{false};
std::atomic<void (*)()> g_fatal_hook{nullptr};

constexpr int kStandardError = 2;

bool stat_descriptor(int fd, struct stat* out) {
    return !is_error(raw_syscall(SYS_fstat, fd, out));
}

int64_t now_ns() {
    struct timespec now = {0, 0};
    raw_syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000 + now.tv_nsec;
}

// -EAGAIN where it would have to wait, as far as the kernel can tell.
long try_write(int fd, mode_t mode, const char* data, size_t size) {
    if (S_ISSOCK(mode)) return raw_syscall(SYS_sendto, fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (S_ISFIFO(mode)) {  // another writer may have filled it since it was looked at
        const iovec bytes = {const_cast<char*>(data), size};
        const long written =
            optional_syscall(kWriteNoWait, SYS_pwritev2, fd, &bytes, 1L, -1L, -1L, RWF_NOWAIT);
        if (written >= 0 || written == -EAGAIN || written == -EINTR) return written;
    }
    return raw_write(fd, data, size);
}

// Gives up where the rest would have to wait for long: a message is worth less than progress.
void write_all(int fd, mode_t mode, const char* data, size_t size, Patience* patience = nullptr) {
    constexpr int64_t kMomentNs = 100000000;
    Patience moment(kMomentNs);
    if (patience == nullptr) patience = &moment;
    const bool may_wait = S_ISFIFO(mode) || S_ISSOCK(mode) || S_ISCHR(mode);
    while (size > 0) {
        if (may_wait && !patience->wait_for_room(fd)) return;
        long written = try_write(fd, mode, data, size);
        if (written == -EINTR || (written == -EAGAIN && may_wait)) continue;
        if (written <= 0) return;
        patience->moved();
        data += written;
        size -= static_cast<size_t>(written);
    }
}

// False where the file cannot be opened; O_NONBLOCK so that a FIFO without reader cannot hang us.
bool write_to_log(const char* data, size_t size, Patience* patience) {
    constexpr int kFlags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    long fd = raw_syscall(SYS_openat, AT_FDCWD, g_target.log_path, kFlags, 0666);
    if (is_error(fd)) return false;
    struct stat now;
    if (stat_descriptor(static_cast<int>(fd), &now)) {
        write_all(static_cast<int>(fd), now.st_mode, data, size, patience);
    }
    raw_close(static_cast<int>(fd));
    return true;
}

void write_message(const char* data, size_t size, Patience* patience) {
    bool is_known = g_target.is_known.load(std::memory_order_acquire);  // pairs with report_init()
    if (is_known && g_target.log_path[0] != '\0' && write_to_log(data, size, patience)) return;
    struct stat now;
    if (!stat_descriptor(kStandardError, &now)) return;
    if (is_known &&
        (!g_target.is_open || now.st_dev != g_target.device || now.st_ino != g_target.inode)) {
        return;
    }
    write_all(kStandardError, now.st_mode, data, size, patience);
}

// Copies the path as an absolute one; an unusable path leaves none.
void set_log_path(const char* path) {
    char* out = g_target.log_path;
    size_t used = 0;
    out[0] = '\0';
    if (path == nullptr || path[0] == '\0') return;
    if (path[0] != '/') {
        long size = raw_syscall(SYS_getcwd, out, sizeof g_target.log_path);
        if (is_error(size) || out[0] != '/')
            size = 1;  // 1 = the zero byte alone: relative it stays
        used = static_cast<size_t>(size) - 1;
        if (used > 0 && out[used - 1] != '/' && used + 1 < sizeof g_target.log_path) {
            out[used++] = '/';
        }
    }
    size_t size = strlen(path);
    if (used + size >= sizeof g_target.log_path) {
        out[0] = '\0';
        return;
    }
    memcpy(out + used, path, size + 1);
}

void print(const char* level, const char* format, va_list arguments) {
    Line line;
    line.add("pfiber: %s: ", level).add_list(format, arguments);
    line.write();
}

[[noreturn]] void abort_process() {
    struct KernelAction {
        void (*handler)(int);
        unsigned long flags;
        void (*restorer)();
        uint64_t mask;
    };
    KernelAction action = {SIG_DFL, 0, nullptr, 0};
    raw_syscall(SYS_rt_sigaction, SIGABRT, &action, nullptr, sizeof action.mask);
    uint64_t mask = 1ull << (SIGABRT - 1);
    raw_sigprocmask(SIG_UNBLOCK, &mask, nullptr);
    raw_tgkill(raw_getpid(), raw_gettid(), SIGABRT);
    // Only where the signal could not be sent, e.g. under a seccomp filter.
    for (;;) raw_syscall(SYS_exit_group, 128 + SIGABRT);
}

[[noreturn]] void die() {
    // A second failure, in the hook or in another thread meanwhile, must not print for ever.
    if (!g_is_dying.exchange(true)) {
        void (*hook)() = g_fatal_hook.load();
        if (hook != nullptr) hook();
    }
    abort_process();
}

// One conversion: %[-0][width][.precision][h|hh|l|ll|z|j|t]letter.
struct Conversion {
    bool is_left = false;
    bool is_zero_padded = false;
    bool is_long = false;
    int width = 0;
    int precision = -1;
    char letter = '\0';
};

int read_number(const char*& at, va_list* arguments) {
    if (*at == '*') {
        at++;
        return va_arg(*arguments, int);
    }
    int number = 0;
    while (*at >= '0' && *at <= '9' && number < 100000) number = number * 10 + (*at++ - '0');
    return number;
}

// `at` stands behind the percent sign and ends behind the letter, or on the final zero byte.
Conversion read_conversion(const char*& at, va_list* arguments) {
    Conversion conversion;
    for (; *at == '-' || *at == '0'; at++) {
        (*at == '-' ? conversion.is_left : conversion.is_zero_padded) = true;
    }
    conversion.width = read_number(at, arguments);
    if (*at == '.') conversion.precision = read_number(++at, arguments);
    for (; *at == 'l' || *at == 'z' || *at == 'j' || *at == 't' || *at == 'h'; at++) {
        if (*at != 'h')
            conversion.is_long = true;  // h promotes to int; the others are 64 bits here
    }
    conversion.letter = *at;
    if (*at != '\0') at++;
    return conversion;
}

}  // namespace

void Line::put(char character) {
    if (size_ < kSizeMax - 1) {
        buffer_[size_++] = character;
    } else {
        is_truncated_ = true;
    }
}

void Line::put_text(const char* text, size_t size, int width, bool is_left) {
    size_t target = width > 0 ? static_cast<size_t>(width) : 0;
    for (size_t i = size; !is_left && i < target; i++) put(' ');
    for (size_t i = 0; i < size; i++) put(text[i]);
    for (size_t i = size; is_left && i < target; i++) put(' ');
}

void Line::put_number(unsigned long long value, bool is_negative, unsigned base, const char* digits,
                      int width, bool is_left, bool is_zero_padded) {
    char text[24];
    size_t start = sizeof text;
    do {
        text[--start] = digits[value % base];
        value /= base;
    } while (value != 0);
    if (is_zero_padded && !is_left) {
        if (is_negative) put('-');
        for (int i = static_cast<int>(sizeof text - start) + is_negative; i < width; i++) put('0');
        width = 0;
    } else if (is_negative) {
        text[--start] = '-';
    }
    put_text(text + start, sizeof text - start, width, is_left);
}

Line& Line::add(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    add_list(format, arguments);
    va_end(arguments);
    return *this;
}

Line& Line::add_list(const char* format, va_list list) {
    va_list arguments;
    va_copy(arguments, list);
    const char* at = format;
    while (*at != '\0') {
        if (*at != '%') {
            put(*at++);
            continue;
        }
        at++;
        Conversion c = read_conversion(at, &arguments);
        if (c.letter == 's') {
            const char* text = va_arg(arguments, const char*);
            if (text == nullptr) text = "(null)";
            size_t size = c.precision >= 0 ? strnlen(text, static_cast<size_t>(c.precision))
                                           : strnlen(text, kSizeMax);
            put_text(text, size, c.width, c.is_left);
        } else if (c.letter == 'c') {
            char character = static_cast<char>(va_arg(arguments, int));
            put_text(&character, 1, c.width, c.is_left);
        } else if (c.letter == 'd' || c.letter == 'i') {
            long long value = c.is_long ? va_arg(arguments, long long) : va_arg(arguments, int);
            bool is_negative = value < 0;
            auto size = static_cast<unsigned long long>(value);
            put_number(is_negative ? 0 - size : size, is_negative, 10, "0123456789", c.width,
                       c.is_left, c.is_zero_padded);
        } else if (c.letter == 'u' || c.letter == 'x' || c.letter == 'X') {
            unsigned long long value =
                c.is_long ? va_arg(arguments, unsigned long long) : va_arg(arguments, unsigned);
            put_number(value, false, c.letter == 'u' ? 10 : 16,
                       c.letter == 'X' ? "0123456789ABCDEF" : "0123456789abcdef", c.width,
                       c.is_left, c.is_zero_padded);
        } else if (c.letter == 'p') {
            put('0');
            put('x');
            put_number(reinterpret_cast<uintptr_t>(va_arg(arguments, void*)), false, 16,
                       "0123456789abcdef", 0, false, false);
        } else if (c.letter == '%') {
            put('%');
        } else {
            break;  // an unknown letter: its argument's size is unknown, so the rest is too
        }
    }
    va_end(arguments);
    return *this;
}

void Line::finish() {
    if (is_truncated_) memcpy(buffer_ + size_ - 3, "...", 3);
}

const char* Line::text() {
    finish();
    buffer_[size_] = '\0';
    return buffer_;
}

bool Patience::wait_for_room(int fd) {
    constexpr int64_t kAtLeastNs = 1000;  // ends, however often there is room and no success
    while (left_ns_ > 0) {
        const int64_t start = now_ns();
        struct pollfd entry = {fd, POLLOUT, 0};
        struct timespec limit = {left_ns_ / 1000000000, left_ns_ % 1000000000};
        const long ready = raw_syscall(SYS_ppoll, &entry, 1, &limit, nullptr, 8);
        left_ns_ -= now_ns() - start + kAtLeastNs;
        if (ready > 0 && (entry.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) return false;
        if (ready > 0 || (is_error(ready) && ready != -EINTR)) return true;  // a filter forbids it
    }
    return false;
}

void Line::write(Patience* patience) {
    finish();
    buffer_[size_] = '\n';
    write_message(buffer_, size_ + 1, patience);
    clear();
}

void Line::write_to(int fd) {
    finish();
    buffer_[size_] = '\n';
    struct stat now;
    if (stat_descriptor(fd, &now)) write_all(fd, now.st_mode, buffer_, size_ + 1);
    clear();
}

void report_init(const char* log_path) {
    g_target.is_known.store(false, std::memory_order_relaxed);
    struct stat now;
    g_target.is_open = stat_descriptor(kStandardError, &now);
    if (g_target.is_open) {
        g_target.device = now.st_dev;
        g_target.inode = now.st_ino;
    }
    set_log_path(log_path);
    g_target.is_known.store(true, std::memory_order_release);  // pairs with write_message()
}

void report_set_verbose(bool is_verbose) {
    g_is_verbose.store(is_verbose, std::memory_order_relaxed);  // orders nothing
}

bool report_is_verbose() { return g_is_verbose.load(std::memory_order_relaxed); }

void report_set_fatal_hook(void (*hook)()) { g_fatal_hook.store(hook); }

void info(const char* format, ...) {
    if (!report_is_verbose()) return;
    va_list arguments;
    va_start(arguments, format);
    print("info", format, arguments);
    va_end(arguments);
}

void warn(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    print("warning", format, arguments);
    va_end(arguments);
}

void error(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    print("error", format, arguments);
    va_end(arguments);
}

void warn_once(std::atomic<bool>& is_reported, const char* format, ...) {
    // Relaxed: the flag decides who prints and publishes nothing.
    if (is_reported.exchange(true, std::memory_order_relaxed)) return;
    va_list arguments;
    va_start(arguments, format);
    print("warning", format, arguments);
    va_end(arguments);
}

void raw_line(const char* format, ...) {
    Line line;
    va_list arguments;
    va_start(arguments, format);
    line.add_list(format, arguments);
    va_end(arguments);
    line.write();
}

void fatal(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    print("fatal", format, arguments);
    va_end(arguments);
    die();
}

void check_failed(const char* file, int line, const char* condition, const char* format, ...) {
    Line message;
    message.add("pfiber: fatal: %s:%d: %s does not hold", file, line, condition);
    format++;  // the macro's leading space, there because an empty format is a compiler warning
    if (*format != '\0') {
        va_list arguments;
        va_start(arguments, format);
        message.add("; ").add_list(format, arguments);
        va_end(arguments);
    }
    message.write();
    die();
}

}  // namespace pfiber::host
