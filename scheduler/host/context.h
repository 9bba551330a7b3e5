// Leaving one stack and going on on another: the only user of Boost.Context.
//
// A Context is the saved stack pointer of something that does not run.  jump() saves the caller,
// loads the callee-saved registers, MXCSR and the x87 control word of the target and returns there.
// %fs is not part of it: the caller sets the thread pointer of the target first (identity.h).
// Runtime only, with the in-runtime depth above zero.
#pragma once

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>
#include <cstdint>

#include "scheduler/host/syscall.h"

namespace pfiber::host {

using Context = boost::context::detail::fcontext_t;
using Transfer = boost::context::detail::transfer_t;  // .fctx: who jumped here; .data: its argument
using ContextEntry = void (*)(Transfer);

inline Context make_context(void* stack_top, size_t size, ContextEntry entry) {
    return boost::context::detail::make_fcontext(stack_top, size, entry);
}

inline Transfer jump(Context target, void* argument) {
    return boost::context::detail::jump_fcontext(target, argument);
}

// What the code after a jump() needs to be looked at from outside.
struct SavedRegisters {
    uint64_t ip, sp, bx, bp, r12, r13, r14, r15;
};
constexpr size_t kSavedBytes = 64;  // at a Context
// From a copy of the bytes at `context`: Boost's frame on System V x86-64, return address last.
inline SavedRegisters saved_registers(Context context, const uint64_t (&bytes)[kSavedBytes / 8]) {
    return {bytes[7], reinterpret_cast<uint64_t>(context) + kSavedBytes,
            bytes[5], bytes[6],
            bytes[1], bytes[2],
            bytes[3], bytes[4]};
}

extern bool has_fsgsbase;  // set by detect_fsgsbase(): AT_HWCAP2 bit 1
bool detect_fsgsbase();    // false: nothing sets a thread pointer here

inline void set_thread_pointer(uintptr_t tp) {
    if (__builtin_expect(has_fsgsbase, 1)) {
        __asm__ volatile("wrfsbase %0" : : "r"(tp) : "memory");
    } else {
        constexpr long kSetFs = 0x1002;  // ARCH_SET_FS
        raw_syscall(SYS_arch_prctl, kSetFs, static_cast<long>(tp));
    }
}

}  // namespace pfiber::host
