// packages: libevent libevent_pthreads
// libevent with threads: a listener, a loop on each of four threads, events made active by others,
// timers, signals.
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <event2/thread.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>

#define LOOPS 4
static struct event_base* bases[LOOPS];
static int accepted, echoed, activated, ticks;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void echo(struct bufferevent* buffer, void* data) {
    (void)data;
    bufferevent_write_buffer(buffer, bufferevent_get_input(buffer));
}
static void over(struct bufferevent* buffer, short what, void* data) {
    (void)data;
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) bufferevent_free(buffer);
}
static void on_connection(struct evconnlistener* listener, evutil_socket_t fd,
                          struct sockaddr* address, int length, void* data) {
    (void)listener, (void)address, (void)length, (void)data;
    struct bufferevent* buffer = bufferevent_socket_new(bases[accepted++ % LOOPS], fd,
                                                        BEV_OPT_CLOSE_ON_FREE | BEV_OPT_THREADSAFE);
    bufferevent_setcb(buffer, echo, NULL, over, NULL);
    bufferevent_enable(buffer, EV_READ | EV_WRITE);
}
static void* run(void* base) {
    event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY);
    return NULL;
}
static int port;
static void* client(void* data) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0), good = 0;
    if (connect(fd, (struct sockaddr*)&address, sizeof address) != 0) return data;
    for (int i = 0; i < 20; i++) {
        char got[8] = "";
        good += write(fd, "message", 8) == 8 && recv(fd, got, 8, MSG_WAITALL) == 8 &&
                strcmp(got, "message") == 0;
    }
    close(fd);
    pthread_mutex_lock(&mutex);
    echoed += good;
    pthread_mutex_unlock(&mutex);
    return data;
}
static void on_active(evutil_socket_t fd, short what, void* data) {
    (void)fd, (void)what, (void)data;
    activated++;
}
static void on_tick(evutil_socket_t fd, short what, void* event) {
    (void)fd, (void)what;
    if (++ticks == 5) event_del(*(struct event**)event);
}
static void* activate(void* event) {
    for (int i = 0; i < 10; i++) {
        event_active(event, EV_READ, 0);
        usleep(100);
    }
    return NULL;
}
static int signals;
static void on_signal(evutil_socket_t number, short what, void* base) {
    (void)what;
    signals += number == SIGUSR1;
    event_base_loopbreak(base);
}

int main(void) {
    evthread_use_pthreads();
    pthread_t loops[LOOPS], clients[40];
    for (int i = 0; i < LOOPS; i++) {
        bases[i] = event_base_new();
        pthread_create(&loops[i], NULL, run, bases[i]);
    }
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct evconnlistener* listener = evconnlistener_new_bind(
        bases[0], on_connection, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_THREADSAFE, 100,
        (struct sockaddr*)&address, sizeof address);
    socklen_t length = sizeof address;
    getsockname(evconnlistener_get_fd(listener), (struct sockaddr*)&address, &length);
    port = ntohs(address.sin_port);
    for (int i = 0; i < 40; i++) pthread_create(&clients[i], NULL, client, NULL);
    for (int i = 0; i < 40; i++) pthread_join(clients[i], NULL);
    printf("accepted %d echoed %d\n", accepted, echoed);

    struct event_base* own = event_base_new();
    struct event* active = event_new(own, -1, EV_PERSIST, on_active, NULL);
    event_add(active, NULL);
    struct event *timer = NULL, *signal_event = evsignal_new(own, SIGUSR1, on_signal, own);
    timer = event_new(own, -1, EV_PERSIST, on_tick, &timer);
    struct timeval often = {0, 1000};
    event_add(timer, &often);
    event_add(signal_event, NULL);
    pthread_t activator;
    pthread_create(&activator, NULL, activate, active);
    while (ticks < 5) event_base_loop(own, EVLOOP_ONCE);
    pthread_join(activator, NULL);
    kill(getpid(), SIGUSR1);
    event_base_dispatch(own);
    printf("activated %d ticks %d signals %d\n", activated > 0, ticks, signals);
    for (int i = 0; i < LOOPS; i++) event_base_loopbreak(bases[i]);
    for (int i = 0; i < LOOPS; i++) pthread_join(loops[i], NULL);
    evconnlistener_free(listener);
    event_free(active), event_free(timer), event_free(signal_event);
    event_base_free(own);
    for (int i = 0; i < LOOPS; i++) event_base_free(bases[i]);
    puts("freed");
}
