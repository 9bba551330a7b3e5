// The monitor's signals do where there are no timers.
// env: PFIBER_PREEMPT=tgkill
// expect: preemptions>=4
// limit: 60
#include "hogs.inc"
