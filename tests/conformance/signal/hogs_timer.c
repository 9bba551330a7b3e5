// A timer on the CPU clock takes turns among threads that compute.
// env: PFIBER_PREEMPT=timer
// expect: preemptions>=4
// limit: 60
#include "hogs.inc"
