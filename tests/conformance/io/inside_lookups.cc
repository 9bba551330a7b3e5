// What waits for a server in the inside of libc: the resolver for a name server, users for the name
// service cache, messages for the system log, interfaces for the kernel's netlink socket.  Each
// parks its thread; the servers are threads of the same program, in a mount namespace of its own.
// expect: fibers>=4 native_fallbacks=0 missed_blocking=0 parks_io>=20
#include "../../support/twin.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <pwd.h>
#include <resolv.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>

static int bound(int family, int type, const char* path) {
    const int fd = socket(family, type, 0);
    CHECK(fd >= 0);
    if (family == AF_INET) {
        sockaddr_in address = loopback(0);
        CHECK(bind(fd, (sockaddr*)&address, sizeof address) == 0);
    } else {
        sockaddr_un address = {};
        address.sun_family = AF_UNIX;
        snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
        CHECK(bind(fd, (sockaddr*)&address, sizeof address) == 0);
    }
    return fd;
}

static int names, cache, journal;
static volatile int questions, requests;

// A for every name is 10.1.2.3; nothing else exists.
static void* serves_names(void*) {
    for (;;) {
        unsigned char packet[1500];
        sockaddr_storage from;
        socklen_t size = sizeof from;
        const ssize_t n = recvfrom(names, packet, sizeof packet - 16, 0, (sockaddr*)&from, &size);
        if (n == 1) return nullptr;
        CHECK_GT(n, 16);
        questions = questions + 1;
        nap(20);
        const unsigned char* end = packet + 12;
        while (*end != 0) end += *end + 1;
        const int type = end[1] << 8 | end[2];
        unsigned char* out = packet + (end - packet) + 5;
        packet[2] |= 0x80;
        packet[3] = (unsigned char)(0x80 | (type == ns_t_ptr ? 3 : 0));
        packet[7] = type == ns_t_a;
        packet[9] = packet[11] = 0;
        if (type == ns_t_a) {
            const unsigned char answer[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 1, 2, 3};
            memcpy(out, answer, sizeof answer);
            out += sizeof answer;
        }
        CHECK(sendto(names, packet, (size_t)(out - packet), 0, (sockaddr*)&from, size) > 0);
    }
}

// Takes requests and hangs up: libc then reads the files.
static void* serves_cache(void*) {
    for (;;) {
        const int fd = accept(cache, nullptr, nullptr);
        CHECK(fd >= 0);
        char request[256];
        const ssize_t n = read(fd, request, sizeof request);
        nap(20);
        CHECK(close(fd) == 0);
        if (n == 1) return nullptr;
        requests = requests + 1;
    }
}

static volatile int messages;
static void* serves_journal(void*) {
    nap(30);  // until no more fits
    char message[2048];
    ssize_t n;
    while ((n = read(journal, message, sizeof message)) > 1) messages = messages + 1;
    return nullptr;
}

static void hosts() {
    CHECK(res_init() == 0);
    sockaddr_in server = {};
    socklen_t size = sizeof server;
    CHECK(getsockname(names, (sockaddr*)&server, &size) == 0);
    _res.nscount = 1;
    _res.nsaddr_list[0] = server;
    _res.options &= ~(unsigned long)(RES_DNSRCH | RES_DEFNAMES);
    unsigned char answer[512];
    CHECK_GT(res_query("a.pfiber.test", ns_c_in, ns_t_a, answer, sizeof answer), 30);
    CHECK_GT(res_search("b.pfiber.test", ns_c_in, ns_t_a, answer, sizeof answer), 30);
    CHECK_GT(res_nquery(&_res, "c.pfiber.test", ns_c_in, ns_t_a, answer, sizeof answer), 30);
    const hostent* host = gethostbyname("d.pfiber.test");
    CHECK(host != nullptr && memcmp(host->h_addr_list[0], "\x0a\x01\x02\x03", 4) == 0);
    addrinfo hints = {}, *found = nullptr;
    hints.ai_family = AF_INET;
    hints.ai_socktype = SOCK_STREAM;
    CHECK_EQ(getaddrinfo("e.pfiber.test", "80", &hints, &found), 0);
    CHECK(((sockaddr_in*)found->ai_addr)->sin_addr.s_addr == htonl(0x0a010203));
    char name[NI_MAXHOST];
    CHECK_EQ(getnameinfo(found->ai_addr, found->ai_addrlen, name, sizeof name, nullptr, 0, 0), 0);
    CHECK_STR(name, "10.1.2.3");
    freeaddrinfo(found);
    CHECK_GE(questions, 6);
    puts("hosts");
}

static void users() {
    const passwd* user = getpwnam("root");
    CHECK(user != nullptr && user->pw_uid == 0);
    CHECK_GE(requests, 1);
    CHECK(getpwnam("no such user") == nullptr);
    puts("users");
}

static void log_messages() {
    openlog("twin", LOG_NDELAY, LOG_USER);
    for (int i = 0; i < 1000; i++) syslog(LOG_INFO, "message %d", i);
    closelog();
    puts("messages");
}

static void interfaces() {
    ifaddrs* all;
    CHECK(getifaddrs(&all) == 0 && all != nullptr);
    freeifaddrs(all);
    struct if_nameindex* indices = if_nameindex();
    CHECK(indices != nullptr);
    char name[IF_NAMESIZE];
    const unsigned index = indices[0].if_index;
    CHECK(if_indextoname(index, name) != nullptr && if_nametoindex(name) == index);
    if_freenameindex(indices);
    puts("interfaces");
}

static void* all(void*) {
    hosts();
    users();
    log_messages();
    interfaces();
    return nullptr;
}

static void say(int type, const char* path) {
    const int fd = socket(AF_UNIX, type, 0);
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    CHECK(connect(fd, (sockaddr*)&address, sizeof address) == 0 && write(fd, "x", 1) == 1);
    CHECK(close(fd) == 0);
}

int main() {
    if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0) SKIP("needs the right to mount");
    CHECK(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
    CHECK(mount("twin", "/var/run", "tmpfs", 0, nullptr) == 0);
    CHECK(mkdir("/var/run/nscd", 0700) == 0 && mount("twin", "/dev", "tmpfs", 0, nullptr) == 0);
    names = bound(AF_INET, SOCK_DGRAM, nullptr);
    cache = bound(AF_UNIX, SOCK_STREAM, "/var/run/nscd/socket");
    journal = bound(AF_UNIX, SOCK_DGRAM, "/dev/log");
    CHECK(listen(cache, 8) == 0);
    const pthread_t servers[] = {start(serves_names, nullptr), start(serves_cache, nullptr),
                                 start(serves_journal, nullptr)};
    finish(start(all, nullptr));
    sockaddr_in to = {};
    socklen_t size = sizeof to;
    CHECK(getsockname(names, (sockaddr*)&to, &size) == 0);
    CHECK(sendto(names, "x", 1, 0, (sockaddr*)&to, size) == 1);
    say(SOCK_STREAM, "/var/run/nscd/socket");
    say(SOCK_DGRAM, "/dev/log");
    for (pthread_t server : servers) finish(server);
    printf("%d messages\n", messages);
    return 0;
}
