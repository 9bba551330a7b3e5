// Waiting calls that libc has no function for, made through syscall(2): io_uring, the kernel's own
// aio, pidfd and poll on it, fanotify, futex words shared with a child; other threads go on.
// limit: 60
// expect: fibers>=6 native_fallbacks=0
#include "../../support/twin.h"
#include "../../support/cases.h"
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static void say(const char* name, long answer) {
    printf("%s: %ld %s\n", name, answer, answer < 0 ? strerrorname_np(errno) : "ok");
}

static struct {
    int fd;
    unsigned *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
    struct io_uring_sqe* sqes;
    struct io_uring_cqe* cqes;
} ring;

static int make_ring(void) {
    struct io_uring_params p;
    memset(&p, 0, sizeof p);
    ring.fd = (int)syscall(SYS_io_uring_setup, 8, &p);
    if (ring.fd < 0) return 0;
    char* sq = mmap(NULL, p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED,
                    ring.fd, IORING_OFF_SQ_RING);
    char* cq = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof *ring.cqes, PROT_READ | PROT_WRITE,
                    MAP_SHARED, ring.fd, IORING_OFF_CQ_RING);
    ring.sqes = mmap(NULL, p.sq_entries * sizeof *ring.sqes, PROT_READ | PROT_WRITE, MAP_SHARED,
                     ring.fd, IORING_OFF_SQES);
    CHECK(sq != MAP_FAILED && cq != MAP_FAILED && ring.sqes != MAP_FAILED);
    ring.sq_tail = (unsigned*)(sq + p.sq_off.tail);
    ring.sq_mask = (unsigned*)(sq + p.sq_off.ring_mask);
    ring.sq_array = (unsigned*)(sq + p.sq_off.array);
    ring.cq_head = (unsigned*)(cq + p.cq_off.head);
    ring.cq_tail = (unsigned*)(cq + p.cq_off.tail);
    ring.cq_mask = (unsigned*)(cq + p.cq_off.ring_mask);
    ring.cqes = (struct io_uring_cqe*)(cq + p.cq_off.cqes);
    return 1;
}
static void queue_read(int fd, void* data, unsigned size) {
    unsigned tail = *ring.sq_tail, at = tail & *ring.sq_mask;
    struct io_uring_sqe* e = &ring.sqes[at];
    memset(e, 0, sizeof *e);
    e->opcode = IORING_OP_READ;
    e->fd = fd;
    e->addr = (uintptr_t)data;
    e->len = size;
    e->off = (uint64_t)-1;
    ring.sq_array[at] = at;
    __atomic_store_n(ring.sq_tail, tail + 1, __ATOMIC_RELEASE);
}
static long completed(void) {
    unsigned head = *ring.cq_head;
    if (head == __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE)) return -1000;
    long answer = ring.cqes[head & *ring.cq_mask].res;
    __atomic_store_n(ring.cq_head, head + 1, __ATOMIC_RELEASE);
    return answer;
}
static long do_enter(int fd) {
    return syscall(SYS_io_uring_enter, fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0);
}
static long do_poll(int fd) {
    struct pollfd p = {fd, POLLIN, 0};
    return poll(&p, 1, 5000);
}

static void uring(void) {
    if (!make_ring()) {
        say("io_uring", ring.fd);
        return;
    }
    int fds[2], event = eventfd(0, 0);
    char data[16];
    struct call c;
    CHECK(pipe(fds) == 0);
    queue_read(fds[0], data, sizeof data);
    say("submit", syscall(SYS_io_uring_enter, ring.fd, 1, 0, 0, NULL, 0));
    begin_call(&c, do_enter, ring.fd);
    printf("enter: %s\n", state_of(&c));
    put(fds[1], "abc", 3);
    end_call(&c, "enter");
    printf("completed %ld\n", completed());
    queue_read(fds[0], data, sizeof data);
    say("submit", syscall(SYS_io_uring_enter, ring.fd, 1, 0, 0, NULL, 0));
    begin_call(&c, do_poll, ring.fd);
    put(fds[1], "defg", 4);
    end_call(&c, "poll of the ring");
    printf("completed %ld\n", completed());
    CHECK(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_EVENTFD, &event, 1) == 0);
    queue_read(fds[0], data, sizeof data);
    say("submit", syscall(SYS_io_uring_enter, ring.fd, 1, 0, 0, NULL, 0));
    begin_call(&c, do_poll, event);
    put(fds[1], "h", 1);
    end_call(&c, "its eventfd");
    printf("completed %ld\n", completed());
    close(fds[0]);
    close(fds[1]);
    close(event);
    close(ring.fd);
}

