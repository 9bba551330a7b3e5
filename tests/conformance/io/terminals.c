// A pseudo-terminal: reads block until a line is there, canonical and raw mode, echo, end of file
// by ^D, interrupt by ^C's flushing, tcdrain, poll on both ends, hang-up gives EIO.
// expect: fibers>=4 native_fallbacks=0
#include "../../support/twin.h"
#include <termios.h>

static int master, slave;
static char line[64];
static ssize_t length;

static void* reader(void* arg) {
    (void)arg;
    length = read(slave, line, sizeof line);
    return NULL;
}
static void* raw_reader(void* arg) {
    (void)arg;
    length = (ssize_t)take(slave, line, 5);
    return NULL;
}
static void* echo_reader(void* arg) {
    (void)arg;
    char b[64];
    CHECK(take(master, b, 7) == 7 && memcmp(b, "hello\r\n", 7) == 0);
    return NULL;
}

int main(void) {
    master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0) SKIP("no pseudo-terminals");
    CHECK(grantpt(master) == 0 && unlockpt(master) == 0);
    char name[64];
    CHECK(ptsname_r(master, name, sizeof name) == 0);
    slave = open(name, O_RDWR | O_NOCTTY);
    CHECK(slave >= 0 && isatty(slave));
    pthread_t t = start(reader, NULL), e = start(echo_reader, NULL);
    nap(10);
    put(master, "hel", 3);
    nap(20);
    CHECK(length == 0);  // no line yet
    put(master, "lo\n", 3);
    finish(t);
    finish(e);
    CHECK(length == 6 && memcmp(line, "hello\n", 6) == 0);
    struct termios m;
    CHECK(tcgetattr(slave, &m) == 0);
    m.c_lflag &= ~(tcflag_t)ECHO;
    CHECK(tcsetattr(slave, TCSADRAIN, &m) == 0);
    put(master, "\004", 1);  // an empty line's end: end of file
    finish(start(reader, NULL));
    CHECK(length == 0);
    struct pollfd p[2] = {{slave, POLLIN, 0}, {master, POLLIN, 0}};
    CHECK(poll(p, 2, 0) == 0);
    cfmakeraw(&m);
    CHECK(tcsetattr(slave, TCSANOW, &m) == 0);
    t = start(raw_reader, NULL);
    for (int i = 0; i < 5; i++) {
        nap(2);
        put(master, &"12345"[i], 1);
    }
    finish(t);
    CHECK(length == 5 && memcmp(line, "12345", 5) == 0);
    put(slave, "out\n", 4);
    CHECK(tcdrain(slave) == 0 || errno == EINTR);
    CHECK(poll(p, 2, 5000) == 1 && p[1].revents == POLLIN);
    CHECK(take(master, line, 4) == 4 && memcmp(line, "out\n", 4) == 0);
    close(slave);
    CHECK(read(master, line, 1) == -1 && errno == EIO);
    puts("lines, raw bytes and hang-up ok");
    return 0;
}
