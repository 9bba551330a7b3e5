// Flags of sending and receiving, for each kind of socket: MSG_PEEK, TRUNC, WAITALL, OOB, MORE,
// EOR, ERRQUEUE, zero-copy with its completions, ancillary data, raw, packet and netlink sockets.
// limit: 60
// expect: fibers>=6 native_fallbacks=0
#include "../../support/twin.h"
#include "../../support/cases.h"
#include <linux/errqueue.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip_icmp.h>
#include <netpacket/packet.h>

static char buffer[1 << 20];

static void say(const char* name, long answer) {
    printf("%s: %ld %s\n", name, answer, answer < 0 ? strerrorname_np(errno) : "ok");
}

static long do_recv(int fd) { return recv(fd, buffer, 64, 0); }
static long do_recv_all(int fd) { return recv(fd, buffer, 10, MSG_WAITALL); }
static long do_peek_all(int fd) { return recv(fd, buffer, 10, MSG_WAITALL | MSG_PEEK); }
static long do_trunc(int fd) { return recv(fd, buffer, 3, MSG_TRUNC); }
static long do_msg(int fd) {
    struct iovec v[3] = {{buffer, 2}, {buffer + 2, 0}, {buffer + 4, 3}};
    char control[256], name[128];
    struct msghdr m = {name, sizeof name, v, 3, control, sizeof control, 0};
    long n = recvmsg(fd, &m, 0);
    if (n < 0) return n;
    return n * 1000000 + (long)m.msg_namelen * 10000 + (long)m.msg_controllen * 100 +
           (m.msg_flags & (MSG_TRUNC | MSG_EOR | MSG_CTRUNC));
}
static long do_one_of_many(int fd) {
    struct mmsghdr m[4];
    struct iovec v[4];
    memset(m, 0, sizeof m);
    for (int i = 0; i < 4; i++) {
        v[i] = (struct iovec){buffer + 16 * i, 16};
        m[i].msg_hdr.msg_iov = &v[i];
        m[i].msg_hdr.msg_iovlen = 1;
    }
    long n = recvmmsg(fd, m, 4, MSG_WAITFORONE, NULL);
    for (long i = 0; i < n; i++) printf("  message of %u\n", m[i].msg_len);
    return n;
}

static void all_kinds(void) {
    static const struct {
        const char* name;
        int family, type;
    } kinds[] = {{"tcp", 0, 0},
                 {"unix stream", AF_UNIX, SOCK_STREAM},
                 {"unix datagram", AF_UNIX, SOCK_DGRAM},
                 {"unix packets", AF_UNIX, SOCK_SEQPACKET}};
    static const struct {
        const char* name;
        long (*body)(int);
    } calls[] = {{"recv", do_recv},   {"waitall", do_recv_all}, {"peek waitall", do_peek_all},
                 {"trunc", do_trunc}, {"recvmsg", do_msg},      {"recvmmsg", do_one_of_many}};
    for (int k = 0; k < COUNT(kinds); k++)
        for (int i = 0; i < COUNT(calls); i++) {
            int fds[2];
            if (k == 0)
                tcp_pair(fds);
            else
                CHECK(socketpair(kinds[k].family, kinds[k].type, 0, fds) == 0);
            struct call c;
            char name[64];
            snprintf(name, sizeof name, "%s %s", kinds[k].name, calls[i].name);
            begin_call(&c, calls[i].body, fds[0]);
            CHECK(send(fds[1], "1234", 4, MSG_NOSIGNAL) == 4);
            nap(20);
            printf("%s: %s\n", name, state_of(&c));
            CHECK(send(fds[1], "56789012", 8, MSG_NOSIGNAL | MSG_EOR) == 8);
            end_call(&c, name);
            close(fds[1]);
            snprintf(name, sizeof name, "%s %s, rest", kinds[k].name, calls[i].name);
            say(name, recv(fds[0], buffer, 64, MSG_DONTWAIT));
            say("end", recv(fds[0], buffer, 64, MSG_DONTWAIT));
            close(fds[0]);
        }
}

