// A process works whatever ids the kernel gives its threads: in a namespace of process ids,
// children whose first thread gets each id from 1,201 to 2,200 in turn.  (Once, the id that is the
// distance of two fields of libc's thread block was taken for one of them, and the child crashed.)
// limit: 60
// expect: no-stats
#include <fcntl.h>
#include <sched.h>

#include "../../support/twin.h"

static void* say(void* arg) { return arg; }

static int last_id_file;

// The next process or thread of this namespace gets id + 1.
static void set_last_id(int id) {
    char text[16];
    int size = snprintf(text, sizeof text, "%d", id);
    if (pwrite(last_id_file, text, (size_t)size, 0) != size) _exit(77);
}

int main() {
    if (unshare(CLONE_NEWPID) != 0) SKIP("no namespace of process ids");
    pid_t first = fork();
    CHECK(first >= 0);
    if (first == 0) {
        last_id_file = open("/proc/sys/kernel/ns_last_pid", O_RDWR | O_CLOEXEC);
        if (last_id_file < 0) _exit(77);
        for (int id = 1200; id < 2200; id++) {
            set_last_id(id - 1);
            pid_t child = fork();
            CHECK(child == 0 || child == id);
            if (child == 0) _exit(finish(start(say, (void*)5)) == (void*)5 ? 7 : 1);
            int status = reap(child);
            if (!exited_with(status, 7)) {
                printf("child %d ended with status %#x\n", id, status);
                fflush(stdout);
                _exit(1);
            }
        }
        _exit(9);
    }
    int status = reap(first);
    if (exited_with(status, 77)) SKIP("ids cannot be chosen");
    CHECK(exited_with(status, 9));
    puts("1000 children right");
    return 0;
}
