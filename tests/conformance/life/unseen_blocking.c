// Threads that wait in inline system calls keep no processor: in each of four rounds of twenty,
// all but at most eight lose theirs before main goes on.
// expect: missed_blocking>=40
// limit: 40
#include "unseen.inc"
