// Functions looked up by name, as old programs and libraries bind to them.  Include twin.h first.
#pragma once
#include <dlfcn.h>

template <class F>
static F* spelled(const char* name) {
    void* found = dlsym(RTLD_DEFAULT, name);
    if (found == nullptr)
        found = dlvsym(RTLD_DEFAULT, name, "GLIBC_2.2.5");  // for old programs only
    if (found == nullptr) fprintf(stderr, "%s\n", name);
    CHECK(found != nullptr);
    printf("%s\n", name);
    return (F*)found;
}
