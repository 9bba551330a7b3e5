// Asks for its own stacks by the command that the argument names, until the thread that waits in
// read() is shown as waiting, and prints what is said about its stack.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int ends[2];

static void* wait_for_byte(void* none) {
    char byte;
    if (read(ends[0], &byte, 1) != 1) abort();
    return none;
}

// What follows the line of a fiber that waits for a descriptor, "" without one; *status: of pfiber.
static void ask(const char* pfiber, char* said, int room, int* status) {
    char command[4200], line[4200];
    int is_waiting = 0, is_list = 1;
    snprintf(command, sizeof command, "exec env -u LD_PRELOAD %s dump --stacks %d 2>&1", pfiber,
             (int)getpid());
    FILE* out = popen(command, "r");
    if (!out) abort();
    said[0] = 0;
    while (fgets(line, sizeof line, out)) {
        if (strncmp(line, "pfiber: ", 8) == 0 || (!is_list && is_waiting && !said[0]))
            snprintf(said, (size_t)room, "%s", line);
        is_waiting = strstr(line, "[IO wait") != 0 && strstr(line, "fiber 2 ") != 0;
        if (line[0] == '\n') is_list = 0;
    }
    *status = pclose(out);
}

int main(int argc, char** argv) {
    pthread_t thread;
    char said[4200] = "";
    int status = 0;
    if (argc != 2 || pipe(ends) || pthread_create(&thread, 0, wait_for_byte, 0)) return 2;
    const struct timespec moment = {0, 10000000};
    for (int i = 0; i < 1000 && !said[0]; i++) {
        ask(argv[1], said, sizeof said, &status);
        if (!said[0]) nanosleep(&moment, 0);
    }
    printf("%d %s", status, said);
    if (write(ends[1], "", 1) != 1) return 1;
    return pthread_join(thread, 0);
}
