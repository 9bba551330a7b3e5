// See backtrace.h.
//
// The names are looked up one by one: libunwind also exports 36 of libgcc's _Unwind_* names, which
// break C++ exceptions when they come first, so it is neither linked nor global.
#include "scheduler/host/backtrace.h"

#include <dlfcn.h>
#include <libunwind.h>
#include <string.h>
#include <ucontext.h>

namespace pfiber::host {

namespace {

constexpr char kLibrary[] = "libunwind-x86_64.so.8";

struct Unwinder {
    void* library;
    unw_addr_space_t (*create_addr_space)(unw_accessors_t*, int);
    int (*set_caching_policy)(unw_addr_space_t, unw_caching_policy_t);
    int (*init_remote)(unw_cursor_t*, unw_addr_space_t, void*);
    int (*step)(unw_cursor_t*);
    int (*get_reg)(unw_cursor_t*, int, unw_word_t*);
    // Exported for unwinders of copies, though no header declares it.
    int (*search_table)(unw_addr_space_t, unw_word_t, unw_dyn_info_t*, unw_proc_info_t*, int,
                        void*);
    unw_addr_space_t space;
};
Unwinder unwinder;

struct Target {
    const SavedRegisters* registers;
    const BacktraceView* view;
};

// .eh_frame_hdr as every linker writes it; its table of pairs of 32-bit offsets follows.
struct TableHeader {
    uint8_t version, frame_encoding, count_encoding, table_encoding;
    int32_t frame;
    uint32_t count;
};
constexpr uint8_t kUnsigned4 = 0x03, kHeaderRelativeSigned4 = 0x3b;

bool read_memory(void* argument, uint64_t address, void* bytes, size_t size) {
    const BacktraceView& view = *static_cast<Target*>(argument)->view;
    return view.read(view.client, address, bytes, size);
}

int find_proc_info(unw_addr_space_t space, unw_word_t ip, unw_proc_info_t* info, int need_info,
                   void* argument) {
    const BacktraceView& view = *static_cast<Target*>(argument)->view;
    UnwindTable table;
    TableHeader header;
    if (!view.find_table(view.client, ip, &table) ||
        !read_memory(argument, table.header, &header, sizeof header) || header.version != 1 ||
        header.count_encoding != kUnsigned4 || header.table_encoding != kHeaderRelativeSigned4)
        return -UNW_ENOINFO;
    unw_dyn_info_t found;
    memset(&found, 0, sizeof found);
    found.start_ip = table.low;
    found.end_ip = table.high;
    found.format = UNW_INFO_FORMAT_REMOTE_TABLE;
    found.u.rti.segbase = table.header;
    found.u.rti.table_data = table.header + sizeof header;
    found.u.rti.table_len = header.count * uint64_t{8} / sizeof(unw_word_t);
    return unwinder.search_table(space, ip, &found, info, need_info, argument);
}

void put_unwind_info(unw_addr_space_t, unw_proc_info_t*, void*) {}
int no_dynamic_list(unw_addr_space_t, unw_word_t*, void*) { return -UNW_ENOINFO; }

int access_memory(unw_addr_space_t, unw_word_t address, unw_word_t* value, int is_write,
                  void* argument) {
    if (is_write != 0 || !read_memory(argument, address, value, sizeof *value)) return -UNW_EINVAL;
    return 0;
}

int access_register(unw_addr_space_t, unw_regnum_t number, unw_word_t* value, int is_write,
                    void* argument) {
    if (is_write != 0) return -UNW_EREADONLYREG;
    const SavedRegisters& registers = *static_cast<Target*>(argument)->registers;
    switch (number) {
        case UNW_X86_64_RIP:
            *value = registers.ip;
            return 0;
        case UNW_X86_64_RSP:
            *value = registers.sp;
            return 0;
        case UNW_X86_64_RBX:
            *value = registers.bx;
            return 0;
        case UNW_X86_64_RBP:
            *value = registers.bp;
            return 0;
        case UNW_X86_64_R12:
            *value = registers.r12;
            return 0;
        case UNW_X86_64_R13:
            *value = registers.r13;
            return 0;
        case UNW_X86_64_R14:
            *value = registers.r14;
            return 0;
        case UNW_X86_64_R15:
            *value = registers.r15;
            return 0;
        default:
            return -UNW_EBADREG;
    }
}

int access_float(unw_addr_space_t, unw_regnum_t, unw_fpreg_t*, int, void*) { return -UNW_EBADREG; }
int no_resume(unw_addr_space_t, unw_cursor_t*, void*) { return -UNW_EINVAL; }
int no_name(unw_addr_space_t, unw_word_t, char*, size_t, unw_word_t*, void*) {
    return -UNW_ENOINFO;
}

unw_accessors_t accessors;

// The library for copies does not know Linux's signal frames, and restorers need not have tables: a
// handler returns to `mov $SYS_rt_sigreturn, %rax; syscall`, with the ucontext_t on top of the
// stack.
bool is_restorer(Target* target, uint64_t ip) {
    constexpr unsigned char kRestorer[] = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05};
    unsigned char code[sizeof kRestorer];
    return read_memory(target, ip, code, sizeof code) && memcmp(code, kRestorer, sizeof code) == 0;
}
bool interrupted_registers(Target* target, uint64_t sp, SavedRegisters* registers) {
    gregset_t saved;
    const uint64_t at = sp + offsetof(ucontext_t, uc_mcontext) + offsetof(mcontext_t, gregs);
    if (!read_memory(target, at, &saved, sizeof saved)) return false;
    const auto value = [&saved](int i) { return static_cast<uint64_t>(saved[i]); };
    *registers = {value(REG_RIP), value(REG_RSP), value(REG_RBX), value(REG_RBP),
                  value(REG_R12), value(REG_R13), value(REG_R14), value(REG_R15)};
    return true;
}

template <class F>
bool look_up(F& function, const char* name) {
    function = reinterpret_cast<F>(dlsym(unwinder.library, name));
    return function != nullptr;
}

}  // namespace

