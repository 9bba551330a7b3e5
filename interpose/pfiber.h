/* pfiber.h: what a program may say to pfiber, if it happens to run under it.
 *
 * Nothing here is needed: pfiber runs programs that never heard of it.  A program that includes
 * this header is not linked to pfiber and runs without it too; each function looks for the
 * preloaded library at its first call and has a native answer where there is none.  C99 or C++98
 * and later; executables, libraries and modules that are loaded later.
 *
 * Who may call: any thread, before the first pthread_create as well, but no signal handler (except
 * where it says so), and not between fork and exec in a child of a process with threads.  "On a
 * fiber" is a thread of a program under pfiber; threads that pfiber does not run (made by raw clone
 * or inside libc) get the native answers where they are not the fibers' matter.  Each says which
 * function of Go's package runtime it follows. */
#ifndef PFIBER_H
#define PFIBER_H

#define PFIBER_API_VERSION 1

#ifdef PFIBER_DECLARATIONS_ONLY /* the library itself */
#define PFIBER_FUNCTION(type, name, parameters, arguments, native) type name parameters;
#define PFIBER_PROCEDURE(name, arguments, native) void name(void);
#else
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>
#pragma weak dlsym /* absent from static programs, which have no preloaded library either */

#define PFIBER_FUNCTION(type, name, parameters, arguments, native)            \
    static __inline__ __attribute__((unused)) type name parameters {          \
        static void* libpfiber_place;                                         \
        type(*libpfiber_real) parameters;                                     \
        *(void**)(&libpfiber_real) = libpfiber_find(&libpfiber_place, #name); \
        return libpfiber_real ? libpfiber_real arguments : (native);          \
    }
#define PFIBER_PROCEDURE(name, arguments, native)                             \
    static __inline__ __attribute__((unused)) void name(void) {               \
        static void* libpfiber_place;                                         \
        void (*libpfiber_real)(void);                                         \
        *(void**)(&libpfiber_real) = libpfiber_find(&libpfiber_place, #name); \
        if (libpfiber_real)                                                   \
            libpfiber_real();                                                 \
        else                                                                  \
            (void)(native);                                                   \
    }

/* The library's own function, or null; looked for once. */
static __inline__ __attribute__((unused)) void* libpfiber_find(void** place, const char* name) {
    void* found = __atomic_load_n(place, __ATOMIC_RELAXED);
    if (!found) {
        found = dlsym ? dlsym((void*)0, name) : (void*)0; /* RTLD_DEFAULT */
        if (!found) found = (void*)place;
        __atomic_store_n(place, found, __ATOMIC_RELAXED);
    }
    return found == (void*)place ? (void*)0 : found;
}
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* 1 if this process's threads are fibers, or its first pthread_create will make them so; 0 without
 * pfiber, with PFIBER_OFF=1 and where pfiber had to leave the process native. */
PFIBER_FUNCTION(int, pfiber_active, (void), (), 0)

/* PFIBER_API_VERSION of the preloaded library, 0 without one.  Later versions add functions only.
 */
PFIBER_FUNCTION(int, pfiber_version, (void), (), 0)

/* Lets other fibers run and comes back (Go: Gosched).  As sched_yield, which is as good. */
PFIBER_PROCEDURE(pfiber_gosched, (), sched_yield())

/* Ends the calling thread only, with its clean-up handlers, destructors of frames and of keys (Go:
 * Goexit); in main the others go on.  As pthread_exit(NULL), which is as good.  Does not return. */
PFIBER_PROCEDURE(pfiber_goexit, (), (pthread_exit(0), 0))

/* Fibers alive, the main thread among them: at least 1 under pfiber; 0 where there are none (Go:
 * NumGoroutine).  A moment later it may be wrong.  Signal handlers too. */
PFIBER_FUNCTION(long, pfiber_numgoroutine, (void), (), 0)

/* How many fibers may run at once: n < 1 asks, else sets it to n, at most 1024, and returns the
 * former number (Go: GOMAXPROCS).  Stops the world for some microseconds; fibers that compute
 * without calling anything are not interrupted.  Automatic updates by affinity and cgroup limit end
 * with the first change.  Without memory or descriptors for more it stays as it was, with one line
 * on stderr; ask again to see.  Without pfiber: CPUs online, nothing is set. */
PFIBER_FUNCTION(int, pfiber_gomaxprocs, (int n), (n), (int)sysconf(_SC_NPROCESSORS_ONLN))

/* Back to the automatic number, with updates, even if the variable GOMAXPROCS is set; returns the
 * former number (Go: SetDefaultGOMAXPROCS).  Otherwise as pfiber_gomaxprocs. */
PFIBER_FUNCTION(int, pfiber_setdefaultgomaxprocs, (void), (), (int)sysconf(_SC_NPROCESSORS_ONLN))

/* Binds the calling fiber to its kernel thread until as many unlocks; no other fiber runs there
 * (Go: LockOSThread).  For state that the kernel keeps per kernel thread and that is changed in
 * ways that pfiber does not see; setns, unshare, affinity and the like bind by themselves.  A fiber
 * that ends bound takes its kernel thread with it (the process's first one sleeps for ever
 * instead), kernel threads are never made from a bound one, and threads that a bound fiber makes
 * are not bound.  0; EAGAIN after 2^31 - 1 nested locks; natively 0 and nothing to do. */
PFIBER_FUNCTION(int, pfiber_lockosthread, (void), (), 0)
/* Undoes one of them; without one it does nothing (Go: UnlockOSThread). */
PFIBER_PROCEDURE(pfiber_unlockosthread, (), 0)

/* Around system calls that will block for long and that pfiber cannot see (an inline `syscall`
 * instruction, a driver's ioctl): the processor is given away first, and one is taken again at the
 * end (Go: entersyscallblock, proposed as SyscallBlock in issue 29734).  Without them a monitor
 * finds such a call after some milliseconds.  On one fiber they do not nest: a second begin does
 * nothing, and the first end ends it.  In between, libc's calls are the kernel's and block the
 * kernel thread; waits for mutexes, conditions and the like are allowed and take a processor
 * meanwhile; computing is allowed and runs beside the other processors, so keep it short.  An end
 * without begin does nothing.  Errno is kept. */
PFIBER_PROCEDURE(pfiber_syscall_block_begin, (), 0)
PFIBER_PROCEDURE(pfiber_syscall_block_end, (), 0)

#ifdef __cplusplus
}
#endif

#undef PFIBER_FUNCTION
#undef PFIBER_PROCEDURE
#endif
