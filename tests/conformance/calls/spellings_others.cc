// The remaining spellings: waits of System V objects, requests of libc's own threads, signals and
// the calls that make processes, each once with success and once as its manual page refuses.
// expect: fibers>=2 native_fallbacks=0 missed_blocking=0 handoffs>=16 parks_signal>=3
#include "../../support/twin.h"
#include "../../support/spelled.h"

#include <aio.h>
#include <netdb.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/wait.h>

static sem_t ask;
static void (*late)();

static void* acts_late(void*) {
    for (;;) {
        wait_sem(&ask);
        if (late == nullptr) return nullptr;
        nap(20);
        late();
    }
}
static void later(void (*action)()) {
    late = action;
    sem_post(&ask);
}

struct Message {
    long type;
    char text[512];
};
static int queue, set;
static Message put_one = {1, "message"}, got;

static void queues() {
    queue = msgget(IPC_PRIVATE, 0600);
    CHECK(queue >= 0);
    for (const char* name : {"msgrcv", "__libc_msgrcv"}) {
        auto* call = spelled<ssize_t(int, void*, size_t, long, int)>(name);
        later([] { CHECK(msgsnd(queue, &put_one, sizeof put_one.text, 0) == 0); });
        CHECK_EQ(call(queue, &got, sizeof got.text, 0, 0), (ssize_t)sizeof got.text);
        CHECK_STR(got.text, "message");
        CHECK_ERRNO(call(queue, &got, sizeof got.text, 0, IPC_NOWAIT), ENOMSG);
        CHECK_ERRNO(call(-1, &got, 1, 0, 0), EINVAL);
    }
    for (const char* name : {"msgsnd", "__libc_msgsnd"}) {
        auto* call = spelled<int(int, const void*, size_t, int)>(name);
        while (call(queue, &put_one, sizeof put_one.text, IPC_NOWAIT) == 0) {
        }
        CHECK_EQ(errno, EAGAIN);
        later([] { CHECK(msgrcv(queue, &got, sizeof got.text, 0, 0) > 0); });
        CHECK_EQ(call(queue, &put_one, sizeof put_one.text, 0), 0);
        CHECK_ERRNO(call(-1, &put_one, 1, 0), EINVAL);
        while (msgrcv(queue, &got, sizeof got.text, 0, IPC_NOWAIT) > 0) {
        }
    }
    CHECK(msgctl(queue, IPC_RMID, nullptr) == 0);
}

static sembuf up = {0, 1, 0}, down = {0, -1, 0};
static void sets() {
    set = semget(IPC_PRIVATE, 1, 0600);
    CHECK(set >= 0);
    later([] { CHECK(semop(set, &up, 1) == 0); });
    CHECK_EQ(semop(set, &down, 1), 0);
    CHECK_ERRNO(semop(-1, &down, 1), EINVAL);
    auto* timed = spelled<int(int, sembuf*, size_t, const timespec*)>("semtimedop");
    later([] { CHECK(semop(set, &up, 1) == 0); });
    const timespec minute = {60, 0}, little = {0, 5000000}, bad = {0, -1};
    CHECK_EQ(timed(set, &down, 1, &minute), 0);
    CHECK_ERRNO(timed(set, &down, 1, &little), EAGAIN);
    CHECK_ERRNO(timed(set, &down, 1, &bad), EINVAL);
    later([] { CHECK(semctl(set, 0, IPC_RMID) == 0); });
    CHECK_ERRNO(timed(set, &down, 1, nullptr), EIDRM);
}

static int fds[2];
static char in[8];
static void requests() {
    CHECK(pipe(fds) == 0);
    for (const char* name : {"aio_suspend", "aio_suspend64"}) {
        auto* call = spelled<int(const aiocb* const[], int, const timespec*)>(name);
        aiocb one = {};
        one.aio_fildes = fds[0];
        one.aio_buf = in;
        one.aio_nbytes = 1;
        const aiocb* list[] = {&one};
        const timespec little = {0, 5000000};
        CHECK(aio_read(&one) == 0);
        CHECK_ERRNO(call(list, 1, &little), EAGAIN);
        later([] { put(fds[1], "x", 1); });
        CHECK(call(list, 1, nullptr) == 0 && aio_error(&one) == 0 && aio_return(&one) == 1);
    }
    for (const char* name : {"lio_listio", "lio_listio64"}) {
        auto* call = spelled<int(int, aiocb* const[], int, sigevent*)>(name);
        aiocb one = {};
        one.aio_fildes = fds[0];
        one.aio_buf = in;
        one.aio_nbytes = 1;
        one.aio_lio_opcode = LIO_READ;
        aiocb* list[] = {&one};
        later([] { put(fds[1], "x", 1); });
        CHECK(call(LIO_WAIT, list, 1, nullptr) == 0 && aio_return(&one) == 1);
        CHECK_ERRNO(call(99, list, 1, nullptr), EINVAL);
    }
    auto* suspend = spelled<int(const gaicb* const[], int, const timespec*)>("gai_suspend");
    addrinfo hints = {};
    hints.ai_flags = AI_NUMERICHOST;
    gaicb one = {};
    one.ar_name = "127.0.0.1";
    one.ar_request = &hints;
    gaicb* list[] = {&one};
    CHECK_EQ(getaddrinfo_a(GAI_NOWAIT, list, 1, nullptr), 0);
    const int answer = suspend(list, 1, nullptr);
    CHECK(answer == 0 || answer == EAI_ALLDONE);
    CHECK(gai_error(&one) == 0 && one.ar_result != nullptr);
    freeaddrinfo(one.ar_result);
    CHECK_EQ(suspend(list, 1, nullptr), EAI_ALLDONE);
}

