// Process-shared mutex, condition, rwlock, barrier, semaphore and spin lock between a parent and a
// child forked before either has made a thread (pthread_create follows in run_process).
#include "shared_objects.inc"

int main(void) {
    parent_and_child(make_shared());
    return 0;
}
