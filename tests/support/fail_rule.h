// One rule of the fault injector, as its command line has it:
//
//   NAME[(CONDITION,…)]:ERRNO[:WHEN][@any]
//     NAME       a system call (the ones below)
//     CONDITION  aI=V, aI&M (any of these bits), aI>V, aI<V; I is the argument's number from 0, V
//                and M have at most 32 bits (of a wider argument = and & compare the low half)
//     WHEN       N-M (the calls of these numbers), N- (from the Nth on), %N (each Nth),
//                ?N (one in N at random); all of them without it
//     @any       also calls from outside libpfiber.so: else those of the program and of libc pass
#pragma once

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

namespace pfiber::fail {

struct Condition {
    int argument = 0;
    char comparison = '=';
    uint32_t value = 0;
};

struct Rule {
    int number = -1;
    int error = 0;
    bool is_anywhere = false;
    int condition_count = 0;
    Condition conditions[4];
    char when = '-';
    long first = 1, last = -1;  // of '-'; of '%' and '?' the period is `first`
};

struct Name {
    const char* text;
    int value;
};

constexpr Name kCalls[] = {
#define PFIBER_CALL(name) \
    { #name, SYS_##name }
    PFIBER_CALL(arch_prctl),
    PFIBER_CALL(clone),
    PFIBER_CALL(clone3),
    PFIBER_CALL(close),
    PFIBER_CALL(close_range),
    PFIBER_CALL(epoll_create1),
    PFIBER_CALL(epoll_ctl),
    PFIBER_CALL(epoll_pwait),
    PFIBER_CALL(epoll_pwait2),
    PFIBER_CALL(eventfd2),
    PFIBER_CALL(fcntl),
    PFIBER_CALL(fstat),
    PFIBER_CALL(futex),
    PFIBER_CALL(getdents64),
    PFIBER_CALL(getsockopt),
    PFIBER_CALL(get_robust_list),
    PFIBER_CALL(madvise),
    PFIBER_CALL(membarrier),
    PFIBER_CALL(mincore),
    PFIBER_CALL(mmap),
    PFIBER_CALL(mprotect),
    PFIBER_CALL(mremap),
    PFIBER_CALL(munmap),
    PFIBER_CALL(nanosleep),
    PFIBER_CALL(openat),
    PFIBER_CALL(perf_event_open),
    PFIBER_CALL(poll),
    PFIBER_CALL(prctl),
    PFIBER_CALL(preadv2),
    PFIBER_CALL(process_vm_readv),
    PFIBER_CALL(prlimit64),
    PFIBER_CALL(pwritev2),
    PFIBER_CALL(read),
    PFIBER_CALL(recvfrom),
    PFIBER_CALL(rseq),
    PFIBER_CALL(rt_sigaction),
    PFIBER_CALL(rt_sigprocmask),
    PFIBER_CALL(sched_yield),
    PFIBER_CALL(sendto),
    PFIBER_CALL(set_robust_list),
    PFIBER_CALL(sigaltstack),
    PFIBER_CALL(tgkill),
    PFIBER_CALL(timer_create),
    PFIBER_CALL(timer_delete),
    PFIBER_CALL(timer_settime),
    PFIBER_CALL(write),
    PFIBER_CALL(clock_gettime),
    PFIBER_CALL(ppoll),
    PFIBER_CALL(sched_getaffinity),
    PFIBER_CALL(set_tid_address),
    PFIBER_CALL(socket),
    PFIBER_CALL(rt_tgsigqueueinfo),
    PFIBER_CALL(rt_sigtimedwait),
    PFIBER_CALL(rt_sigqueueinfo),
    PFIBER_CALL(sched_getparam),
    PFIBER_CALL(rt_sigpending),
    PFIBER_CALL(getcwd),
    PFIBER_CALL(connect),
    PFIBER_CALL(setsockopt),
    PFIBER_CALL(getresuid),
#undef PFIBER_CALL
};

constexpr Name kErrors[] = {
    {"EPERM", EPERM},   {"EINTR", EINTR},   {"EBADF", EBADF},   {"EAGAIN", EAGAIN},
    {"ENOMEM", ENOMEM}, {"EACCES", EACCES}, {"EFAULT", EFAULT}, {"EINVAL", EINVAL},
    {"ENFILE", ENFILE}, {"EMFILE", EMFILE}, {"ENOSPC", ENOSPC}, {"ENOSYS", ENOSYS},
    {"ENOENT", ENOENT}, {"ESRCH", ESRCH},   {"EBUSY", EBUSY},
};

template <size_t N>
int value_of(const Name (&names)[N], const char* text, size_t size) {
    for (const Name& name : names)
        if (strlen(name.text) == size && memcmp(name.text, text, size) == 0) return name.value;
    return -1;
}

inline bool parse_condition(const char*& at, Condition* out) {
    char* end;
    if (*at++ != 'a') return false;
    out->argument = static_cast<int>(strtol(at, &end, 10));
    out->comparison = *end;
    if (end == at || strchr("=&><", *end) == nullptr) return false;
    at = end + 1;
    out->value = static_cast<uint32_t>(strtoul(at, &end, 0));
    const bool has_value = end != at;
    at = end;
    return has_value && out->argument < 6;
}

inline bool parse_when(const char* at, Rule* out) {
    char* end;
    if (*at == '%' || *at == '?') out->when = *at++;
    out->first = strtol(at, &end, 10);
    if (end == at || out->first < 1) return false;
    if (out->when != '-') return *end == '\0';
    if (*end++ != '-') return false;
    if (*end != '\0') out->last = strtol(end, &end, 10);
    return *end == '\0';
}

// False: malformed, or a name that is not in the tables.
inline bool parse_rule(const char* source, Rule* out) {
    char text[256];
    if (strlen(source) >= sizeof text) return false;
    strcpy(text, source);
    if (char* place = strchr(text, '@')) {
        if (strcmp(place, "@any") != 0) return false;
        out->is_anywhere = true;
        *place = '\0';
    }
    size_t size = strcspn(text, "(:");
    out->number = value_of(kCalls, text, size);
    const char* at = text + size;
    if (*at == '(') {
        do {
            at++;
            if (out->condition_count == 4 ||
                !parse_condition(at, &out->conditions[out->condition_count++]))
                return false;
        } while (*at == ',');
        if (*at++ != ')') return false;
    }
    if (out->number < 0 || *at++ != ':') return false;
    size = strcspn(at, ":");
    out->error = value_of(kErrors, at, size);
    at += size;
    return out->error > 0 && (*at == '\0' || parse_when(at + 1, out));
}

// The arguments satisfy the rule's conditions.
inline bool matches(const Rule& rule, int number, const uint64_t* arguments) {
    if (rule.number != number) return false;
    for (int i = 0; i < rule.condition_count; i++) {
        const Condition& condition = rule.conditions[i];
        const uint64_t whole = arguments[condition.argument];
        const auto low = static_cast<uint32_t>(whole);
        if (condition.comparison == '=' && low != condition.value) return false;
        if (condition.comparison == '&' && (low & condition.value) == 0) return false;
        if (condition.comparison == '>' && whole <= condition.value) return false;
        if (condition.comparison == '<' && whole >= condition.value) return false;
    }
    return true;
}

}  // namespace pfiber::fail
