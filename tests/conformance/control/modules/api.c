// Uses pfiber.h in a library that is opened while threads run.
#include "../../../../interpose/pfiber.h"

int api_active(void) { return pfiber_active(); }
int api_version(void) { return pfiber_version(); }
long api_alive(void) { return pfiber_numgoroutine(); }
int api_maxprocs(int n) { return pfiber_gomaxprocs(n); }
int api_bind(void) { return pfiber_lockosthread(); }
void api_unbind(void) { pfiber_unlockosthread(); }
void api_yield(void) { pfiber_gosched(); }
void api_end(void) { pfiber_goexit(); }
