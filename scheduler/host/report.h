// Messages to whoever runs the program: warnings, errors, fatal errors, dumps, one-line traces.
//
// Each message is built in a fixed buffer on the stack and leaves in one raw write, so lines of
// several threads do not mix and nothing here allocates, locks, changes errno or asks the locale.
// Where it goes: with PFIBER_LOG set, to that file, opened for each message; else to descriptor 2,
// but only while that still is the file it was at start, since a daemon may have put a client
// there; else nowhere.  Must not know fibers or options; start-up hands it what it needs in
// report_init().
//
// Who may call: anybody, anywhere, signal handlers included, before report_init() too.
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <atomic>

#define PFIBER_FORMAT(format_index, first_index) \
    __attribute__((format(printf, format_index, first_index)))

namespace pfiber::host {

// How long the reader of a pipe, socket or terminal may stand still until what is left is dropped.
class Patience {
  public:
    explicit Patience(int64_t limit_ns) : limit_ns_(limit_ns), left_ns_(limit_ns) {}
    bool is_over() const { return left_ns_ <= 0; }
    // Sleeps until `fd` takes something.  False: it is over, or nobody reads.
    bool wait_for_room(int fd);
    void moved() { left_ns_ = limit_ns_; }

  private:
    int64_t limit_ns_, left_ns_;
};

// One line under construction.  Formats: %s %c %p %% and %d %i %u %x %X with h, l, ll, z, j, t; a
// width, `0`, `-` and, for %s, a precision; `*` for both.  What does not fit is cut off and ends in
// "...".
class Line {
  public:
    static constexpr size_t kSizeMax = 1536;  // the final newline included

    Line() = default;
    Line(const Line&) = delete;
    Line& operator=(const Line&) = delete;

    Line& add(const char* format, ...) PFIBER_FORMAT(2, 3);
    Line& add_list(const char* format, va_list arguments) PFIBER_FORMAT(2, 0);

    // Writes the text and a newline, once, and empties the line.
    // write() goes by the rule above; write_to() to this descriptor.  Both silently give up
    // (without SIGPIPE) where the reader is gone, or stands still for 0.1 s or `patience`.
    void write(Patience* patience = nullptr);
    void write_to(int fd);

    const char* text();  // zero-terminated, without the newline
    size_t size() const { return size_; }
    bool is_truncated() const { return is_truncated_; }
    void clear() {
        size_ = 0;
        is_truncated_ = false;
    }

  private:
    void put(char character);
    void put_text(const char* text, size_t size, int width, bool is_left);
    void put_number(unsigned long long value, bool is_negative, unsigned base, const char* digits,
                    int width, bool is_left, bool is_zero_padded);
    void finish();

    size_t size_ = 0;
    bool is_truncated_ = false;
    char buffer_[kSizeMax];
};

// Remembers which file descriptor 2 is now, and copies the path (nullptr or "" = none), made
// absolute so that a later chdir does not move it.  Called by options_parse(); a second call starts
// afresh.
void report_init(const char* log_path);

// Whether info() prints (PFIBER_VERBOSE).
void report_set_verbose(bool is_verbose);
bool report_is_verbose();

// "pfiber: info|warning|error: …".  A warning: look before trusting the result.  An error: this
// process or this request ends.
void info(const char* format, ...) PFIBER_FORMAT(1, 2);
void warn(const char* format, ...) PFIBER_FORMAT(1, 2);
void error(const char* format, ...) PFIBER_FORMAT(1, 2);

// As warn(), but only by the first caller that comes with this flag: once per cause.
void warn_once(std::atomic<bool>& is_reported, const char* format, ...) PFIBER_FORMAT(2, 3);

// A line of its own form: schedtrace, dumps, statistics.
void raw_line(const char* format, ...) PFIBER_FORMAT(1, 2);

// "pfiber: fatal: …", then SIGABRT with the default action, whatever the program did with the
// signal.
[[noreturn]] void fatal(const char* format, ...) PFIBER_FORMAT(1, 2);

// Called by fatal() between its message and the abort, to name fiber and worker; nullptr = nobody.
void report_set_fatal_hook(void (*hook)());

[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               const char* format, ...) PFIBER_FORMAT(4, 5);

}  // namespace pfiber::host

// Holds in every build: PFIBER_CHECK(state == kParked, "fiber %d is %s", id, name).
#define PFIBER_CHECK(condition, ...)                   \
    (__builtin_expect(static_cast<bool>(condition), 1) \
         ? static_cast<void>(0)                        \
         : ::pfiber::host::check_failed(__FILE__, __LINE__, #condition, " " __VA_ARGS__))
