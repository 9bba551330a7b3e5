// See call_filter.h.  The interpreter knows the instructions that seccomp admits (Linux
// Documentation/userspace-api/seccomp_filter.rst; classic BPF, bpf(4) of the BSDs).
#include "scheduler/host/call_filter.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <cstring>
#include <initializer_list>

#include "scheduler/host/touch.h"

namespace pfiber::host {

namespace {

struct Machine {
    uint32_t a = 0, x = 0;
    uint32_t memory[BPF_MEMWORDS] = {};
};

uint32_t calculate(uint16_t operation, uint32_t a, uint32_t operand) {
    switch (operation) {
        case BPF_ADD:
            return a + operand;
        case BPF_SUB:
            return a - operand;
        case BPF_MUL:
            return a * operand;
        case BPF_DIV:
            return operand == 0 ? 0 : a / operand;
        case BPF_OR:
            return a | operand;
        case BPF_AND:
            return a & operand;
        case BPF_XOR:
            return a ^ operand;
        case BPF_LSH:
            return operand > 31 ? 0 : a << operand;
        case BPF_RSH:
            return operand > 31 ? 0 : a >> operand;
        default:  // BPF_NEG
            return 0 - a;
    }
}

bool jumps(uint16_t operation, uint32_t a, uint32_t operand) {
    switch (operation) {
        case BPF_JEQ:
            return a == operand;
        case BPF_JGT:
            return a > operand;
        case BPF_JGE:
            return a >= operand;
        default:  // BPF_JSET
            return (a & operand) != 0;
    }
}

uint32_t loaded(const sock_filter& step, const Machine& machine, const seccomp_data& call) {
    uint32_t word = 0;
    switch (BPF_MODE(step.code)) {
        case BPF_ABS:
            if (step.k <= sizeof call - sizeof word)
                memcpy(&word, reinterpret_cast<const char*>(&call) + step.k, sizeof word);
            return word;
        case BPF_IMM:
            return step.k;
        case BPF_MEM:
            return step.k < BPF_MEMWORDS ? machine.memory[step.k] : 0;
        default:  // BPF_LEN
            return sizeof call;
    }
}

// What the filter answers; of a program that the kernel will refuse, anything.
uint32_t answer_of(const sock_fprog& program, const seccomp_data& call) {
    Machine machine;
    for (unsigned at = 0; at < program.len; at++) {
        const sock_filter& step = program.filter[at];
        const uint32_t operand = BPF_SRC(step.code) == BPF_X ? machine.x : step.k;
        switch (BPF_CLASS(step.code)) {
            case BPF_LD:
                machine.a = loaded(step, machine, call);
                break;
            case BPF_LDX:
                machine.x = loaded(step, machine, call);
                break;
            case BPF_ST:
            case BPF_STX:
                if (step.k < BPF_MEMWORDS)
                    machine.memory[step.k] = BPF_CLASS(step.code) == BPF_ST ? machine.a : machine.x;
                break;
            case BPF_ALU:
                machine.a = calculate(BPF_OP(step.code), machine.a, operand);
                break;
            case BPF_JMP:
                if (BPF_OP(step.code) == BPF_JA)
                    at += step.k;
                else
                    at += jumps(BPF_OP(step.code), machine.a, operand) ? step.jt : step.jf;
                break;
            case BPF_RET:
                return BPF_RVAL(step.code) == BPF_A ? machine.a : step.k;
            default:  // BPF_MISC
                if (BPF_MISCOP(step.code) == BPF_TAX)
                    machine.x = machine.a;
                else
                    machine.a = machine.x;
        }
    }
    return SECCOMP_RET_ALLOW;
}

// The call as we make it: an argument is looked at by its value only.
template <class... A>
bool survives(const sock_fprog& program, long number, A... arguments) {
    seccomp_data call{};
    call.nr = static_cast<int>(number);
    call.arch = AUDIT_ARCH_X86_64;
    call.instruction_pointer = reinterpret_cast<uintptr_t>(&note_call_filter);
    int count = 0;
    for (const long argument : {syscall_argument(arguments)...})
        call.args[count++] = static_cast<uint64_t>(argument);
    const uint32_t action = answer_of(program, call) & SECCOMP_RET_ACTION_FULL;
    return action != SECCOMP_RET_KILL_PROCESS && action != SECCOMP_RET_KILL_THREAD &&
           action != SECCOMP_RET_TRAP;
}

}  // namespace

void note_call_filter(const sock_fprog* program) {
    if (!can_read(program) || !can_read(program->filter, program->len * sizeof(sock_filter)))
        return;
    constexpr int kSomeFd = 5;
    char some_memory[64];
    uint32_t refused = 0;
    const auto check = [&](OptionalCall call, long number, auto... arguments) {
        if (!survives(*program, number, arguments...)) refused |= call;
    };
    check(kReadNoWait, SYS_preadv2, kSomeFd, some_memory, 1L, -1L, -1L, RWF_NOWAIT);
    check(kWriteNoWait, SYS_pwritev2, kSomeFd, some_memory, 1L, -1L, -1L, RWF_NOWAIT);
    for (const int option :
         {SO_TYPE, SO_DOMAIN, SO_RCVTIMEO, SO_SNDTIMEO, SO_ACCEPTCONN, SO_MEMINFO})
        check(kGetsockopt, SYS_getsockopt, kSomeFd, SOL_SOCKET, option, some_memory, some_memory);
    for (const clockid_t clock : {CLOCK_MONOTONIC, CLOCK_THREAD_CPUTIME_ID})
        check(kTimerCreate, SYS_timer_create, clock, some_memory, some_memory);
    check(kTimerCreate, SYS_timer_settime, 0, 0, some_memory, nullptr);
    check(kSigtimedwait, SYS_rt_sigtimedwait, some_memory, some_memory, some_memory, 8L);
    check(kMembarrier, SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    check(kProcessVmReadv, SYS_process_vm_readv, raw_getpid(), some_memory, 1L, some_memory, 1L, 0);
    check(kOpenat, SYS_openat, AT_FDCWD, some_memory, O_RDONLY | O_CLOEXEC, 0);
    check(kSchedGetaffinity, SYS_sched_getaffinity, 0, sizeof some_memory, some_memory);
    g_filtered_calls.fetch_or(refused);
}

}  // namespace pfiber::host
