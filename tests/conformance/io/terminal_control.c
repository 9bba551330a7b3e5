// Terminals as shells and serial programs use them: VMIN and VTIME in every combination, job
// control (reading and writing in the background, SIGTTIN, SIGTTOU, EIO for orphans), hang-up,
// tcdrain, tcflush, packet mode, window size, tcsendbreak, non-blocking reads.
// limit: 60
// flags: -lutil
// expect: fibers>=4 native_fallbacks=0
#include "../../support/twin.h"
#include "../../support/cases.h"
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <termios.h>

static char buffer[4096];
static long do_read(int fd) { return read(fd, buffer, 10); }
static long do_readv(int fd) {
    struct iovec v[2] = {{buffer, 2}, {buffer + 2, 8}};
    return readv(fd, v, 2);
}
static long do_write(int fd) { return write(fd, buffer, sizeof buffer); }
static long do_drain(int fd) { return tcdrain(fd); }

static void say(const char* name, long answer) {
    printf("%s: %ld %s\n", name, answer, answer < 0 ? strerrorname_np(errno) : "ok");
}

static void raw_mode(int fd, int least, int tenths) {
    struct termios m;
    CHECK(tcgetattr(fd, &m) == 0);
    cfmakeraw(&m);
    m.c_cc[VMIN] = (cc_t)least;
    m.c_cc[VTIME] = (cc_t)tenths;
    CHECK(tcsetattr(fd, TCSANOW, &m) == 0);
}

static void modes(void) {
    int master, slave;
    struct call c;
    CHECK(openpty(&master, &slave, NULL, NULL, NULL) == 0);
    static const struct {
        int least, tenths, sent, then;
    } table[] = {{1, 0, 3, 0},   {4, 0, 2, 3}, {0, 0, 0, 0},   {0, 2, 0, 0},
                 {0, 100, 2, 0}, {4, 2, 2, 0}, {4, 100, 2, 2}, {12, 0, 4, 6}};
    for (int i = 0; i < COUNT(table); i++) {
        raw_mode(slave, table[i].least, table[i].tenths);
        char name[64];
        snprintf(name, sizeof name, "VMIN %d VTIME %d", table[i].least, table[i].tenths);
        begin_call(&c, i % 2 ? do_readv : do_read, slave);
        if (table[i].sent) put(master, "abcdefghij", (size_t)table[i].sent);
        if (table[i].then) {
            nap(30);
            printf("%s: %s\n", name, state_of(&c));
            put(master, "klmnopqrst", (size_t)table[i].then);
        }
        end_call(&c, name);
        CHECK(tcflush(slave, TCIFLUSH) == 0);
    }
    raw_mode(slave, 1, 0);
    // A terminal that nobody drains.
    CHECK(fcntl(master, F_SETFL, O_NONBLOCK) == 0);
    say("read nothing", read(master, buffer, 10));
    begin_call(&c, do_write, slave);
    for (int i = 0; i < 10; i++) put(slave, "", 0);
    long got = 0;
    while (got < (long)sizeof buffer) {
        struct pollfd p = {master, POLLIN, 0};
        CHECK(poll(&p, 1, 3000) == 1);
        long n = read(master, buffer, sizeof buffer);
        CHECK(n > 0);
        got += n;
    }
    end_call(&c, "long write");
    begin_call(&c, do_drain, slave);
    end_call(&c, "drain");
    say("break", tcsendbreak(slave, 0));
    struct winsize w = {25, 80, 0, 0};
    say("window", ioctl(master, TIOCSWINSZ, &w));
    CHECK(fcntl(slave, F_SETFL, O_NONBLOCK) == 0);
    say("nonblocking", read(slave, buffer, 10));
    CHECK(fcntl(slave, F_SETFL, 0) == 0);
    int on = 1;
    CHECK(ioctl(master, TIOCPKT, &on) == 0);
    put(slave, "xy", 2);
    struct pollfd p = {master, POLLIN, 0};
    CHECK(poll(&p, 1, 3000) == 1);
    say("packet mode", read(master, buffer, 10));
    CHECK(fcntl(master, F_SETFL, 0) == 0);
    begin_call(&c, do_read, slave);
    close(master);
    end_call(&c, "hang-up while reading");
    say("write after", write(slave, "x", 1));
    close(slave);
    CHECK(openpty(&master, &slave, NULL, NULL, NULL) == 0);
    begin_call(&c, do_read, master);
    close(slave);
    end_call(&c, "last slave closed");
    close(master);
}

// A session whose leader (with threads) controls a terminal; a child in the background reads.
static void session(void) {
    int master, status;
    pid_t leader = forkpty(&master, NULL, NULL, NULL);
    CHECK(leader >= 0);
    if (leader == 0) {
        struct termios m;
        CHECK(tcgetattr(0, &m) == 0);
        m.c_lflag &= ~(tcflag_t)ECHO;
        m.c_lflag |= TOSTOP;
        CHECK(tcsetattr(0, TCSANOW, &m) == 0);
        signal(SIGTTOU, SIG_IGN);
        struct call c;
        begin_call(&c, do_read, 0);
        put(1, "ready\n", 6);
        finish(c.thread);
        int results = c.answer == 3 ? 1 : 0;
        for (int writes = 0; writes < 2; writes++) {
            pid_t child = fork();
            CHECK(child >= 0);
            if (child == 0) {
                CHECK(setpgid(0, 0) == 0);
                signal(SIGTTOU, SIG_DFL);
                begin_call(&c, writes ? do_write : do_read, writes ? 1 : 0);
                finish(c.thread);
                _exit(c.answer > 0 ? 11 : c.error);
            }
            setpgid(child, child);
            CHECK(waitpid(child, &status, WUNTRACED) == child);
            if (WIFSTOPPED(status) && WSTOPSIG(status) == (writes ? SIGTTOU : SIGTTIN))
                results |= 2 << writes;
            CHECK(tcsetpgrp(0, child) == 0);
            CHECK(kill(-child, SIGCONT) == 0);
            if (!writes) put(1, "again\n", 6);
            CHECK(waitpid(child, &status, 0) == child);
            if (exited_with(status, 11)) results |= 8 << writes;
            CHECK(tcsetpgrp(0, getpgrp()) == 0);
        }
        pid_t child = fork();
        if (child == 0) {
            CHECK(setpgid(0, 0) == 0);
            signal(SIGTTIN, SIG_IGN);
            begin_call(&c, do_read, 0);
            finish(c.thread);
            _exit(c.answer < 0 ? c.error : 0);
        }
        CHECK(waitpid(child, &status, 0) == child);
        if (exited_with(status, EIO)) results |= 32;
        _exit(results);
    }
    char line[64];
    size_t n = 0;
    while (n < 7) {
        CHECK(read(master, line + n, 1) == 1);
        n++;
    }
    CHECK(memcmp(line, "ready\r\n", 7) == 0);
    put(master, "ab\n", 3);
    for (n = 0; n < 7; n++) CHECK(read(master, line + n, 1) == 1);
    CHECK(memcmp(line, "again\r\n", 7) == 0);
    put(master, "cd\n", 3);
    while (read(master, buffer, sizeof buffer) > 0) {
    }
    CHECK(waitpid(leader, &status, 0) == leader);
    printf("job control: status %#x\n", status);
    close(master);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    modes();
    session();
    return 0;
}
