// Mutants of the bodies, for `make mutate`: empty in every other build.
//
// MUTATE_HOOK=raw:NAME   the row NAME and its aliases lead to libc's own function, which is not
//                        redirected either: as if the row had never been written
// MUTATE_HOOK=wrong:NAME the exported NAME alone fails with ENOSYS
// A twin has to notice either.
#ifdef PFIBER_MUTANTS
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "interpose/hooks.h"
#include "interpose/start.h"

namespace pfiber::interpose {

namespace {

const char* raw_symbol;

const char* const bodies[] = {
#define HOOK(symbol, class, redirect, note) #symbol,
#define PRIVATE_HOOK(symbol, class, redirect, note) #symbol,
#define ALIAS(symbol, target, redirect, note) #target,
#include "interpose/hooks.def"
};

long fails() {
    errno = ENOSYS;
    return -1;
}

}  // namespace

bool is_mutated(const char* symbol) {
    return raw_symbol != nullptr && strcmp(symbol, raw_symbol) == 0;
}

void mutate_from_environment() {
    const char* wanted = getenv("MUTATE_HOOK");
    if (wanted == nullptr) return;
    const char* symbol = strchr(wanted, ':') + 1;
    const bool is_raw = wanted[0] == 'r';
    if (is_raw) raw_symbol = symbol;
    for (int row = 0; row < count_of_rows(); row++) {
        if (is_raw && strcmp(bodies[row], symbol) == 0)
            replace_slot(row, real_function(static_cast<Row>(row)));
        if (!is_raw && strcmp(name_of_row(row), symbol) == 0)
            replace_slot(row, reinterpret_cast<void*>(fails));
    }
}

}  // namespace pfiber::interpose
#endif
