// Simulator's stand-in for scheduler/host/signal.h.
#pragma once

#include <signal.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "scheduler/host/syscall.h"

namespace pfiber::host {

#define PFIBER_SIGNAL_TEXT

using SignalHandler = void (*)(int, siginfo_t*, void*);

struct KernelSigaction {
    void* handler;
    unsigned long flags;
    void (*restorer)();
    uint64_t mask;
};

long raw_sigaction(int signal, const KernelSigaction* action, KernelSigaction* old);
long install_handler(int signal, SignalHandler handler, unsigned long flags, uint64_t mask);
inline bool in_signal_text(unsigned long) { return false; }
unsigned long program_counter(const void* context);
unsigned long stack_pointer(const void* context);
void set_saved_mask(void* context, uint64_t mask);
struct RegisterSample {};  // a fiber of the simulator has no registers to look at
inline bool sample_registers(RegisterSample*, const void*) { return false; }
inline bool within_small_loop(unsigned long, unsigned long) { return false; }
inline bool stands_still(const RegisterSample&, const RegisterSample&) { return false; }
inline size_t signal_frame_size() { return 1024; }
using RelocatedHandler = void (*)(int argument, siginfo_t* info, void* context);
[[noreturn]] inline void continue_on_interrupted_stack(siginfo_t*, void*, RelocatedHandler, int) {
    __builtin_trap();  // no fiber of the simulator has an alternate stack
}
inline void read_alternate_stack(uintptr_t* low, size_t* size, int* flags) {
    *low = *size = static_cast<size_t>(*flags = 0);
}
inline void install_alternate_stack(uintptr_t, size_t, int) {}
inline bool in_blocking_syscall(const void*) { return true; }
void interrupt_blocking_syscall(void* context);
inline void interrupt_execute(void*) {}

}  // namespace pfiber::host