#define PFIBER_TEXT_OF(name) #name
#define PFIBER_TEXT(name) PFIBER_TEXT_OF(name)
#define PFIBER_UNWIND_NAME(name) PFIBER_TEXT(UNW_OBJ(name))

bool backtrace_open(const char** why) {
    if (unwinder.space != nullptr) return true;
    unwinder.library = dlopen(kLibrary, RTLD_LAZY | RTLD_LOCAL);
    *why = unwinder.library != nullptr ? "it lacks a function" : dlerror();
    if (*why == nullptr) *why = kLibrary;
    if (unwinder.library == nullptr ||
        !look_up(unwinder.create_addr_space, PFIBER_UNWIND_NAME(create_addr_space)) ||
        !look_up(unwinder.set_caching_policy, PFIBER_UNWIND_NAME(set_caching_policy)) ||
        !look_up(unwinder.init_remote, PFIBER_UNWIND_NAME(init_remote)) ||
        !look_up(unwinder.step, PFIBER_UNWIND_NAME(step)) ||
        !look_up(unwinder.get_reg, PFIBER_UNWIND_NAME(get_reg)) ||
        !look_up(unwinder.search_table, PFIBER_UNWIND_NAME(dwarf_search_unwind_table)))
        return false;
    accessors.find_proc_info = find_proc_info;
    accessors.put_unwind_info = put_unwind_info;
    accessors.get_dyn_info_list_addr = no_dynamic_list;
    accessors.access_mem = access_memory;
    accessors.access_reg = access_register;
    accessors.access_fpreg = access_float;
    accessors.resume = no_resume;
    accessors.get_proc_name = no_name;
    unwinder.space = unwinder.create_addr_space(&accessors, 0);
    *why = "it makes no address space";
    if (unwinder.space == nullptr) return false;
    unwinder.set_caching_policy(unwinder.space, UNW_CACHE_GLOBAL);
    return true;
}

int backtrace(const SavedRegisters& registers, const BacktraceView& view, Frame* frames, int most) {
    SavedRegisters now = registers;
    Target target{&now, &view};
    unw_cursor_t cursor;
    if (unwinder.init_remote(&cursor, unwinder.space, &target) != 0) return 0;
    int count = 0;
    bool is_call = true;  // a saved fiber has called jump()
    while (count < most) {
        unw_word_t ip = 0, sp = 0;
        if (unwinder.get_reg(&cursor, UNW_REG_IP, &ip) != 0 || ip == 0) break;
        const bool is_handler_end = is_restorer(&target, ip);
        frames[count++] = {ip, is_call && !is_handler_end};
        is_call = !is_handler_end;  // what was interrupted is about to run its instruction
        if (!is_handler_end) {
            if (unwinder.step(&cursor) <= 0) break;
        } else if (unwinder.get_reg(&cursor, UNW_REG_SP, &sp) != 0 ||
                   !interrupted_registers(&target, sp, &now) ||
                   unwinder.init_remote(&cursor, unwinder.space, &target) != 0) {
            break;
        }
    }
    return count;
}

}  // namespace pfiber::host
