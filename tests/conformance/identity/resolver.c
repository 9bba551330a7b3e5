// getaddrinfo and getnameinfo for numbers and for localhost from many threads, with the resolver
// state of each its own.
#include <arpa/inet.h>
#include <netdb.h>
#include <resolv.h>

#include "switching.h"

static int numeric, local, own;
static struct __res_state* state[8];
static pthread_barrier_t all;

static void* body(void* argument) {
    long n = (long)argument;
    CHECK_EQ(res_init(), 0);
    state[n] = &_res;
    _res.retry = 2 + (int)n;
    pthread_barrier_wait(&all);
    for (int k = 0; k < 8; k++) CHECK_EQ(state[k] == &_res, k == n);
    for (int i = 0; i < 10; i++) {
        struct addrinfo hints, *list = NULL;
        memset(&hints, 0, sizeof hints);
        hints.ai_family = AF_INET;
        hints.ai_socktype = SOCK_STREAM;
        char address[32], port[32], text[64];
        snprintf(address, sizeof address, "127.0.%ld.%d", n, i + 1);
        snprintf(port, sizeof port, "%ld", 1000 + n);
        CHECK_EQ(getaddrinfo(address, port, &hints, &list), 0);
        move_about(2);
        struct sockaddr_in* in = (struct sockaddr_in*)list->ai_addr;
        CHECK_STR(inet_ntop(AF_INET, &in->sin_addr, text, sizeof text), address);
        CHECK_EQ(ntohs(in->sin_port), 1000 + n);
        char host[64];
        CHECK_EQ(getnameinfo(list->ai_addr, list->ai_addrlen, host, sizeof host, NULL, 0,
                             NI_NUMERICHOST),
                 0);
        CHECK_STR(host, address);
        freeaddrinfo(list);
        bump(&numeric);
        list = NULL;
        CHECK_EQ(getaddrinfo("localhost", NULL, &hints, &list), 0);
        in = (struct sockaddr_in*)list->ai_addr;
        CHECK_EQ(ntohl(in->sin_addr.s_addr) >> 24, 127);
        freeaddrinfo(list);
        bump(&local);
        CHECK_EQ(getaddrinfo("not an address", NULL, &(struct addrinfo){.ai_flags = AI_NUMERICHOST},
                             &list),
                 EAI_NONAME);
        CHECK_EQ(&_res, state[n]);
        CHECK_EQ(_res.retry, 2 + n);
        bump(&own);
    }
    return NULL;
}

int main(void) {
    CHECK_OK(pthread_barrier_init(&all, NULL, 8));
    pthread_t t[8];
    for (long i = 0; i < 8; i++) t[i] = spawn(body, (void*)i);
    for (int i = 0; i < 8; i++) join(t[i]);
    printf("numeric %d, localhost %d, own %d\n", numeric, local, own);
    return 0;
}
