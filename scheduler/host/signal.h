// Signals without libc: dispositions, the interrupted context, blocking calls with a known range.
//
// Everything that runs between a handler's entry and its return to the kernel, the restorer
// included, stands in one text section; a signal that lands there finds a frame whose mask is being
// patched and must not move the fiber (in_signal_text).
#pragma once

#include <signal.h>
#include <ucontext.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "scheduler/host/syscall.h"

namespace pfiber::host {

#define PFIBER_SIGNAL_TEXT __attribute__((section("pfiber_signal_text"), noinline))

using SignalHandler = void (*)(int, siginfo_t*, void*);

// The kernel's struct sigaction.
struct KernelSigaction {
    void* handler;
    unsigned long flags;
    void (*restorer)();
    uint64_t mask;
};
constexpr unsigned long kSaRestorer = 0x04000000;

// rt_sigaction with our restorer for handlers.  0 or -errno.  Any context.
long raw_sigaction(int signal, const KernelSigaction* action, KernelSigaction* old);
long install_handler(int signal, SignalHandler handler, unsigned long flags, uint64_t mask);

bool in_signal_text(unsigned long pc);

inline unsigned long program_counter(const void* context) {
    return static_cast<unsigned long>(
        static_cast<const ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
}
inline unsigned long stack_pointer(const void* context) {
    return static_cast<unsigned long>(
        static_cast<const ucontext_t*>(context)->uc_mcontext.gregs[REG_RSP]);
}
// Whether a handler interrupted libc in the waiting system call `number`, or where it is about to
// make it (again); then its first argument.
bool is_at_libc_call(const void* context, long number, uintptr_t* first_argument);
// Of such a call: it is not made (again) and answers EINTR; or it is, though the kernel had it
// answer EINTR.
void end_libc_call(void* context);
void resume_libc_call(void* context, long number);

// The mask that sigreturn will install.
inline void set_saved_mask(void* context, uint64_t mask) {
    *reinterpret_cast<uint64_t*>(&static_cast<ucontext_t*>(context)->uc_sigmask) = mask;
}
inline uint64_t saved_mask(const void* context) {
    return *reinterpret_cast<const uint64_t*>(&static_cast<const ucontext_t*>(context)->uc_sigmask);
}

// What the kernel pushes for a handler, at most: the machine's registers.
size_t signal_frame_size();

// The registers of interrupted code, to tell from two looks whether it does anything but wait.
struct RegisterSample {
    long long general[17];  // in the order of gregset_t, up to the program counter
    uint32_t vectors[64];   // xmm0 to xmm15
};
// False: the frame has no vector registers.
bool sample_registers(RegisterSample* sample, const void* context);
// Both within one loop of a few instructions.
bool within_small_loop(unsigned long pc, unsigned long other);
// In one small loop and frame, and next to no register differs: it counts, reads and compares.
bool stands_still(const RegisterSample& before, const RegisterSample& now);

// What a handler gets that runs without a frame of the kernel's: no registers, this mask.
class EmptyContext {
  public:
    explicit EmptyContext(uint64_t mask) { set_saved_mask(&context_, mask); }
    void* get() { return &context_; }

  private:
    ucontext_t context_{};
};

// The kernel's frame of a handler that runs elsewhere than on the interrupted stack goes there, and
// `then` runs on it in the handler's place; its return is the handler's.  The interrupted stack has
// room for signal_frame_size() and the red zone.
using RelocatedHandler = void (*)(int argument, siginfo_t* info, void* context);
[[noreturn]] void continue_on_interrupted_stack(siginfo_t* info, void* context,
                                                RelocatedHandler then, int argument);

// What the kernel has for the calling thread; *low 0: none.
void read_alternate_stack(uintptr_t* low, size_t* size, int* flags);
void install_alternate_stack(uintptr_t low, size_t size, int flags);

// A blocking system call that a kick ends: returns -EINTR without (or instead of) calling when
// *attention & mask is not zero up to the very instruction.  `arguments` are six.
extern "C" long pfiber_blocking_syscall(const void* attention, uint32_t mask, long number,
                                        const long* arguments);
bool in_blocking_syscall(const void* context);  // it interrupted that stub
// In a handler: when it interrupted the stub before the kernel took the call (or is about to
// restart it), makes the stub return -EINTR.
void interrupt_blocking_syscall(void* context);

// Installs *mask in the kernel and makes a system call of at most five arguments, which inherits it
// (execve); -EINTR instead of the call when a handler of ours ran in between, which may have left
// another mask.  That one's first act is interrupt_execute().
extern "C" long pfiber_execute(const uint64_t* mask, long number, const long* arguments);
void interrupt_execute(void* context);

}  // namespace pfiber::host
