// Opening a FIFO blocks until the other side opens it, for readers and writers; O_NONBLOCK gives
// ENXIO or succeeds; the data then flows, end of file comes with the last writer, and it can be
// opened again.
// expect: fibers>=40 native_fallbacks=0
#include "../../support/twin.h"
#include <atomic>
#include <sys/stat.h>

static char path[64];
static std::atomic<int> opened;

static void* open_reader(void*) {
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0);
    opened++;
    char b[64];
    size_t n = take(fd, b, sizeof b);
    close(fd);
    return (void*)(intptr_t)n;
}
static void* open_writer(void*) {
    int fd = open(path, O_WRONLY);
    CHECK(fd >= 0);
    opened++;
    put(fd, "through the fifo", 16);
    close(fd);
    return (void*)16;
}

int main() {
    char dir[] = "/tmp/pfiber-twin-XXXXXX";
    CHECK(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/fifo", dir);
    CHECK(mkfifo(path, 0600) == 0);
    CHECK(open(path, O_WRONLY | O_NONBLOCK) == -1 && errno == ENXIO);
    size_t total = 0;
    for (int i = 0; i < 20; i++) {
        opened = 0;
        pthread_t first = start(i % 2 ? open_reader : open_writer, nullptr);
        nap(10);
        CHECK(opened == 0);  // alone, it cannot have got through
        pthread_t second = start(i % 2 ? open_writer : open_reader, nullptr);
        size_t a = (size_t)finish(first), b = (size_t)finish(second);
        CHECK(a == 16 && b == 16 && opened == 2);
        total += a;
    }
    int r = open(path, O_RDONLY | O_NONBLOCK);
    CHECK(r >= 0);
    int w = open(path, O_WRONLY);
    CHECK(w >= 0);
    char c;
    CHECK(read(r, &c, 1) == -1 && errno == EAGAIN);
    close(w);
    CHECK(read(r, &c, 1) == 0);
    int both = open(path, O_RDWR);  // Linux: never blocks
    CHECK(both >= 0);
    put(both, "z", 1);
    CHECK(read(both, &c, 1) == 1 && c == 'z');
    CHECK((fcntl(both, F_GETFL) & O_NONBLOCK) == 0);
    CHECK(unlink(path) == 0 && rmdir(dir) == 0);
    printf("%zu bytes through 20 openings\n", total);
    return total != 320;
}
