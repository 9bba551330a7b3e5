// libc's own functions, one pointer per row of the ledger, and the slots of the exported names.
#include "interpose/hooks.h"
#include "interpose/start.h"
#include "scheduler/host/libc.h"

extern "C" {
extern void* pfiber_slots[] __attribute__((visibility("hidden")));
}

namespace pfiber::interpose {

namespace {

constexpr int kRows = static_cast<int>(Row::kCount);

const char* const names[kRows] = {
#define HOOK(symbol, class, redirect, note) #symbol,
#define PRIVATE_HOOK(symbol, class, redirect, note) #symbol,
#define ALIAS(symbol, target, redirect, note) #symbol,
#include "interpose/hooks.def"
};

void* functions[kRows];

}  // namespace

void* real_function(Row row) {
    void*& function = functions[static_cast<int>(row)];
    if (__builtin_expect(function == nullptr, 0))
        function = host::libc_symbol(names[static_cast<int>(row)]);
    return function;
}

void resolve_all() {
    host::resolve_libc();
    for (int i = 0; i < kRows; i++) real_function(static_cast<Row>(i));
}

// Each exported name becomes libc's own function; the slots stand in the order of the rows.
void run_natively() {
    for (int i = 0; i < kRows; i++) {
        void* function = real_function(static_cast<Row>(i));
        if (function != nullptr) pfiber_slots[i] = function;
    }
}

#ifdef PFIBER_MUTANTS
void replace_slot(int row, void* function) { pfiber_slots[row] = function; }
const char* name_of_row(int row) { return names[row]; }
int count_of_rows() { return kRows; }
#endif

}  // namespace pfiber::interpose
