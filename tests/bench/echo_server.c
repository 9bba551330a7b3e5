// Thread-per-connection echo server: blocking read, blocking write, nothing else.
// usage: echo_server PORT [STACK_BYTES]     PORT 0 takes a free one; "listening PORT" is printed
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "server.h"

static void* serve(void* arg) {
    int fd = (int)(intptr_t)arg;
    char buffer[4096];
    ssize_t got;
    while ((got = read(fd, buffer, sizeof buffer)) > 0) {
        ssize_t done = 0;
        while (done < got) {
            ssize_t put = write(fd, buffer + done, (size_t)(got - done));
            if (put <= 0) goto out;
            done += put;
        }
    }
out:
    close(fd);
    return NULL;
}

int main(int argc, char** argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: %s PORT [STACK_BYTES]\n", argv[0]);
        return 2;
    }
    return accept_loop(atoi(argv[1]), argc > 2 ? (size_t)atol(argv[2]) : 0, serve);
}