static volatile int caught;
static void on_signal(int number) { caught = number; }
static pthread_t waiting;
static void signals() {
    struct sigaction action = {}, old = {};
    action.sa_handler = on_signal;
    auto* set_action = spelled<int(int, const struct sigaction*, struct sigaction*)>("__sigaction");
    auto* raise_call = spelled<int(int)>("gsignal");
    CHECK(set_action(SIGUSR1, &action, &old) == 0 && old.sa_handler == SIG_DFL);
    CHECK_ERRNO(set_action(SIGKILL, &action, nullptr), EINVAL);
    CHECK(raise_call(SIGUSR1) == 0 && caught == SIGUSR1);
    CHECK_ERRNO(raise_call(99), EINVAL);
    for (const char* name : {"signal", "bsd_signal", "ssignal"}) {
        auto* call = spelled<sighandler_t(int, sighandler_t)>(name);
        CHECK(call(SIGUSR2, on_signal) == SIG_DFL && raise_call(SIGUSR2) == 0);
        CHECK(caught == SIGUSR2 && call(SIGUSR2, SIG_DFL) == on_signal);
        errno = 0;
        CHECK(call(SIGKILL, on_signal) == SIG_ERR && errno == EINVAL);
        caught = 0;
    }
    for (const char* name : {"sysv_signal", "__sysv_signal"}) {
        auto* call = spelled<sighandler_t(int, sighandler_t)>(name);
        CHECK(call(SIGUSR2, on_signal) == SIG_DFL && raise_call(SIGUSR2) == 0);
        CHECK(caught == SIGUSR2 && call(SIGUSR2, SIG_DFL) == SIG_DFL);  // once only
        errno = 0;
        CHECK(call(SIGKILL, on_signal) == SIG_ERR && errno == EINVAL);
        caught = 0;
    }
    auto* interrupts = spelled<int(int, int)>("siginterrupt");
    CHECK(interrupts(SIGUSR1, 1) == 0 && sigaction(SIGUSR1, nullptr, &old) == 0);
    CHECK((old.sa_flags & SA_RESTART) == 0 && interrupts(SIGUSR1, 0) == 0);
    CHECK(sigaction(SIGUSR1, nullptr, &old) == 0 && (old.sa_flags & SA_RESTART) != 0);
    CHECK_ERRNO(interrupts(SIGKILL, 1), EINVAL);
    auto* block = spelled<int(int)>("sigblock");
    auto* set_mask = spelled<int(int)>("sigsetmask");
    CHECK(block(1 << (SIGUSR2 - 1)) == 0 && block(0) == 1 << (SIGUSR2 - 1));
    nap(1);
    CHECK(set_mask(0) == 1 << (SIGUSR2 - 1) && set_mask(0) == 0);
    sigset_t one, none;
    sigemptyset(&none);
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    sigset_t now;
    CHECK(sigprocmask(SIG_BLOCK, &one, nullptr) == 0);
    CHECK_ERRNO(sigprocmask(99, &one, nullptr), EINVAL);
    nap(1);
    CHECK(pthread_sigmask(SIG_BLOCK, nullptr, &now) == 0 && sigismember(&now, SIGUSR1));
    caught = 0;
    CHECK(raise_call(SIGUSR1) == 0 && caught == 0);  // pending
    CHECK(sigwaitinfo(&one, nullptr) == SIGUSR1);
    waiting = pthread_self();
    auto* timed = spelled<int(const sigset_t*, siginfo_t*, const timespec*)>("__sigtimedwait");
    const timespec minute = {60, 0}, little = {0, 5000000};
    CHECK_ERRNO(timed(&one, nullptr, &little), EAGAIN);
    later([] { CHECK_OK(pthread_kill(waiting, SIGUSR1)); });
    CHECK_EQ(timed(&one, nullptr, &minute), SIGUSR1);
    auto* suspend = spelled<int(const sigset_t*)>("__sigsuspend");
    later([] { CHECK_OK(pthread_kill(waiting, SIGUSR1)); });
    CHECK_ERRNO(suspend(&none), EINTR);
    CHECK_EQ(caught, SIGUSR1);
}

static void* adds_four(void* number) {
    nap(1);
    *(int*)number += 4;
    return nullptr;
}
static void processes() {
    int status;
    auto* fork_call = spelled<pid_t()>("_Fork");
    pid_t pid = fork_call();
    if (pid == 0) {
        // A process of its own, with threads of its own.
        int number = 3;
        const pthread_t thread = start(adds_four, &number);
        finish(thread);
        _exit(number);
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    printf("%d\n", WEXITSTATUS(status));
    auto* vfork_call = spelled<pid_t()>("__vfork");
    pid = vfork_call();
    if (pid == 0) _exit(8);
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    printf("%d\n", WEXITSTATUS(status));
}

static void* all(void*) {
    queues();
    sets();
    requests();
    signals();
    processes();
    late = nullptr;
    sem_post(&ask);
    return nullptr;
}

int main() {
    CHECK_OK(sem_init(&ask, 0, 0));
    const pthread_t other = start(acts_late, nullptr);
    finish(start(all, nullptr));
    finish(other);
    return 0;
}
