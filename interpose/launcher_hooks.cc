// `pfiber --hooks`: the ledger as a table, one line for each libc symbol that pfiber serves.
//
// Only expands interpose/hooks.def; must not know what a row means beyond its text.
#include <stdio.h>

#define PFIBER_STRINGS(...) #__VA_ARGS__

namespace pfiber {

// False where this build has no ledger.
bool print_hooks() {
#if __has_include("interpose/hooks.def")
#define ROW(symbol, ...) printf("%-32s %s\n", #symbol, PFIBER_STRINGS(__VA_ARGS__));
#define HOOK(symbol, class, redirect, note) ROW(symbol, class, note)
#define PRIVATE_HOOK(symbol, class, redirect, note) ROW(symbol, class, note)
#define ALIAS(symbol, target, redirect, note) ROW(symbol, as target, note)
#define INNER(symbol, class, note) ROW(symbol, class, note)
#include "interpose/hooks.def"
#undef HOOK
#undef PRIVATE_HOOK
#undef ALIAS
#undef INNER
#undef ROW
    return true;
#else
    return false;
#endif
}

}  // namespace pfiber
