// The same where the monitor's signals preempt: calls of the library resume with the time left.
// env: PFIBER_PREEMPT=tgkill STRESS_CALLS=200
// limit: 120
#include "no_eintr.cc"