static aio_context_t context;
static long do_getevents(int want) {
    struct io_event events[4];
    return syscall(SYS_io_getevents, context, want, 4, events, NULL);
}
static void kernel_aio(void) {
    CHECK(syscall(SYS_io_setup, 8, &context) == 0);
    int fds[2];
    CHECK(pipe(fds) == 0);
    struct iocb poll_one;
    memset(&poll_one, 0, sizeof poll_one);
    poll_one.aio_lio_opcode = IOCB_CMD_POLL;
    poll_one.aio_fildes = (unsigned)fds[0];
    poll_one.aio_buf = POLLIN;
    struct iocb* list[1] = {&poll_one};
    say("io_submit", syscall(SYS_io_submit, context, 1, list));
    struct call c;
    begin_call(&c, do_getevents, 1);
    printf("io_getevents: %s\n", state_of(&c));
    put(fds[1], "x", 1);
    end_call(&c, "io_getevents");
    struct timespec t = {0, 20000000};
    struct io_event none[1];
    say("io_getevents, timeout", syscall(SYS_io_getevents, context, 1, 1, none, &t));
    CHECK(syscall(SYS_io_destroy, context) == 0);
    close(fds[0]);
    close(fds[1]);
}

static long do_epoll(int fd) {
    int e = epoll_create1(0);
    struct epoll_event what = {.events = EPOLLIN}, got;
    CHECK(epoll_ctl(e, EPOLL_CTL_ADD, fd, &what) == 0);
    long n = epoll_wait(e, &got, 1, 5000);
    close(e);
    return n;
}
static long do_waitid(int fd) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    if (waitid(P_PIDFD, (id_t)fd, &info, WEXITED) != 0) return -1;
    return info.si_status;
}
static void pidfds(void) {
    int hold[2];
    CHECK(pipe(hold) == 0);
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            char byte;
            close(hold[1]);
            CHECK(read(hold[0], &byte, 1) == 1);
            _exit(7);
        }
        int fd = (int)syscall(SYS_pidfd_open, child, 0);
        CHECK(fd >= 0);
        struct call c;
        begin_call(&c, i == 0 ? do_poll : i == 1 ? do_epoll : do_waitid, fd);
        put(hold[1], "x", 1);
        end_call(&c, "pidfd");
        say("signal", syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0));
        if (i < 2) CHECK(exited_with(reap(child), 7));
        close(fd);
    }
    close(hold[0]);
    close(hold[1]);
}

static char folder[] = "/tmp/pfiber-twin-XXXXXX";
static long do_fanotify(int fd) {
    struct fanotify_event_metadata e[4];
    long n = read(fd, e, sizeof e);
    if (n < (long)sizeof e[0]) return n;
    if (e[0].fd >= 0) close(e[0].fd);
    return (long)e[0].mask;
}
static void notifications(void) {
    CHECK(mkdtemp(folder) != NULL);
    int fd = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC, O_RDONLY);
    if (fd < 0) {
        say("fanotify", fd);
    } else if (fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN | FAN_EVENT_ON_CHILD | FAN_ONDIR, AT_FDCWD,
                             folder) != 0) {
        say("fanotify_mark", -1);
    } else {
        struct call c;
        begin_call(&c, do_fanotify, fd);
        close(open(folder, O_RDONLY | O_DIRECTORY));
        end_call(&c, "fanotify");
    }
    close(fd);
    CHECK(rmdir(folder) == 0);
}

static int* word;
static long do_futex(int ignored) {
    (void)ignored;
    return syscall(SYS_futex, word, FUTEX_WAIT, 0, NULL, NULL, 0);
}
static void shared_words(void) {
    word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct call c;
    begin_call(&c, do_futex, 0);
    pid_t child = fork();
    if (child == 0) {
        *word = 1;
        _exit(syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0) == 1 ? 5 : 6);
    }
    end_call(&c, "futex");
    printf("woken by the child: %d\n", exited_with(reap(child), 5));
}

static int stop;
static long turns;
static void* turning(void* arg) {
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        turns++;
        nap(1);
    }
    return arg;
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    pthread_t t = start(turning, NULL);
    uring();
    kernel_aio();
    pidfds();
    notifications();
    shared_words();
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    finish(t);
    printf("another thread went on: %d\n", turns > 50);
    return 0;
}
