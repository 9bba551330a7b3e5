// PFIBER_PREEMPT=off: each computes to its end.
// env: PFIBER_PREEMPT=off
// expect: preemptions=0
// limit: 60
#include "hogs.inc"