static void urgent(void) {
    int fds[2];
    struct call c;
    tcp_pair(fds);
    say("oob, none", recv(fds[0], buffer, 1, MSG_OOB));
    begin_call(&c, do_recv, fds[0]);
    CHECK(send(fds[1], "!", 1, MSG_OOB) == 1);
    nap(20);
    printf("urgent byte: %s\n", state_of(&c));
    // Whether the waiting call or another one finds the byte is a matter of luck.
    put(fds[1], "abc", 3);
    end_call(&c, "after urgent");
    struct pollfd p = {fds[0], POLLPRI, 0};
    CHECK(send(fds[1], "de!", 3, MSG_OOB) == 3);
    CHECK(poll(&p, 1, 3000) == 1);
    printf("events %x, mark %d\n", p.revents, sockatmark(fds[0]));
    say("up to the mark", recv(fds[0], buffer, 64, 0));
    printf("mark %d\n", sockatmark(fds[0]));
    int on = 1;
    CHECK(setsockopt(fds[0], SOL_SOCKET, SO_OOBINLINE, &on, sizeof on) == 0);
    CHECK(send(fds[1], "f!", 2, MSG_OOB) == 2);
    nap(10);
    say("inline", recv(fds[0], buffer, 64, 0));
    close(fds[0]);
    close(fds[1]);
    // More: one segment when the last part is there.
    tcp_pair(fds);
    CHECK(send(fds[1], "ab", 2, MSG_MORE) == 2);
    say("held back", recv(fds[0], buffer, 64, MSG_DONTWAIT));
    CHECK(send(fds[1], "cd", 2, 0) == 2);
    say("together", recv(fds[0], buffer, 64, 0));
    say("nosignal", (close(fds[0]), nap(5), send(fds[1], "x", 1, MSG_NOSIGNAL)));
    nap(10);
    say("nosignal", send(fds[1], "x", 1, MSG_NOSIGNAL));
    close(fds[1]);
}

static long zero_copy_done(int fd) {
    char control[128];
    long done = 0;
    while (done < 4) {
        struct msghdr m = {.msg_control = control, .msg_controllen = sizeof control};
        struct pollfd p = {fd, 0, 0};
        CHECK(poll(&p, 1, 3000) == 1 && (p.revents & POLLERR) != 0);
        if (recvmsg(fd, &m, MSG_ERRQUEUE) < 0) return -1;
        struct sock_extended_err* e = (struct sock_extended_err*)CMSG_DATA(CMSG_FIRSTHDR(&m));
        CHECK(e->ee_origin == SO_EE_ORIGIN_ZEROCOPY);
        done += e->ee_data - e->ee_info + 1;
    }
    return done;
}
static void* swallow(void* arg) {
    static char sink[1 << 16];
    long total = 0, n;
    while ((n = read((int)(intptr_t)arg, sink, sizeof sink)) > 0) total += n;
    return (void*)total;
}

static void error_queue(void) {
    int fds[2], on = 1;
    tcp_pair(fds);
    say("empty error queue", recv(fds[0], buffer, 64, MSG_ERRQUEUE));
    CHECK(setsockopt(fds[1], SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on) == 0);
    pthread_t reader = start(swallow, (void*)(intptr_t)fds[0]);
    struct call c;
    begin_call(&c, zero_copy_done, fds[1]);
    long sent = 0;
    for (int i = 0; i < 4; i++) sent += send(fds[1], buffer, 100000, MSG_ZEROCOPY);
    end_call(&c, "completions");
    close(fds[1]);
    printf("sent %ld, received %ld\n", sent, (long)finish(reader));
    close(fds[0]);
    int u = socket(AF_INET, SOCK_DGRAM, 0), gone = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in a = loopback(0);
    CHECK(bind(gone, (struct sockaddr*)&a, sizeof a) == 0);
    a = loopback(port_of(gone));
    close(gone);
    CHECK(setsockopt(u, IPPROTO_IP, IP_RECVERR, &on, sizeof on) == 0);
    begin_call(&c, do_recv, u);
    CHECK(sendto(u, "x", 1, 0, (struct sockaddr*)&a, sizeof a) == 1);
    end_call(&c, "refused, unconnected with IP_RECVERR");
    struct iovec v = {buffer, 64};
    char control[256];
    struct sockaddr_in from;
    struct msghdr m = {&from, sizeof from, &v, 1, control, sizeof control, 0};
    say("from the error queue", recvmsg(u, &m, MSG_ERRQUEUE));
    printf("error queue flag %d\n", (m.msg_flags & MSG_ERRQUEUE) != 0);
    close(u);
}

static void datagrams(void) {
    struct sockaddr_un a, b;
    socklen_t la = unix_name(&a, "flags-a"), lb = unix_name(&b, "flags-b");
    int x = socket(AF_UNIX, SOCK_DGRAM, 0), y = socket(AF_UNIX, SOCK_DGRAM, 0);
    CHECK(bind(x, (struct sockaddr*)&a, la) == 0 && bind(y, (struct sockaddr*)&b, lb) == 0);
    say("to itself", sendto(x, "hello", 5, 0, (struct sockaddr*)&a, la));
    say("from itself", recv(x, buffer, 64, 0));
    CHECK(connect(x, (struct sockaddr*)&b, lb) == 0);
    say("from a third", sendto(y, "abc", 3, 0, (struct sockaddr*)&a, la));
    say("connected elsewhere", recv(x, buffer, 64, 0));
    // A full queue, with and without a connection.
    long n = 0;
    while (send(x, "z", 1, MSG_DONTWAIT) == 1) n++;
    printf("queue full: %s\n", n > 0 ? strerrorname_np(errno) : "never");
    struct timeval t = {0, 40000};
    CHECK(setsockopt(x, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t) == 0);
    say("send, full, timeout", send(x, "z", 1, 0));
    say("sendto, full, timeout", sendto(x, "z", 1, 0, (struct sockaddr*)&b, lb));
    struct pollfd p = {x, POLLOUT, 0};
    say("poll for room", poll(&p, 1, 20));
    CHECK(setsockopt(x, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){0, 0}, sizeof t) == 0);
    close(x);
    close(y);
}

