// TCP urgent data: MSG_OOB in both directions, the mark (SIOCATMARK), POLLPRI, SO_OOBINLINE, while
// a reader waits for ordinary data.
// expect: fibers>=2 native_fallbacks=0 locked=0
#include "../../support/twin.h"
#include <sys/ioctl.h>

static int fds[2];
static char before[16], after[16];

static void* urgent_reader(void* arg) {
    (void)arg;
    struct pollfd p = {fds[0], POLLPRI, 0};
    CHECK(poll(&p, 1, 10000) == 1 && (p.revents & POLLPRI));
    char c = 0;
    CHECK(recv(fds[0], &c, 1, MSG_OOB) == 1 && c == '!');
    return NULL;
}

static void* reader(void* arg) {
    (void)arg;
    // A read stops at the mark although more data follows it.
    CHECK(take(fds[0], before, 3) == 3);
    int mark = 0;
    CHECK(ioctl(fds[0], SIOCATMARK, &mark) == 0 && mark == 1);
    CHECK(take(fds[0], after, 3) == 3);
    return NULL;
}

int main(void) {
    tcp_pair(fds);
    char c;
    CHECK(recv(fds[0], &c, 1, MSG_OOB) == -1 && errno == EINVAL);
    pthread_t t = start(urgent_reader, NULL);
    nap(20);
    put(fds[1], "abc", 3);
    CHECK(send(fds[1], "!", 1, MSG_OOB) == 1);
    put(fds[1], "def", 3);
    finish(t);
    finish(start(reader, NULL));
    CHECK(memcmp(before, "abc", 3) == 0 && memcmp(after, "def", 3) == 0);
    int on = 1;
    CHECK(setsockopt(fds[0], SOL_SOCKET, SO_OOBINLINE, &on, sizeof on) == 0);
    CHECK(send(fds[1], "xyz", 3, MSG_OOB) == 3);
    char inl[4] = "";
    CHECK(take(fds[0], inl, 3) == 3);
    printf("%s %s %s\n", before, after, inl);
    return 0;
}
