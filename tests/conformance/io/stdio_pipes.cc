// stdio on pipes: printf of many threads into one slow pipe keeps lines whole; getline, fgetc,
// fscanf and ungetc wait; flockfile holds a FILE over several calls; output larger than the pipe
// blocks and goes on.
// expect: fibers>=18 native_fallbacks=0
#include "../../support/twin.h"
#include <set>
#include <string>

static FILE* shared;
static const int writers = 16, each = 200;

static void* print_lines(void* arg) {
    int id = (int)(intptr_t)arg;
    for (int i = 0; i < each; i++) {
        if (i % 2) {
            CHECK(fprintf(shared, "%02d %04d %s\n", id, i, std::string(60, 'a' + id).c_str()) > 0);
        } else {
            flockfile(shared);
            fprintf(shared, "%02d ", id);
            if (i % 50 == 0) nap(1);
            fprintf(shared, "%04d ", i);
            fputs(std::string(60, 'a' + id).c_str(), shared);
            putc_unlocked('\n', shared);
            funlockfile(shared);
        }
    }
    return nullptr;
}

static void* close_after(void* arg) {
    for (int i = 0; i < writers; i++) finish(((pthread_t*)arg)[i]);
    CHECK(fclose(shared) == 0);
    return nullptr;
}

static void* feed(void* arg) {
    int fd = (int)(intptr_t)arg;
    const char* parts[] = {"12 3", "4\nfirst", " line\nlast", " without end"};
    for (const char* p : parts) {
        put(fd, p, strlen(p));
        nap(5);
    }
    close(fd);
    return nullptr;
}

int main() {
    int fds[2];
    CHECK(pipe(fds) == 0);
    CHECK((shared = fdopen(fds[1], "w")));
    pthread_t t[writers];
    for (int i = 0; i < writers; i++) t[i] = start(print_lines, (void*)(intptr_t)i);
    pthread_t closing = start(close_after, t);
    FILE* in = fdopen(fds[0], "r");
    CHECK(in);
    std::set<std::string> seen;
    char* line = nullptr;
    size_t room = 0;
    int whole = 0;
    while (getline(&line, &room, in) == 69) {
        if (seen.size() % 400 == 0) nap(5);  // the pipe fills up and all writers wait
        int id = atoi(line);
        CHECK(id >= 0 && id < writers);
        whole += strspn(line + 8, std::string(1, (char)('a' + id)).c_str()) == 60;
        CHECK(seen.insert(std::string(line, 7)).second);
    }
    CHECK(feof(in));
    fclose(in);
    finish(closing);
    printf("%d whole lines, %zu different\n", whole, seen.size());

    CHECK(pipe(fds) == 0);
    pthread_t f = start(feed, (void*)(intptr_t)fds[1]);
    CHECK((in = fdopen(fds[0], "r")));
    int a = 0, b = 0;
    CHECK(fscanf(in, "%d %d", &a, &b) == 2);
    CHECK(fgetc(in) == '\n' && ungetc('>', in) == '>');
    CHECK(getline(&line, &room, in) == 12);
    printf("%d %d %s", a, b, line);
    CHECK(getline(&line, &room, in) == 16);
    puts(line);
    CHECK(getline(&line, &room, in) == -1 && feof(in));
    fclose(in);
    finish(f);
    free(line);
    return whole != writers * each || (int)seen.size() != whole;
}
