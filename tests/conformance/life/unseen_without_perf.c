// The same where perf_event_open is refused: threads that sleep in inline system calls, which no
// hook sees.  There are more of them than processors, so the others are to get theirs while one
// sleeps.
// expect: missed_blocking>=20
// limit: 40
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "switching.h"
#include "unseen.h"

// As container runtimes and Debian's stock kernel do.
static void refuse_perf(void) {
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_perf_event_open, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof rules / sizeof rules[0], rules};
    CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
    CHECK_ERRNO(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0), EACCES);
}

int main(void) {
    refuse_perf();
    sleep_unseen();
    return 0;
}
