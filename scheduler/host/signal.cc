// See signal.h.
#include "scheduler/host/signal.h"

#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/uio.h>

#include "scheduler/host/call_filter.h"
#include "scheduler/host/libc.h"
#include "scheduler/host/touch.h"

extern "C" {
void pfiber_restore_rt();
[[noreturn]] void pfiber_enter_on_frame(uintptr_t frame, pfiber::host::RelocatedHandler then,
                                        int argument, uintptr_t info, void* context);
extern const char __start_pfiber_signal_text[] __attribute__((visibility("hidden")));
extern const char __stop_pfiber_signal_text[] __attribute__((visibility("hidden")));
extern const char pfiber_blocking_begin[] __attribute__((visibility("hidden")));
extern const char pfiber_blocking_end[] __attribute__((visibility("hidden")));
extern const char pfiber_blocking_interrupted[] __attribute__((visibility("hidden")));
extern const char pfiber_execute_begin[] __attribute__((visibility("hidden")));
extern const char pfiber_execute_end[] __attribute__((visibility("hidden")));
extern const char pfiber_execute_interrupted[] __attribute__((visibility("hidden")));
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

namespace {

constexpr greg_t kSystemCallBytes = 2;

}  // namespace

void end_libc_call(void* context) {
    auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
    if (registers[REG_RAX] == -EINTR) return;
    registers[REG_RAX] = -EINTR;
    registers[REG_RIP] += kSystemCallBytes;
}

void resume_libc_call(void* context, long number) {
    auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
    if (registers[REG_RAX] != -EINTR) return;
    registers[REG_RAX] = number;
    registers[REG_RIP] -= kSystemCallBytes;
}

size_t signal_frame_size() {
    constexpr unsigned long kMinimumSignalStack = 51;  // AT_MINSIGSTKSZ
    const unsigned long told = getauxval(kMinimumSignalStack);
    constexpr size_t kUnknown = 4096;  // before Linux 5.14
    return told != 0 ? told : kUnknown;
}

// struct rt_sigframe: the restorer's address, the context, siginfo, and, up to the next 64 bytes,
// the extended state, whose size its software-reserved words tell (asm/sigcontext.h).
PFIBER_SIGNAL_TEXT void continue_on_interrupted_stack(siginfo_t* info, void* context,
                                                      RelocatedHandler then, int argument) {
    constexpr size_t kRedZone = 128, kSoftwareWords = 464, kLegacyState = 512;
    constexpr uint32_t kMagic = 0x46505853;
    char* const begin = static_cast<char*>(context) - sizeof(void*);
    auto& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
    char* end = reinterpret_cast<char*>(info + 1);
    if (machine.fpregs != nullptr) {
        const char* state = reinterpret_cast<const char*>(machine.fpregs);
        uint32_t words[2];
        memcpy(words, state + kSoftwareWords, sizeof words);
        end = const_cast<char*>(state) + (words[0] == kMagic ? words[1] : kLegacyState);
    }
    const size_t size = static_cast<size_t>(end - begin);
    uintptr_t low = static_cast<uintptr_t>(stack_pointer(context)) - kRedZone - size;
    low -= (low - reinterpret_cast<uintptr_t>(begin)) & 63;  // the state's alignment is kept
    const uintptr_t moved_by = low - reinterpret_cast<uintptr_t>(begin);
    memcpy(reinterpret_cast<void*>(low), begin, size);
    auto* moved = reinterpret_cast<ucontext_t*>(low + sizeof(void*));
    if (machine.fpregs != nullptr)
        moved->uc_mcontext.fpregs =
            reinterpret_cast<fpregset_t>(reinterpret_cast<uintptr_t>(machine.fpregs) + moved_by);
    pfiber_enter_on_frame(low, then, argument, reinterpret_cast<uintptr_t>(info) + moved_by, moved);
}

void read_alternate_stack(uintptr_t* low, size_t* size, int* flags) {
    stack_t stack{};
    raw_syscall(SYS_sigaltstack, nullptr, &stack);
    const bool is_off = (stack.ss_flags & SS_DISABLE) != 0;
    *low = is_off ? 0 : reinterpret_cast<uintptr_t>(stack.ss_sp);
    *size = is_off ? 0 : stack.ss_size;
    *flags = is_off ? 0 : stack.ss_flags & ~SS_ONSTACK;
}

void install_alternate_stack(uintptr_t low, size_t size, int flags) {
    stack_t stack{};
    stack.ss_sp = reinterpret_cast<void*>(low);
    stack.ss_size = size;
    stack.ss_flags = low == 0 ? SS_DISABLE : flags;
    raw_syscall(SYS_sigaltstack, &stack, nullptr);
}

void interrupt_execute(void* context) {
    const unsigned long pc = program_counter(context);
    if (pc < reinterpret_cast<unsigned long>(pfiber_execute_begin) ||
        pc >= reinterpret_cast<unsigned long>(pfiber_execute_end))
        return;
    static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP] =
        static_cast<greg_t>(reinterpret_cast<unsigned long>(pfiber_execute_interrupted));
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

namespace {

// A byte copied within this process.  A filter that refuses the call says nothing about the byte.
bool can_copy(const void* from, void* to) {
    const iovec local{to, 1}, remote{const_cast<void*>(from), 1};
    return optional_syscall(kProcessVmReadv, SYS_process_vm_readv, raw_getpid(), &local, 1, &remote,
                            1, 0) != -EFAULT;
}

}  // namespace

bool kernel_can_read(const void* address) {
    char byte;
    return can_copy(address, &byte);
}

// Its own value: nobody else runs yet.
bool kernel_can_write(void* address) { return can_copy(address, address); }

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
