// What waits in the inside of libc: streams of bytes and of wide characters on a FIFO, opened,
// reopened, read and written by every family of calls, directory streams and trees, temporary
// files, named semaphores, pseudo-terminals.  What the monitor finds sleeping where no hook saw it
// (missed_blocking) is nothing.
// expect: fibers>=19 native_fallbacks=0 missed_blocking=0 parks_io>=25 calls>=139 handoffs>=5
#include "../../support/twin.h"

#include <dirent.h>
#include <err.h>
#include <error.h>
#include <fts.h>
#include <ftw.h>
#include <glob.h>
#include <mntent.h>
#include <pty.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <termios.h>
#include <wchar.h>

static char dir[] = "/tmp/pfiber-twin-XXXXXX", path[64];
static const char line[] = "one 2 three\n";

// Opens the FIFO late and writes the line later still.
static void* feeds(void*) {
    nap(20);
    const int fd = open(path, O_WRONLY);
    CHECK(fd >= 0);
    nap(20);
    put(fd, line, sizeof line - 1);
    CHECK(close(fd) == 0);
    return nullptr;
}
static void reading(const char* name, void (*read_it)(FILE*)) {
    const pthread_t other = start(feeds, nullptr);
    FILE* f = fopen(path, "r");
    CHECK(f != nullptr);
    read_it(f);
    CHECK(fclose(f) == 0);
    finish(other);
    printf("%s\n", name);
}

static char text[64];
static wchar_t wide[64];
static void reads() {
    reading("fgets", [](FILE* f) {
        CHECK(fgets(text, sizeof text, f));
        CHECK_STR(text, line);
    });
    reading("getc",
            [](FILE* f) { CHECK(getc(f) == 'o' && ungetc('x', f) == 'x' && fgetc(f) == 'x'); });
    reading("getw", [](FILE* f) { CHECK(getw(f) == 0x20656e6f); });
    reading("fread", [](FILE* f) { CHECK_EQ(fread(text, 1, sizeof text, f), sizeof line - 1); });
    reading("fread_unlocked",
            [](FILE* f) { CHECK_EQ(fread_unlocked(text, 1, sizeof text, f), sizeof line - 1); });
    reading("getdelim", [](FILE* f) {
        char* got = nullptr;
        size_t room = 0;
        CHECK(getdelim(&got, &room, ' ', f) == 4 && getline(&got, &room, f) == 8);
        CHECK_STR(got, "2 three\n");
        free(got);
    });
    reading("fscanf", [](FILE* f) {
        int number = 0;
        CHECK(fscanf(f, "%60s %d", text, &number) == 2 && number == 2);
    });
    reading("fgetws",
            [](FILE* f) { CHECK(fgetws(wide, 64, f) && wcscmp(wide, L"one 2 three\n") == 0); });
    reading("fgetwc", [](FILE* f) { CHECK(fgetwc(f) == L'o' && ungetwc(L'x', f) == L'x'); });
    reading("fwscanf", [](FILE* f) {
        int number = 0;
        CHECK(fwscanf(f, L"%60ls %d", wide, &number) == 2 && number == 2);
    });
    reading("getmntent", [](FILE* f) {
        const mntent* entry = getmntent(f);
        CHECK(entry != nullptr);
        CHECK_STR(entry->mnt_fsname, "one");
    });
    const pthread_t other = start(feeds, nullptr);
    FILE* f = fopen("/dev/null", "r");
    CHECK(f != nullptr && (f = freopen(path, "r", f)) != nullptr);
    CHECK(fgets(text, sizeof text, f) && fclose(f) == 0);
    finish(other);
    puts("freopen");
}

static void* drains(void* arg) {
    nap(20);
    const int fd = *(int*)arg;
    char all[4096];
    while (read(fd, all, sizeof all) > 0) {
    }
    return nullptr;
}
static void writing(const char* name, void (*write_it)(FILE*)) {
    int fds[2];
    CHECK(pipe(fds) == 0 && fcntl(fds[1], F_SETPIPE_SZ, 4096) >= 4096);
    const pthread_t other = start(drains, &fds[0]);
    FILE* f = fdopen(fds[1], "w");
    CHECK(f != nullptr);
    for (int i = 0; i < 2000; i++) write_it(f);
    CHECK(fflush(f) == 0 && !ferror(f) && fclose(f) == 0);
    finish(other);
    CHECK(close(fds[0]) == 0);
    printf("%s\n", name);
}
static void writes() {
    writing("fprintf", [](FILE* f) { CHECK(fprintf(f, "%s %d\n", "text", 12) == 8); });
    writing("fputs", [](FILE* f) { CHECK(fputs("text\n", f) >= 0 && putc('x', f) == 'x'); });
    writing("fwrite", [](FILE* f) { CHECK(fwrite("text\n", 5, 1, f) == 1 && putw(1, f) == 0); });
    writing("fwprintf", [](FILE* f) { CHECK(fwprintf(f, L"%ls %d\n", L"text", 12) == 8); });
    writing("fputws", [](FILE* f) { CHECK(fputws(L"text\n", f) >= 0 && putwc(L'x', f) == L'x'); });
    int fds[2];
    CHECK(pipe(fds) == 0 && fcntl(fds[1], F_SETPIPE_SZ, 4096) >= 4096);
    const pthread_t other = start(drains, &fds[0]);
    for (int i = 0; i < 2000; i++) CHECK(dprintf(fds[1], "%s %d\n", "text", 12) == 8);
    CHECK(close(fds[1]) == 0);
    finish(other);
    puts("dprintf");
    // Messages on the standard error, which is the pipe meanwhile.
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    const int saved = dup(2);
    CHECK(saved >= 0 && dup2(fds[1], 2) == 2);
    warnx("warned %d", 1);
    error(0, 0, "told %d", 2);
    perror("said");
    psignal(SIGTERM, "named");
    CHECK(dup2(saved, 2) == 2 && close(fds[1]) == 0 && close(saved) == 0);
    int lines = 0;
    char c;
    while (read(fds[0], &c, 1) == 1) lines += c == '\n';
    printf("%d messages\n", lines);
}

