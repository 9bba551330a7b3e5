// Start-up of the preloaded object; see init.cc for the order of steps.
#pragma once

namespace pfiber {
struct Fiber;
}

namespace pfiber::interpose {

// Every exported name goes straight to libc from now on.  Single-threaded callers only.
void run_natively();

// Threads are fibers, or will be from the first pthread_create on, as far as is known.
bool may_have_fibers();

// The main thread becomes a fiber: what it asked for before (pfiber.h).
void adopt_early_locks(Fiber* main);

// Makes the process one with fibers; false when it stays native.  Called at each pthread_create.
bool ensure_started();

// Redirects libc's entry points (redirect.cc); returns how many.  None: *error is what the kernel
// said, or 0.
int redirect_libc(long* error);
bool libc_is_redirected();  // any thread

#ifdef PFIBER_MUTANTS
// Test builds only: puts libc's function, or one that fails, in place of a row (mutants.cc).
void mutate_from_environment();
bool is_mutated(const char* symbol);
void replace_slot(int row, void* function);
const char* name_of_row(int row);
int count_of_rows();
#endif

// In a fork child, first of all: the fiber that forked becomes the only thread of a native process.
void restart_after_fork();

}  // namespace pfiber::interpose
