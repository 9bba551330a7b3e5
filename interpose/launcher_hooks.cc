// `pfiber --hooks`: the ledger as a table, one line for each libc symbol that pfiber serves.
//
// Only expands interpose/hooks.def; must not know what a row means beyond its text.
#include <stdio.h>

#define PFIBER_STRINGS(...) #__VA_ARGS__

namespace pfiber {

// False where this build has no ledger.
bool print_hooks() {
#if __has_include("interpose/hooks.def")
#define HOOK(symbol, ...) printf("%-32s %s\n", #symbol, PFIBER_STRINGS(__VA_ARGS__));
#include "interpose/hooks.def"
#undef HOOK
    return true;
#else
    return false;
#endif
}

}  // namespace pfiber
