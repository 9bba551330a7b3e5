// flags: -ftls-model=initial-exec
// A library with initial-exec TLS: the loader must fill the static TLS block of every thread that
// exists.
static __thread long value = 42;
static __thread int second = 7;

long ie_add(long n) { return value += n; }
int ie_second(void) { return second; }
void* ie_address(void) { return &value; }
