// Line protocols on FILE* over sockets: fdopen for both directions, fgets, getline, fprintf,
// fread, fputc, a slow peer, 50 connections with a thread at each end.
// expect: fibers>=100 native_fallbacks=0 locked=0
#include "../../support/twin.h"
#include <atomic>

static std::atomic<int> lines, good;
static const int connections = 50, rounds = 20;

static void* server(void* arg) {
    int fd = (int)(intptr_t)arg;
    FILE *in = fdopen(fd, "r"), *out = fdopen(dup(fd), "w");
    CHECK(in && out);
    char* line = nullptr;
    size_t room = 0;
    ssize_t n;
    while ((n = getline(&line, &room, in)) > 0) {
        lines++;
        CHECK(line[n - 1] == '\n');
        line[n - 1] = 0;
        CHECK(fprintf(out, "%s has %zd\n", line, n - 1) > 0);
        CHECK(fflush(out) == 0);
    }
    CHECK(feof(in) && !ferror(in));
    free(line);
    fclose(in);
    fclose(out);
    return nullptr;
}

static void* client(void* arg) {
    int fd = (int)(intptr_t)arg;
    FILE* f = fdopen(fd, "r+");
    CHECK(f);
    setvbuf(f, nullptr, fd % 2 ? _IOFBF : _IONBF, 256);
    char text[128], reply[256], expected[256];
    for (int i = 0; i < rounds; i++) {
        int n = snprintf(text, sizeof text, "line %d of %d%.*s", i, fd, i * 2,
                         "........................................");
        // In two parts: the server's getline waits in the middle of a line.
        CHECK((int)fwrite(text, 1, 4, f) == 4 && fflush(f) == 0);
        if (i % 8 == 0) nap(1);
        for (int k = 4; k < n; k++) CHECK(fputc(text[k], f) == (unsigned char)text[k]);
        CHECK(fputc('\n', f) == '\n' && fflush(f) == 0);
        CHECK(fgets(reply, sizeof reply, f));
        snprintf(expected, sizeof expected, "%s has %d\n", text, n);
        good += strcmp(reply, expected) == 0;
    }
    fclose(f);
    return nullptr;
}

int main() {
    pthread_t t[2 * connections];
    int fds[connections][2];
    for (auto& pair : fds) tcp_pair(pair);
    for (int i = 0; i < connections; i++) {
        t[2 * i] = start(server, (void*)(intptr_t)fds[i][0]);
        t[2 * i + 1] = start(client, (void*)(intptr_t)fds[i][1]);
    }
    for (pthread_t one : t) finish(one);
    printf("%d lines, %d replies right\n", (int)lines, (int)good);
    return lines != connections * rounds || good != lines;
}
