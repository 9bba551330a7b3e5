// Thread-per-connection line echo on FILE* over sockets, as line-protocol servers are written.
// usage: stdio_server PORT [STACK_BYTES]
#include <stdint.h>
#include <stdlib.h>

#include "server.h"

static void* serve(void* arg) {
    int fd = (int)(intptr_t)arg;
    FILE* in = fdopen(fd, "r");
    FILE* out = fdopen(dup(fd), "w");
    char line[1024];
    if (in && out) {
        // fprintf and not fputs: formatted output is what such servers do per request.
        while (fgets(line, sizeof line, in))
            if (fprintf(out, "%s", line) < 0 || fflush(out) != 0) break;
    }
    if (out) fclose(out);
    if (in) fclose(in);
    return NULL;
}

int main(int argc, char** argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: %s PORT [STACK_BYTES]\n", argv[0]);
        return 2;
    }
    return accept_loop(atoi(argv[1]), argc > 2 ? (size_t)atol(argv[2]) : 0, serve);
}
