// mq_notify tells nobody of a message that a waiting thread takes: the registration stays, for the
// next one, whether the thread waited before it or after.
// expect: fibers>=2
#include "../../support/twin.h"
#include <mqueue.h>

static mqd_t queue;

static void* receives(void*) {
    char data[16];
    CHECK(mq_receive(queue, data, sizeof data, nullptr) == 4);
    return nullptr;
}

static void ask() {
    sigevent event = {};
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGUSR1;
    CHECK(mq_notify(queue, &event) == 0);
}

// Everybody blocks the signal, which mq_send has made pending by the time that it returns.
static bool take_notification() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    const timespec none = {};
    return sigtimedwait(&set, nullptr, &none) == SIGUSR1;
}

// Nobody can see whether the thread waits already; if not, the message is told of, and the next try
// gives it more time.
static void try_until_taken(bool waits_first) {
    for (int ms = 1;; ms *= 2) {
        if (!waits_first) ask();
        pthread_t thread = start(receives, nullptr);
        nap(ms);
        if (waits_first) ask();
        CHECK(mq_send(queue, "text", 4, 0) == 0);
        const bool was_told = take_notification();
        finish(thread);
        if (!was_told) return;
    }
}

int main() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0);
    char name[64];
    snprintf(name, sizeof name, "/pfiber-notify-%d", (int)getpid());
    mq_attr attributes = {};
    attributes.mq_maxmsg = 2;
    attributes.mq_msgsize = 16;
    queue = mq_open(name, O_CREAT | O_RDWR, 0600, &attributes);
    CHECK(queue != (mqd_t)-1 && mq_unlink(name) == 0);
    for (const bool waits_first : {true, false}) {
        try_until_taken(waits_first);
        printf("a waiting thread took the message, nobody was told\n");
        CHECK(mq_send(queue, "text", 4, 0) == 0);
        printf("the next one: %s\n", take_notification() ? "told" : "not told");
        receives(nullptr);
    }
    return 0;
}
