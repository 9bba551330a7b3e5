// The load generator's two halves: load.c moves bytes and measures, load_protocols.c makes requests
// and checks replies.
#ifndef EXAMPLES_LOAD_H
#define EXAMPLES_LOAD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAX_WANT = 256, MAX_LEFT = 1024, ROOM = 16, KEYS = 16 };

struct file;

struct conn {
    int fd, id;
    bool open, waiting, verified;
    bool own_heard;    // chat: the line has come back, those of the others may still be missing
    uint64_t seq;      // requests made so far; each request is a function of (id, seq)
    uint64_t sent_at;  // ns
    uint64_t counted;  // replies inside the measured time
    size_t left_len;
    char left[MAX_LEFT];  // a reply's beginning whose end has not arrived yet
    // What the outstanding request has to be answered with.
    size_t want_len;
    char want[MAX_WANT];
    const struct file*
        file;  // http: the body that is arriving, and how much of it is still to come
    size_t body_left;
    uint64_t heard[ROOM];    // chat: last line of each member of the room
    uint32_t version[KEYS];  // kv: what each key holds (0 = not known, 1 = absent)
};

struct protocol {
    const char* name;
    // Writes the next request and notes what must come back; returns its length.
    size_t (*request)(struct conn* c, char* buf, size_t cap);
    // Looks at input; returns the bytes it has dealt with, 0 when it needs more, -1 when the input
    // is wrong (the reason is in load_reason). Sets *done when the outstanding request is answered.
    long (*reply)(struct conn* c, const char* buf, size_t len, bool* done);
    // Reads what replies are compared with; returns false with load_reason set.
    bool (*prepare)(const char* root, int connections, int active);
};

extern const struct protocol protocols[];
extern char load_reason[300];

#endif