static int visited;
static int visit(const char*, const struct stat*, int, FTW*) {
    visited++;
    return 0;
}
static void directories() {
    DIR* d = opendir(dir);
    CHECK(d != nullptr);
    const long at = telldir(d);
    int n = 0;
    while (readdir(d) != nullptr) n++;
    rewinddir(d);
    while (readdir64(d) != nullptr) n++;
    seekdir(d, at);
    CHECK(readdir(d) != nullptr && closedir(d) == 0);
    dirent** names;
    const int sorted = scandir(dir, &names, nullptr, alphasort);
    for (int i = 0; i < sorted; i++) free(names[i]);
    free(names);
    CHECK(nftw(dir, visit, 4, FTW_PHYS) == 0);
    char* roots[] = {dir, nullptr};
    FTS* tree = fts_open(roots, FTS_PHYSICAL, nullptr);
    int seen = 0;
    while (fts_read(tree) != nullptr) seen++;
    CHECK(fts_close(tree) == 0);
    char pattern[80];
    snprintf(pattern, sizeof pattern, "%s/*", dir);
    glob_t found = {};
    CHECK(glob(pattern, 0, nullptr, &found) == 0);
    printf("%d entries, %d sorted, %d visited, %d seen, %d found\n", n, sorted, visited, seen,
           (int)found.gl_pathc);
    globfree(&found);
}

static void made() {
    char name[80];
    snprintf(name, sizeof name, "%s/a-XXXXXX", dir);
    const int fd = mkstemp(name);
    CHECK(fd >= 0 && close(fd) == 0 && unlink(name) == 0);
    snprintf(name, sizeof name, "%s/b-XXXXXX", dir);
    CHECK(mkdtemp(name) != nullptr && rmdir(name) == 0);
    FILE* f = tmpfile();
    CHECK(f != nullptr && fputs("kept", f) >= 0 && fclose(f) == 0);
    snprintf(name, sizeof name, "/pfiber-twin-%d", (int)getpid());
    const int shared = shm_open(name, O_CREAT | O_EXCL | O_RDWR, 0600);
    CHECK(shared >= 0 && close(shared) == 0 && shm_unlink(name) == 0);
    sem_t* named = sem_open(name, O_CREAT | O_EXCL, 0600, 1);
    CHECK(named != SEM_FAILED && sem_wait(named) == 0 && sem_close(named) == 0);
    CHECK(sem_unlink(name) == 0);
    CHECK_ERRNO(sem_unlink(name), ENOENT);
    puts("made");
}

static void terminals() {
    int leader, follower;
    CHECK(openpty(&leader, &follower, nullptr, nullptr, nullptr) == 0);
    termios t;
    CHECK(tcgetattr(follower, &t) == 0);
    cfmakeraw(&t);
    CHECK(tcsetattr(follower, TCSANOW, &t) == 0 && tcsetattr(follower, TCSADRAIN, &t) == 0);
    CHECK(tcsetattr(follower, TCSAFLUSH, &t) == 0 && tcdrain(follower) == 0);
    CHECK(tcflow(follower, TCOOFF) == 0 && tcflow(follower, TCOON) == 0);
    CHECK(tcflush(follower, TCIOFLUSH) == 0 && tcsendbreak(follower, 0) == 0);
    CHECK_ERRNO(tcsetattr(follower, 99, &t), EINVAL);
    CHECK_ERRNO(tcsetattr(0x3fff, TCSADRAIN, &t), EBADF);
    CHECK(close(leader) == 0 && close(follower) == 0);
    puts("terminals");
}

static void* all(void*) {
    reads();
    writes();
    directories();
    made();
    terminals();
    return nullptr;
}

int main() {
    CHECK(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/fifo", dir);
    CHECK(mkfifo(path, 0600) == 0);
    finish(start(all, nullptr));
    CHECK(unlink(path) == 0 && rmdir(dir) == 0);
    return 0;
}
