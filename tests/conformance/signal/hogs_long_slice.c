// A slice of a second is longer than any of them computes.
// env: PFIBER_SLICE_MS=1000
// expect: preemptions=0
// limit: 60
#include "hogs.inc"
