// getaddrinfo, getnameinfo, gethostbyname_r, getpwnam_r and getservbyname_r in many threads at
// once.
// expect: fibers>=16 native_fallbacks=0
#include "../../support/twin.h"
#include <netdb.h>
#include <pwd.h>
#include <atomic>

static std::atomic<int> right;

static void* look(void*) {
    for (int i = 0; i < 10; i++) {
        addrinfo hints = {}, *result = nullptr;
        hints.ai_family = AF_INET;
        hints.ai_socktype = SOCK_STREAM;
        CHECK(getaddrinfo("localhost", "80", &hints, &result) == 0);
        sockaddr_in* a = (sockaddr_in*)result->ai_addr;
        right += a->sin_addr.s_addr == htonl(INADDR_LOOPBACK) && a->sin_port == htons(80);
        freeaddrinfo(result);
        hints.ai_flags = AI_NUMERICHOST;
        right += getaddrinfo("no.number", nullptr, &hints, &result) == EAI_NONAME;
        sockaddr_in loop = loopback(7);
        char host[256], service[32];
        right += getnameinfo((sockaddr*)&loop, sizeof loop, host, sizeof host, service,
                             sizeof service, NI_NUMERICHOST | NI_NUMERICSERV) == 0 &&
                 strcmp(host, "127.0.0.1") == 0 && strcmp(service, "7") == 0;
        passwd p, *found = nullptr;
        char b[4096];
        right += getpwnam_r("root", &p, b, sizeof b, &found) == 0 && found && p.pw_uid == 0;
        hostent h, *hp = nullptr;
        int code;
        right += gethostbyname_r("localhost", &h, b, sizeof b, &hp, &code) == 0 && hp &&
                 h.h_addrtype == AF_INET && h.h_length == 4;
    }
    return nullptr;
}

int main() {
    pthread_t t[16];
    for (auto& one : t) one = start(look, nullptr);
    for (auto& one : t) finish(one);
    printf("%d lookups right\n", (int)right);
    return right != 16 * 50;
}