static long do_send_packet(int fd) { return send(fd, buffer, 1000, 0); }

static void waiting_senders(void) {
    static const int types[] = {SOCK_DGRAM, SOCK_SEQPACKET};
    for (int i = 0; i < 2; i++) {
        int fds[2];
        struct call c;
        CHECK(socketpair(AF_UNIX, types[i], 0, fds) == 0);
        while (send(fds[0], buffer, 1000, MSG_DONTWAIT) == 1000) {
        }
        begin_call(&c, do_send_packet, fds[0]);
        printf("sender %s\n", state_of(&c));
        while (recv(fds[1], buffer, 1000, MSG_DONTWAIT) == 1000) {
        }
        end_call(&c, i == 0 ? "datagram sent" : "packet sent");
        while (send(fds[0], buffer, 1000, MSG_DONTWAIT) == 1000) {
        }
        signal(SIGPIPE, SIG_IGN);
        begin_call(&c, do_send_packet, fds[0]);
        close(fds[1]);
        end_call(&c, i == 0 ? "datagram, peer gone" : "packet, peer gone");
        close(fds[0]);
    }
}

static long do_netlink(int fd) {
    long messages = 0;
    for (;;) {
        long n = recv(fd, buffer, sizeof buffer, 0);
        if (n <= 0) return n;
        for (struct nlmsghdr* h = (struct nlmsghdr*)buffer; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
            if (h->nlmsg_type == NLMSG_DONE) return messages > 0;
            messages++;
        }
    }
}
static long do_icmp(int fd) {
    for (;;) {
        long n = recv(fd, buffer, sizeof buffer, 0);
        if (n < 28) return n;
        struct icmphdr* h = (struct icmphdr*)(buffer + 20);
        if (h->type == ICMP_ECHOREPLY && h->un.echo.id == htons(4711)) return n;
    }
}
static long do_packet(int fd) {
    for (;;) {
        long n = recv(fd, buffer, sizeof buffer, 0);
        if (n < 0 || memmem(buffer, (size_t)n, "packet to see", 13) != NULL) return n;
    }
}

static void others(void) {
    struct call c;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    CHECK(fd >= 0);
    begin_call(&c, do_netlink, fd);
    struct {
        struct nlmsghdr h;
        struct ifinfomsg i;
    } ask = {{sizeof ask, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0},
             {.ifi_family = AF_UNSPEC}};
    CHECK(send(fd, &ask, sizeof ask, 0) == sizeof ask);
    end_call(&c, "netlink dump");
    close(fd);
    fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    if (fd >= 0) {
        begin_call(&c, do_icmp, fd);
        struct icmphdr echo = {.type = ICMP_ECHO, .un.echo = {htons(4711), 1}};
        unsigned sum = ICMP_ECHO + htons(4711) + 1;
        echo.checksum = (uint16_t) ~(sum + (sum >> 16));
        struct sockaddr_in a = loopback(0);
        CHECK(sendto(fd, &echo, sizeof echo, 0, (struct sockaddr*)&a, sizeof a) == sizeof echo);
        end_call(&c, "echo reply");
        close(fd);
    } else {
        say("raw socket", fd);
    }
    fd = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_ALL));
    if (fd >= 0) {
        struct sockaddr_ll l = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
        l.sll_ifindex = (int)if_nametoindex("lo");
        CHECK(bind(fd, (struct sockaddr*)&l, sizeof l) == 0);
        begin_call(&c, do_packet, fd);
        int u = socket(AF_INET, SOCK_DGRAM, 0);
        struct sockaddr_in a = loopback(9);
        do {  // other traffic of the machine may leave no room for it
            CHECK(sendto(u, "a packet to see", 15, 0, (struct sockaddr*)&a, sizeof a) == 15);
            nap(5);
        } while (!has_ended(&c));
        end_call(&c, "packet socket");
        close(u);
        close(fd);
    } else {
        say("packet socket", fd);
    }
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    all_kinds();
    urgent();
    error_queue();
    datagrams();
    waiting_senders();
    others();
    return 0;
}
