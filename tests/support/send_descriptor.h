// Passing a descriptor over an AF_UNIX socket.
#pragma once
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

// With one byte of data.  False: errno says why.
inline bool send_descriptor(int over, int fd, char tag) {
    iovec part{&tag, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    return sendmsg(over, &message, 0) == 1;
}
