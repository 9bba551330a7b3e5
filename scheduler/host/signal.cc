// See signal.h.
#include "scheduler/host/signal.h"

#include <errno.h>
#include <string.h>
#include <sys/auxv.h>

#include "scheduler/host/libc.h"
#include "scheduler/host/touch.h"

extern "C" {
void pfiber_restore_rt();
extern const char __start_pfiber_signal_text[] __attribute__((visibility("hidden")));
extern const char __stop_pfiber_signal_text[] __attribute__((visibility("hidden")));
extern const char pfiber_blocking_begin[] __attribute__((visibility("hidden")));
extern const char pfiber_blocking_end[] __attribute__((visibility("hidden")));
extern const char pfiber_blocking_interrupted[] __attribute__((visibility("hidden")));
extern const char pfiber_touch_failed[] __attribute__((visibility("hidden")));
}

namespace pfiber::host {

long raw_sigaction(int signal, const KernelSigaction* action, KernelSigaction* old) {
    return raw_syscall(SYS_rt_sigaction, signal, action, old, 8);
}

long install_handler(int signal, SignalHandler handler, unsigned long flags, uint64_t mask) {
    const KernelSigaction action{reinterpret_cast<void*>(handler), flags | SA_SIGINFO | kSaRestorer,
                                 pfiber_restore_rt, mask};
    return raw_sigaction(signal, &action, nullptr);
}

bool in_signal_text(unsigned long pc) {
    return pc >= reinterpret_cast<unsigned long>(__start_pfiber_signal_text) &&
           pc < reinterpret_cast<unsigned long>(__stop_pfiber_signal_text);
}

namespace {

bool is_system_call(unsigned long pc) {
    static const unsigned char code[] = {0x0f, 0x05};
    return memcmp(reinterpret_cast<const void*>(pc), code, sizeof code) == 0;
}

}  // namespace

bool is_at_libc_call(const void* context, long number, uintptr_t* first_argument) {
    const auto& registers = static_cast<const ucontext_t*>(context)->uc_mcontext.gregs;
    const unsigned long pc = program_counter(context);
    *first_argument = static_cast<uintptr_t>(registers[REG_RDI]);
    if (!is_in_libc_or_loader(pc)) return false;
    return (registers[REG_RAX] == number && is_system_call(pc)) ||
           (registers[REG_RAX] == -EINTR && is_system_call(pc - 2));
}

size_t signal_frame_size() {
    constexpr unsigned long kMinimumSignalStack = 51;  // AT_MINSIGSTKSZ
    const unsigned long told = getauxval(kMinimumSignalStack);
    constexpr size_t kUnknown = 4096;  // before Linux 5.14
    return told != 0 ? told : kUnknown;
}

void install_alternate_stack(uintptr_t low, size_t size, int flags) {
    stack_t stack{};
    stack.ss_sp = reinterpret_cast<void*>(low);
    stack.ss_size = size;
    stack.ss_flags = low == 0 ? SS_DISABLE : flags;
    raw_syscall(SYS_sigaltstack, &stack, nullptr);
}

bool in_blocking_syscall(const void* context) {
    const unsigned long pc = program_counter(context);
    return pc >= reinterpret_cast<unsigned long>(pfiber_blocking_begin) &&
           pc < reinterpret_cast<unsigned long>(pfiber_blocking_end);
}

void interrupt_blocking_syscall(void* context) {
    if (!in_blocking_syscall(context)) return;
    static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP] =
        static_cast<greg_t>(reinterpret_cast<unsigned long>(pfiber_blocking_interrupted));
}

bool recover_touch(void* context) {
    const unsigned long pc = program_counter(context);
    if (pc != reinterpret_cast<unsigned long>(pfiber_touch_read) &&
        pc != reinterpret_cast<unsigned long>(pfiber_touch_write))
        return false;
    static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP] =
        static_cast<greg_t>(reinterpret_cast<unsigned long>(pfiber_touch_failed));
    return true;
}

static_assert(REG_RIP == REG_RSP + 1 && sizeof(RegisterSample::general) / 8 == REG_RIP + 1);

bool sample_registers(RegisterSample* sample, const void* context) {
    const auto& machine = static_cast<const ucontext_t*>(context)->uc_mcontext;
    if (machine.fpregs == nullptr) return false;
    memcpy(sample->general, machine.gregs, sizeof sample->general);
    memcpy(sample->vectors, machine.fpregs->_xmm, sizeof sample->vectors);
    return true;
}

bool within_small_loop(unsigned long pc, unsigned long other) {
    constexpr unsigned long kLoopBytes = 128;
    return pc - other + kLoopBytes <= 2 * kLoopBytes;
}

bool stands_still(const RegisterSample& before, const RegisterSample& now) {
    constexpr int kLoopRegisters = 3;  // a counter, the value read, a scratch
    if (!within_small_loop(static_cast<unsigned long>(now.general[REG_RIP]),
                           static_cast<unsigned long>(before.general[REG_RIP])) ||
        now.general[REG_RSP] != before.general[REG_RSP])
        return false;
    int changed = 0;
    for (int i = 0; i < REG_RSP; i++) changed += now.general[i] != before.general[i];
    return changed <= kLoopRegisters &&
           memcmp(before.vectors, now.vectors, sizeof now.vectors) == 0;
}

}  // namespace pfiber::host
