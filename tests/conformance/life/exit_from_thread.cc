// exit: 33
// exit() called by a thread while main waits in join: the caller's own thread_local objects, then
// atexit handlers, static destructors and stdio run on it; main never returns from join.
#include <cstdlib>

#include "switching.h"

struct Local {
    ~Local() { printf("thread_local of the caller\n"); }
    int value = 1;
};
static thread_local Local local;
struct Static {
    ~Static() { printf("static destructor\n"); }
} object;

static void handler() { printf("atexit\n"); }

static void* body(void*) {
    CHECK_EQ(local.value, 1);
    move_about(6);
    exit(33);
}

int main() {
    CHECK_EQ(atexit(handler), 0);
    join(spawn(body, nullptr));
    printf("never printed\n");
    return 1;
}
