// timer_create is refused (RLIMIT_SIGPENDING, a sandbox): the monitor's signals take its place.
// env: PFIBER_PREEMPT=auto
// expect: preemptions>=4
// limit: 60
#define BEFORE refuse_timers
#include "switching.h"

#include "refused_call.h"

static void refuse_timers(void) { refuse_call(SYS_timer_create, EAGAIN); }

#include "hogs.inc"
