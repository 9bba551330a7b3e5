// A library with general-dynamic TLS, as almost every shared library has.
static __thread long value = 42;
static __thread char zeros[2000];

long gd_add(long n) {
    zeros[1999]++;
    return value += n;
}
int gd_zero_count(void) { return zeros[1999]; }
void* gd_address(void) { return &value; }
