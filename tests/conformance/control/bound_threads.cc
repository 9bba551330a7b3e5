// limit: 30
// expect: fibers=25 locked>=9
// pfiber_lockosthread: nested, counted apart from other bindings, not inherited; a thread that ends
// bound takes its kernel thread with it; main bound before the first thread stays on its own.
#include "twin.h"

#include <sys/personality.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <atomic>

#include "../../../interpose/pfiber.h"
#include "inline_syscall.h"
#include "switching.h"

// The kernel's id of the thread that runs us, which the instruction alone tells.
static int kernel_thread() { return static_cast<int>(inline_syscall(SYS_gettid, 0, 0, 0, 0)); }
static std::atomic<int> stayed, gone, children;

static void* child(void*) {
    move_about(5);
    children++;
    return nullptr;
}

static void* bound(void* argument) {
    CHECK_EQ(pfiber_lockosthread(), 0);
    CHECK_EQ(pfiber_lockosthread(), 0);
    const int at = kernel_thread();
    move_about(20);
    pfiber_unlockosthread();
    move_about(20);  // still bound once
    stayed += at == kernel_thread();
    pthread_t own[2];
    for (pthread_t& thread : own) thread = start(child, nullptr);
    for (pthread_t thread : own) finish(thread);
    CHECK_EQ(at, kernel_thread());
    // More unlocks than locks undo nothing that was bound for another reason.
    CHECK_EQ(personality(0xffffffff),
             personality(static_cast<unsigned long>(personality(0xffffffff))));
    pfiber_unlockosthread();
    pfiber_unlockosthread();
    pfiber_unlockosthread();
    move_about(20);
    CHECK_EQ(at, kernel_thread());
    CHECK_EQ(pfiber_lockosthread(), 0);
    if (argument != nullptr) pfiber_goexit();
    return reinterpret_cast<void*>(static_cast<intptr_t>(at));
}

static bool exists(int tid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d", tid);
    struct stat st;
    return syscall(SYS_stat, path, &st) == 0;
}

int main() {
    CHECK_EQ(pfiber_lockosthread(), 0);
    pthread_t threads[8];
    for (intptr_t i = 0; i < 8; i++) threads[i] = start(bound, i % 2 ? threads : nullptr);
    move_about(20);
    CHECK_EQ(kernel_thread(), getpid());
    for (int i = 0; i < 8; i++) {
        const auto tid = static_cast<int>(reinterpret_cast<intptr_t>(finish(threads[i])));
        if (i % 2) continue;
        for (int left = 2000; left > 0 && exists(tid); left--) nap(1);
        gone += !exists(tid);
    }
    CHECK_EQ(kernel_thread(), getpid());
    pfiber_unlockosthread();
    printf("%d stayed, %d kernel threads are gone, %d children\n", stayed.load(), gone.load(),
           children.load());
    return 0;
}
