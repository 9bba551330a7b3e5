// The fortified names (__read_chk, __recv_chk, __recvfrom_chk, __pread_chk, __poll_chk,
// __ppoll_chk, __fgets_chk, __fread_chk) block and deliver like the plain ones.
// flags: -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
// expect: fibers>=7 native_fallbacks=0 locked=0
#include "../../support/twin.h"

// Read at run time only: a constant length lets the compiler choose the plain name.
static volatile size_t length = 5;
static volatile nfds_t one = 1;

static int fds[2];
static sem_t ready;

static void* late_writer(void* arg) {
    (void)arg;
    wait_sem(&ready);
    nap(20);
    put(fds[1], "abcd\n", 5);
    return NULL;
}

static int calls;
static void expect(const char* name, const char* buffer, ssize_t n) {
    CHECK(n == 5 && memcmp(buffer, "abcd\n", 5) == 0);
    printf("%s %zd\n", name, n);
    calls++;
}

int main(void) {
    CHECK(sem_init(&ready, 0, 0) == 0);
    for (int kind = 0; kind < 7; kind++) {
        tcp_pair(fds);
        char buffer[16] = "";
        pthread_t t = start(late_writer, NULL);
        sem_post(&ready);
        struct pollfd p[1] = {{fds[0], POLLIN, 0}};
        struct sockaddr_storage from;
        socklen_t size = sizeof from;
        FILE* f;
        switch (kind) {
            case 0:
                expect("read", buffer, read(fds[0], buffer, length));
                break;
            case 1:
                expect("recv", buffer, recv(fds[0], buffer, length, 0));
                break;
            case 2:
                expect("recvfrom", buffer,
                       recvfrom(fds[0], buffer, length, 0, (struct sockaddr*)&from, &size));
                break;
            case 3:
                CHECK(poll(p, one, 10000) == 1 && p[0].revents == POLLIN);
                expect("poll", buffer, recv(fds[0], buffer, length, MSG_DONTWAIT));
                break;
            case 4: {
                struct timespec limit = {10, 0};
                CHECK(ppoll(p, one, &limit, NULL) == 1 && p[0].revents == POLLIN);
                expect("ppoll", buffer, recv(fds[0], buffer, length, MSG_DONTWAIT));
                break;
            }
            case 5:
                f = fdopen(dup(fds[0]), "r");
                CHECK(f && fgets(buffer, (int)length + 1, f) == buffer);
                expect("fgets", buffer, (ssize_t)strlen(buffer));
                fclose(f);
                break;
            case 6:
                f = fdopen(dup(fds[0]), "r");
                CHECK(f);
                expect("fread", buffer, (ssize_t)fread(buffer, 1, length, f));
                fclose(f);
                break;
        }
        finish(t);
        close(fds[0]);
        close(fds[1]);
    }
    FILE* file = tmpfile();
    CHECK(file && write(fileno(file), "..abcd\n", 7) == 7);
    char buffer[16];
    expect("pread", buffer, pread(fileno(file), buffer, length, 2));
    expect("pread64", buffer, pread64(fileno(file), buffer, length, 2));
    printf("%d calls\n", calls);
    return 0;
}
