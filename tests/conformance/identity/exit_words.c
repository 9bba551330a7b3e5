// What a thread asks the kernel by number to do at its end: a robust list of its own and a word
// that is cleared and woken.
// expect: fibers>=4 native_fallbacks=0
#include <linux/futex.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "../../support/twin.h"

struct item {
    struct robust_list link;
    uint32_t word;
};

static struct robust_list_head head;
static struct item items[3];
static int cleared = 1;
static volatile int linger = 1;

static void* owner(void* arg) {
    (void)arg;
    struct robust_list_head* libc_list = NULL;
    size_t length = 0;
    CHECK(syscall(SYS_get_robust_list, 0, &libc_list, &length) == 0);
    CHECK(libc_list != NULL && length == sizeof *libc_list);
    CHECK(libc_list->list.next == &libc_list->list);
    CHECK(syscall(SYS_set_robust_list, &head, 1) == -1 && errno == EINVAL);

    const pid_t self = (pid_t)syscall(SYS_gettid);
    head.futex_offset = offsetof(struct item, word) - offsetof(struct item, link);
    head.list.next = &items[0].link;
    items[0].link.next = &items[1].link;
    items[1].link.next = &head.list;
    head.list_op_pending = &items[2].link;
    items[0].word = (uint32_t)self | FUTEX_WAITERS;
    items[1].word = 1;  // somebody else's
    items[2].word = (uint32_t)self;
    CHECK(syscall(SYS_set_robust_list, &head, sizeof head) == 0);
    CHECK(syscall(SYS_get_robust_list, self, &libc_list, &length) == 0 && libc_list == &head);
    while (linger) usleep(1000);
    return NULL;
}

static void* waiter(void* arg) {
    (void)arg;
    const uint32_t seen = items[0].word;
    linger = 0;
    while (items[0].word == seen)
        syscall(SYS_futex, &items[0].word, FUTEX_WAIT, seen, NULL, NULL, 0);
    return NULL;
}

static void* clears(void* arg) {
    (void)arg;
    int* word = NULL;
    CHECK(prctl(PR_GET_TID_ADDRESS, &word) == 0 && word != NULL && *word == gettid());
    CHECK(syscall(SYS_set_tid_address, &cleared) == gettid());
    CHECK(prctl(PR_GET_TID_ADDRESS, &word) == 0 && word == &cleared);
    // pthread_join waits for libc's word natively; only this one tells of the end now.
    pthread_detach(pthread_self());
    return NULL;
}

static void* broken(void* arg) {
    (void)arg;
    CHECK(syscall(SYS_set_robust_list, (void*)16, sizeof head) == 0);
    return NULL;
}

int main(void) {
    pthread_t holds = start(owner, NULL);
    while (items[2].word == 0 || head.list_op_pending == NULL) usleep(1000);
    usleep(10000);
    finish(start(waiter, NULL));
    finish(holds);
    printf("held: owner died %d, waiters %d\n", (items[0].word & FUTEX_OWNER_DIED) != 0,
           (items[0].word & FUTEX_WAITERS) != 0);
    printf("another's: %u; pending: owner died %d\n", items[1].word,
           (items[2].word & FUTEX_OWNER_DIED) != 0);
    pthread_t ends;
    CHECK(pthread_create(&ends, NULL, clears, NULL) == 0);
    while (__atomic_load_n(&cleared, __ATOMIC_SEQ_CST) != 0)
        syscall(SYS_futex, &cleared, FUTEX_WAIT, 1, NULL, NULL, 0);
    printf("cleared\n");
    finish(start(broken, NULL));
    return 0;
}
