// expect: fibers>=10
// Many threads print to one FILE, buffered, line-buffered and unbuffered, to a file and to a pipe
// whose reader is slow: every line arrives whole and once.
#include <stdlib.h>

#include "switching.h"

enum { kThreads = 10, kLines = 300 };
static FILE* out;
static char seen[kThreads][kLines];

static void* prints(void* n) {
    for (int i = 0; i < kLines; i++) {
        if (i % 3 == 0)
            CHECK_GT(fprintf(out, "thread %ld line %d of %d%s\n", (long)n, i, kLines, "."), 0);
        else if (i % 3 == 1) {
            char line[64];
            snprintf(line, sizeof line, "thread %ld line %d of %d.\n", (long)n, i, kLines);
            CHECK_GE(fputs(line, out), 0);
        } else {
            char line[64];
            int len =
                snprintf(line, sizeof line, "thread %ld line %d of %d.\n", (long)n, i, kLines);
            CHECK_EQ(fwrite(line, 1, (size_t)len, out), len);
        }
        if (i % 50 == 0) move_about(2);
    }
    return NULL;
}

static int check_lines(FILE* in) {
    char line[128];
    int lines = 0;
    memset(seen, 0, sizeof seen);
    while (fgets(line, sizeof line, in)) {
        int n, i, of;
        char end;
        CHECK_EQ(sscanf(line, "thread %d line %d of %d%c", &n, &i, &of, &end), 4);
        CHECK(end == '.' && of == kLines && n < kThreads && i < kLines);
        CHECK_EQ(seen[n][i], 0);
        seen[n][i] = 1;
        lines++;
        if (lines % 500 == 0) usleep(100);
    }
    return lines;
}
static void* reads(void* in) { return (void*)(long)check_lines(in); }

static void all_print(void) {
    pthread_t t[kThreads];
    for (long i = 0; i < kThreads; i++) t[i] = spawn(prints, (void*)i);
    for (int i = 0; i < kThreads; i++) join(t[i]);
}

int main(void) {
    static const int modes[] = {_IOFBF, _IOLBF, _IONBF};
    for (int m = 0; m < 3; m++) {
        out = tmpfile();
        CHECK(out != NULL);
        CHECK_EQ(setvbuf(out, NULL, modes[m], m == 2 ? 0 : 1000), 0);
        all_print();
        rewind(out);
        int to_file = check_lines(out);
        CHECK_EQ(fclose(out), 0);
        int p[2];
        CHECK_EQ(pipe(p), 0);
        FILE* in = fdopen(p[0], "r");
        out = fdopen(p[1], "w");
        CHECK(in && out);
        CHECK_EQ(setvbuf(out, NULL, modes[m], m == 2 ? 0 : 1000), 0);
        pthread_t r = spawn(reads, in);
        all_print();
        CHECK_EQ(fclose(out), 0);
        int to_pipe = (int)(long)join(r);
        CHECK_EQ(fclose(in), 0);
        printf("%d %d\n", to_file, to_pipe);
    }
    return 0;
}
