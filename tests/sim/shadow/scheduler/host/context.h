// Simulator's stand-in for scheduler/host/context.h: real jumps of Boost.Context between fibers
// inside one simulated kernel thread, checked on the way; %fs is a field of that thread.
#pragma once

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>
#include <cstdint>

namespace pfiber::host {

using Context = boost::context::detail::fcontext_t;
using Transfer = boost::context::detail::transfer_t;
using ContextEntry = void (*)(Transfer);

inline Context make_context(void* stack_top, size_t size, ContextEntry entry) {
    return boost::context::detail::make_fcontext(stack_top, size, entry);
}
Transfer jump(Context target, void* argument);
bool detect_fsgsbase();
void set_thread_pointer(uintptr_t tp);

}  // namespace pfiber::host
