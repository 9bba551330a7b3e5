// With RLIMIT_NOFILE lowered to what the program itself needs, before or after its first thread,
// it can open exactly as many descriptors as natively, and its threads block and run.
#include "../../support/twin.h"
#include <sys/resource.h>

static int count_free() {
    int fds[512], n = 0;
    while (n < 512 && (fds[n] = open("/dev/null", O_RDONLY)) >= 0) n++;
    CHECK(errno == EMFILE);
    for (int i = 0; i < n; i++) close(fds[i]);
    return n;
}
static void limit(rlim_t n) {
    rlimit r = {n, n};
    CHECK(setrlimit(RLIMIT_NOFILE, &r) == 0);
}
static int in_child(int (*body)()) {
    int out[2], value = -1;
    CHECK(pipe(out) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        value = body();
        put(out[1], &value, sizeof value);
        _exit(0);
    }
    close(out[1]);
    CHECK(take(out[0], &value, sizeof value) == sizeof value);
    close(out[0]);
    CHECK(exited_with(reap(pid), 0));
    return value;
}

int main() {
    for (int fd = 3; fd < 1024; fd++) close(fd);
    int before = in_child([] {
        limit(16);
        CHECK(pingpong(2, 10) == 20);
        return count_free();
    });
    int after = in_child([] {
        CHECK(pingpong(4, 10) == 40);
        limit(16);
        CHECK(pingpong(2, 10) == 20);
        return count_free();
    });
    int tiny = in_child([] {
        CHECK(pingpong(4, 10) == 40);
        limit(5);  // as many as are open: nothing new fits
        sem_t s;
        CHECK(sem_init(&s, 0, 0) == 0);
        pthread_t t = start([](void* p) -> void* { return sem_wait((sem_t*)p) ? p : nullptr; }, &s);
        nap(5);
        sem_post(&s);
        CHECK(finish(t) == nullptr);
        return count_free();
    });
    // The report pipe occupies 3 and 4 in each child.
    printf("%d before, %d after, %d tiny\n", before, after, tiny);
    return before != 11 || after != 11 || tiny != 0;
}
