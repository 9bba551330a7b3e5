// A pending request is acted on at the next cancellation point even when that call could go on at
// once, and with no effect: a read leaves its data, a write sends nothing.  Calls that are no
// cancellation points are passed.
// expect: fibers>=30 native_fallbacks=0
#include "../../support/twin.h"
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>

static int fds[2], file, ep;
static sem_t one;
static int points, passed;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static char b[64];

static void* ended(void* p) { return p; }
struct Call {
    const char* name;
    void (*call)();
};
static const Call are_points[] = {
    {"read", [] { (void)!read(fds[0], b, 1); }},
    {"write", [] { (void)!write(fds[0], "no", 2); }},
    {"recv", [] { recv(fds[0], b, 1, 0); }},
    {"send", [] { send(fds[0], "no", 2, 0); }},
    {"poll",
     [] {
         pollfd p = {fds[0], POLLIN, 0};
         poll(&p, 1, 0);
     }},
    {"select",
     [] {
         timeval t = {0, 0};
         select(0, nullptr, nullptr, nullptr, &t);
     }},
    {"epoll_wait",
     [] {
         epoll_event e;
         epoll_wait(ep, &e, 1, 0);
     }},
    {"nanosleep",
     [] {
         timespec t = {0, 1};
         nanosleep(&t, nullptr);
     }},
    {"open", [] { open("/dev/null", O_RDONLY); }},
    {"close", [] { close(-1); }},
    {"fsync", [] { fsync(file); }},
    {"fdatasync", [] { fdatasync(file); }},
    {"msync", [] { msync(nullptr, 0, MS_SYNC); }},
    {"pread", [] { (void)!pread(file, b, 1, 0); }},
    {"pwrite", [] { (void)!pwrite(file, "no", 2, 0); }},
    {"sem_wait", [] { sem_wait(&one); }},
    {"fcntl lock",
     [] {
         struct flock l = {};
         l.l_type = F_WRLCK;
         fcntl(file, F_SETLKW, &l);
     }},
    {"pthread_testcancel", [] { pthread_testcancel(); }},
    {"sigtimedwait",
     [] {
         sigset_t s;
         sigemptyset(&s);
         timespec t = {0, 0};
         sigtimedwait(&s, nullptr, &t);
     }},
    {"cond_timedwait",
     [] {
         timespec t = {1, 0};
         pthread_mutex_lock(&mutex);
         pthread_cleanup_push([](void*) { pthread_mutex_unlock(&mutex); }, nullptr);
         pthread_cond_timedwait(&cond, &mutex, &t);
         pthread_cleanup_pop(1);
     }},
    {"waitpid", [] { waitpid(-1, nullptr, WNOHANG); }},
    {"system", [] { (void)!system("true"); }},
};
static const Call are_none[] = {
    {"mutex",
     [] {
         pthread_mutex_lock(&mutex);
         pthread_mutex_unlock(&mutex);
     }},
    {"sem_trywait and post",
     [] {
         CHECK(sem_trywait(&one) == 0);
         sem_post(&one);
     }},
    {"malloc", [] { free(malloc(100)); }},
    {"signals",
     [] {
         sigset_t s;
         pthread_sigmask(SIG_BLOCK, nullptr, &s);
     }},
    {"create and detach",
     [] {
         pthread_t t = start(ended, nullptr);
         CHECK(pthread_detach(t) == 0);
     }},
    {"cond_signal", [] { pthread_cond_broadcast(&cond); }},
    {"sched_yield", [] { sched_yield(); }},
    {"pipe and dup", [] { CHECK(dup2(1, 99) == 99); }},
    {"setname", [] { CHECK(pthread_setname_np(pthread_self(), "twin") == 0); }},
    {"epoll_ctl",
     [] {
         epoll_event e = {};
         epoll_ctl(ep, EPOLL_CTL_ADD, fds[1], &e);
         epoll_ctl(ep, EPOLL_CTL_DEL, fds[1], &e);
     }},
    {"shutdown of nothing", [] { shutdown(-1, SHUT_RD); }},
};

static const Call* current;
static volatile int came_back;
static void* body(void*) {
    CHECK(pthread_cancel(pthread_self()) == 0);
    current->call();
    came_back = 1;
    pthread_testcancel();
    return nullptr;
}

int main() {
    CHECK(sem_init(&one, 0, 1) == 0);
    unix_pair(fds);
    put(fds[1], "kept", 4);
    FILE* f = tmpfile();
    CHECK(f);
    file = fileno(f);
    CHECK((ep = epoll_create1(0)) >= 0);
    for (const Call& c : are_points) {
        current = &c;
        came_back = 0;
        CHECK(finish(start(body, nullptr)) == PTHREAD_CANCELED);
        if (came_back) dprintf(2, "%s came back\n", c.name);
        points += !came_back;
    }
    for (const Call& c : are_none) {
        current = &c;
        came_back = 0;
        CHECK(finish(start(body, nullptr)) == PTHREAD_CANCELED);
        if (!came_back) dprintf(2, "%s did not come back\n", c.name);
        passed += came_back;
    }
    int value = -1;
    CHECK(sem_getvalue(&one, &value) == 0 && value == 1);
    CHECK(recv(fds[0], b, sizeof b, MSG_DONTWAIT) == 4 && memcmp(b, "kept", 4) == 0);
    CHECK(recv(fds[1], b, sizeof b, MSG_DONTWAIT) == -1 && errno == EAGAIN);
    CHECK(lseek(file, 0, SEEK_END) == 0 && pthread_mutex_trylock(&mutex) == 0);
    printf("%d acted on, %d passed\n", points, passed);
    return points != COUNT(are_points) || passed != COUNT(are_none);
}
