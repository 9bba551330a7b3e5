// A system call by an instruction of the program's own, which no hook sees.  For C and C++; touches
// neither errno nor anything else of the thread that makes it.
#pragma once
#include <sys/syscall.h>

// The kernel's answer: a value or -errno.  Calls with fewer arguments get zeros.
static inline long inline_syscall(long number, long a, long b, long c, long d) {
    register long r10 __asm__("r10") = d;
    long answer;
    __asm__ volatile("syscall"
                     : "=a"(answer)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
                     : "rcx", "r11", "memory");
    return answer;
}
