// flags: -Wl,-z,execstack
// expect: fibers>=4
// A program that asks for executable stacks has them in every thread: the address of a nested
// function that uses its surroundings is code on the stack.
#include "switching.h"

static int apply(int (*function)(int), int value) { return function(value); }

static void* body(void* argument) {
    int base = (int)(long)argument;
    int add(int value) { return value + base; }
    int sum = 0;
    for (int i = 0; i < 10; i++) {
        sum += apply(add, i);
        move_about(1);
    }
    return (void*)(long)sum;
}

int main(void) {
    pthread_t t[4];
    pthread_attr_t small;
    CHECK_OK(pthread_attr_init(&small));
    CHECK_OK(pthread_attr_setstacksize(&small, 65536));
    for (long i = 0; i < 4; i++)
        CHECK_OK(pthread_create(&t[i], i % 2 ? &small : NULL, body, (void*)(i * 100)));
    for (int i = 0; i < 4; i++) printf("%ld\n", (long)join(t[i]));
    printf("%ld\n", (long)body((void*)7L));
    return 0;
}
