// Unwinding through frames of this object belongs to the unwinder that the program uses.
//
// libgcc is linked in statically, and a second copy cannot work on another copy's context (its
// tables are not set up; newer layouts may differ).  So the two symbols through which our frames
// take part, the personality routine and _Unwind_Resume, forward to the libgcc_s that is unwinding,
// as libc's own frames do.  The C personality runs clean-ups and knows no catch: this object
// catches nothing.
#include <dlfcn.h>
#include <unwind.h>

#include "scheduler/host/report.h"

namespace {

using Personality = _Unwind_Reason_Code (*)(int, _Unwind_Action, _Unwind_Exception_Class,
                                            _Unwind_Exception*, _Unwind_Context*);
using Resume = void (*)(_Unwind_Exception*);

// Never unloaded once it is there; both threads that look it up at once find the same.
void* unwinder_symbol(const char* name) {
    static void* handle = nullptr;
    if (handle == nullptr) handle = dlopen("libgcc_s.so.1", RTLD_NOW);
    return handle == nullptr ? nullptr : dlsym(handle, name);
}

Personality personality = nullptr;
Resume resume = nullptr;

}  // namespace

extern "C" _Unwind_Reason_Code __gxx_personality_v0(int version, _Unwind_Action actions,
                                                    _Unwind_Exception_Class exception_class,
                                                    _Unwind_Exception* exception,
                                                    _Unwind_Context* context) {
    if (personality == nullptr)
        personality = reinterpret_cast<Personality>(unwinder_symbol("__gcc_personality_v0"));
    if (personality == nullptr) return _URC_CONTINUE_UNWIND;
    return personality(version, actions, exception_class, exception, context);
}

extern "C" void _Unwind_Resume(_Unwind_Exception* exception) {
    if (resume == nullptr) resume = reinterpret_cast<Resume>(unwinder_symbol("_Unwind_Resume"));
    if (resume != nullptr) resume(exception);
    pfiber::host::fatal("libgcc_s is needed to go on unwinding");
}
