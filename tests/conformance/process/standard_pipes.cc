// A child whose stdin and stdout are the parent's pipes, run with threads on both sides: an
// interactive dialogue, end of input, exit; the pipes stay blocking for the other side.
#include "../../support/twin.h"

static void* upper(void* arg) {
    // The child's filter: one thread reads, this one writes.
    FILE* f = (FILE*)arg;
    char line[128];
    while (fgets(line, sizeof line, f)) {
        for (char* p = line; *p; p++)
            if (*p >= 'a' && *p <= 'z') *p = (char)(*p - 32);
        CHECK(fputs(line, stdout) >= 0 && fflush(stdout) == 0);
    }
    return (void*)1;
}

struct Dialogue {
    int in, out;
    int id, good;
};
static void* talk(void* arg) {
    Dialogue* d = (Dialogue*)arg;
    FILE *to = fdopen(d->in, "w"), *from = fdopen(d->out, "r");
    char line[128], expected[128];
    for (int i = 0; i < 20; i++) {
        fprintf(to, "dialogue %d line %d\n", d->id, i);
        CHECK(fflush(to) == 0);
        snprintf(expected, sizeof expected, "DIALOGUE %d LINE %d\n", d->id, i);
        CHECK(fgets(line, sizeof line, from));
        d->good += strcmp(line, expected) == 0;
    }
    CHECK((fcntl(d->in, F_GETFL) & O_NONBLOCK) == 0 && (fcntl(d->out, F_GETFL) & O_NONBLOCK) == 0);
    fclose(to);
    CHECK(!fgets(line, sizeof line, from) && feof(from));
    fclose(from);
    return nullptr;
}

int main() {
    const int n = 5;
    Dialogue d[n];
    pid_t pid[n];
    for (int i = 0; i < n; i++) {
        int in[2], out[2];
        CHECK(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
        CHECK((pid[i] = fork()) >= 0);
        if (pid[i] == 0) {
            CHECK(dup2(in[0], 0) == 0 && dup2(out[1], 1) == 1);
            closefrom(3);  // the parent's other pipes would delay the end of input
            FILE* f = fdopen(0, "r");
            void* result = finish(start(upper, f));
            _exit(result == (void*)1 ? 30 + i : 1);
        }
        close(in[0]);
        close(out[1]);
        d[i] = {in[1], out[0], i, 0};
    }
    pthread_t t[n];
    int good = 0;
    for (int i = 0; i < n; i++) t[i] = start(talk, &d[i]);
    for (int i = 0; i < n; i++) {
        finish(t[i]);
        good += d[i].good;
        CHECK(exited_with(reap(pid[i]), 30 + i));
    }
    printf("%d lines came back right\n", good);
    return good != 20 * n;
}
