// POSIX message queues: receive blocks until a message comes, send while the queue is full,
// priorities, timed forms, non-blocking form, mq_notify by thread.
// expect: fibers>=1
#include "../../support/twin.h"
#include <mqueue.h>

static mqd_t q;
static sem_t notified;
static int order_right;

static void* receiver(void* arg) {
    (void)arg;
    char b[64];
    for (int i = 0; i < 100; i++) {
        unsigned priority;
        CHECK(mq_receive(q, b, sizeof b, &priority) == 4 && priority == 1);
        int v;
        memcpy(&v, b, 4);
        order_right += v == i;
        if (i % 20 == 0) nap(3);
    }
    return NULL;
}
static void on_message(union sigval v) {
    (void)v;
    sem_post(&notified);
}

int main(void) {
    CHECK(sem_init(&notified, 0, 0) == 0);
    char name[64], b[64];
    snprintf(name, sizeof name, "/pfiber-twin-%d", getpid());
    struct mq_attr a = {.mq_maxmsg = 4, .mq_msgsize = 64};
    q = mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, &a);
    if (q == -1 && (errno == ENOSYS || errno == EACCES)) SKIP("no message queues here");
    CHECK(q != -1 && mq_unlink(name) == 0);
    pthread_t t = start(receiver, NULL);
    nap(10);
    for (int i = 0; i < 100; i++) CHECK(mq_send(q, (char*)&i, 4, 1) == 0);  // room for four
    finish(t);
    for (unsigned p = 0; p < 4; p++) CHECK(mq_send(q, (char*)&p, 4, p) == 0);
    struct timespec limit = after_ms(CLOCK_REALTIME, 60), past = {1, 0};
    int64_t t0 = now_ms();
    CHECK(mq_timedsend(q, "x", 1, 0, &limit) == -1 && errno == ETIMEDOUT && now_ms() - t0 >= 55);
    for (unsigned p = 4; p-- > 0;) {
        unsigned priority;
        CHECK(mq_timedreceive(q, b, sizeof b, &priority, &past) == 4 && priority == p);
    }
    limit = after_ms(CLOCK_REALTIME, 60);
    t0 = now_ms();
    CHECK(mq_timedreceive(q, b, sizeof b, NULL, &limit) == -1 && errno == ETIMEDOUT);
    CHECK(now_ms() - t0 >= 55);
    CHECK(mq_timedreceive(q, b, sizeof b, NULL, &past) == -1 && errno == ETIMEDOUT);
    struct mq_attr flags = {.mq_flags = O_NONBLOCK};
    CHECK(mq_setattr(q, &flags, NULL) == 0);
    CHECK(mq_receive(q, b, sizeof b, NULL) == -1 && errno == EAGAIN);
    CHECK(mq_receive(q, b, 1, NULL) == -1 && errno == EMSGSIZE);
    struct sigevent e = {.sigev_notify = SIGEV_THREAD};
    e.sigev_notify_function = on_message;
    CHECK(mq_notify(q, &e) == 0);
    CHECK(mq_send(q, "n", 1, 0) == 0);
    wait_sem(&notified);
    CHECK(mq_close(q) == 0);
    printf("%d in order\n", order_right);
    return order_right != 100;
}
