// Checks for conformance programs, for C and C++.
// A failed check writes file:line, the expression, the values and errno to fd 2 with one write(2),
// so that the message is whole even when stdio or a lock is what broke, and ends with _exit(1), so
// that no destructor or atexit handler hides it. There is no watchdog here: the runner limits the
// time, because an alarm would disturb the very signals that many programs are about.
#ifndef PFIBER_TESTS_CHECK_H
#define PFIBER_TESTS_CHECK_H

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

__attribute__((noreturn, format(printf, 4, 5))) static inline void check_failed(
    const char* file, int line, const char* expression, const char* format, ...) {
    int saved = errno;
    char text[1024];
    int n = snprintf(text, sizeof text, "%s:%d: CHECK failed: %s", file, line, expression);
    if (n < 0 || n > 800) n = 800;
    va_list args;
    va_start(args, format);
    int m = vsnprintf(text + n, sizeof text - 64 - (size_t)n, format, args);
    va_end(args);
    n += m < 0 ? 0 : m;
    if (n > (int)sizeof text - 64) n = (int)sizeof text - 64;
    // strerror could take locks of libc; the number and its short name are enough.
    const char* name = strerrorname_np(saved);
    n += snprintf(text + n, sizeof text - (size_t)n, " [errno %d %s]\n", saved, name ? name : "?");
    if (write(2, text, (size_t)n) < 0) _exit(2);
    _exit(1);
}

// expr holds.
#define CHECK(expr)                                                     \
    do {                                                                \
        if (!(expr)) check_failed(__FILE__, __LINE__, #expr, "%s", ""); \
    } while (0)

#define CHECK_COMPARE(a, op, b)                                                                    \
    do {                                                                                           \
        long long check_a = (long long)(a), check_b = (long long)(b);                              \
        if (!(check_a op check_b))                                                                 \
            check_failed(__FILE__, __LINE__, #a " " #op " " #b, ": %lld, %lld", check_a, check_b); \
    } while (0)

// Integers or pointers; both values are printed.
#define CHECK_EQ(a, b) CHECK_COMPARE(a, ==, b)
#define CHECK_NE(a, b) CHECK_COMPARE(a, !=, b)
#define CHECK_GE(a, b) CHECK_COMPARE(a, >=, b)
#define CHECK_GT(a, b) CHECK_COMPARE(a, >, b)
#define CHECK_LE(a, b) CHECK_COMPARE(a, <=, b)
#define CHECK_LT(a, b) CHECK_COMPARE(a, <, b)

// Strings.
#define CHECK_STR(a, b)                                                                     \
    do {                                                                                    \
        const char *check_a = (a), *check_b = (b);                                          \
        if (strcmp(check_a, check_b) != 0)                                                  \
            check_failed(__FILE__, __LINE__, #a " equals " #b, ": \"%s\", \"%s\"", check_a, \
                         check_b);                                                          \
    } while (0)

// A call that returns an error number, as pthread_* do.
#define CHECK_RC(call, want)                                                                      \
    do {                                                                                          \
        int check_rc = (call), check_want = (want);                                               \
        if (check_rc != check_want) {                                                             \
            const char *check_got_name = strerrorname_np(check_rc),                               \
                       *check_want_name = strerrorname_np(check_want);                            \
            check_failed(__FILE__, __LINE__, #call, ": returned %d %s, expected %d %s", check_rc, \
                         check_got_name ? check_got_name : "?", check_want,                       \
                         check_want_name ? check_want_name : "?");                                \
        }                                                                                         \
    } while (0)
#define CHECK_OK(call) CHECK_RC(call, 0)

// A call that returns -1 and sets errno.
#define CHECK_ERRNO(call, want)                                                                  \
    do {                                                                                         \
        errno = 0;                                                                               \
        long long check_result = (long long)(call);                                              \
        if (check_result != -1 || errno != (want))                                               \
            check_failed(__FILE__, __LINE__, #call, ": returned %lld, expected -1 and errno %s", \
                         check_result, #want);                                                   \
    } while (0)

// The machine lacks something: counted as skipped, with the reason on stderr.
#define SKIP(reason)                         \
    do {                                     \
        dprintf(2, "skipped: %s\n", reason); \
        _exit(77);                           \
    } while (0)

#endif
