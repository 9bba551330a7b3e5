// The same as unseen_blocking where perf_event_open is refused, as container runtimes and Debian's
// stock kernel do: /proc tells who sleeps.
// expect: missed_blocking>=40
// limit: 40
#include "twin.h"

#include "refused_call.h"

static void refuse_perf(void) {
    refuse_call(SYS_perf_event_open, EACCES);
    CHECK_ERRNO(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0), EACCES);
}

#define BEFORE refuse_perf
#include "unseen.inc"
