// Loaded beside libpfiber.so by tests: installs the filter of fail.cc in the program's only thread,
// and hides what the machine has.
//   FAIL_RULES, FAIL_SOCKET  from fail.cc; taken out of the environment again
//   FAIL_NO_FSGSBASE         getauxval answers for a processor, or a kernel, without FSGSBASE
//   FAIL_LAYOUT              libc's published offset of the thread id is a wrong one
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstddef>

#include "tests/support/fail_rule.h"
#include "tests/support/send_descriptor.h"

namespace {

using pfiber::fail::Condition;
using pfiber::fail::Rule;

struct Text {
    uint64_t low = 0, high = 0;  // of libpfiber.so; empty where it is not loaded
};

constexpr int kMostInstructions = 1024;
sock_filter program[kMostInstructions];
unsigned short length;

[[noreturn]] void refuse(const char* what) {
    fprintf(stderr, "fail: %s: %s\n", what, strerror(errno));
    _exit(125);
}

void emit(uint16_t code, uint32_t k, uint8_t if_true = 0, uint8_t if_false = 0) {
    if (length == kMostInstructions) refuse("too many rules");
    program[length++] = {code, if_true, if_false, k};
}
void load(size_t offset) { emit(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset)); }

// Jumps over the rest of the rule are filled in when its end is known: `kNext` marks them.
constexpr uint8_t kNext = 255;
void need(uint16_t comparison, uint32_t value) {
    emit(static_cast<uint16_t>(BPF_JMP | comparison | BPF_K), value, 0, kNext);
}
void need_not(uint16_t comparison, uint32_t value) {
    emit(static_cast<uint16_t>(BPF_JMP | comparison | BPF_K), value, kNext, 0);
}

void emit_condition(const Condition& condition) {
    const size_t low = offsetof(seccomp_data, args) + 8 * static_cast<size_t>(condition.argument);
    if (condition.comparison == '>') {
        load(low + 4);
        emit(BPF_JMP | BPF_JGT | BPF_K, 0, 2, 0);  // over the look at the low half
        load(low);
        need(BPF_JGT, condition.value);
        return;
    }
    if (condition.comparison == '<') {
        load(low + 4);
        need(BPF_JEQ, 0);
        load(low);
        need_not(BPF_JGE, condition.value);
        return;
    }
    load(low);
    need(condition.comparison == '&' ? BPF_JSET : BPF_JEQ, condition.value);
}

void emit_rule(const Rule& rule, const Text& text) {
    const unsigned short begin = length;
    load(offsetof(seccomp_data, nr));
    need(BPF_JEQ, static_cast<uint32_t>(rule.number));
    if (!rule.is_anywhere) {
        load(offsetof(seccomp_data, instruction_pointer) + 4);
        need(BPF_JEQ, static_cast<uint32_t>(text.low >> 32));
        load(offsetof(seccomp_data, instruction_pointer));
        need(BPF_JGE, static_cast<uint32_t>(text.low));
        if (static_cast<uint32_t>(text.high) != 0)
            need_not(BPF_JGE, static_cast<uint32_t>(text.high));
    }
    for (int i = 0; i < rule.condition_count; i++) emit_condition(rule.conditions[i]);
    emit(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    for (unsigned short i = begin; i < length; i++) {
        const auto rest = static_cast<uint8_t>(length - i - 1);
        if (BPF_CLASS(program[i].code) != BPF_JMP) continue;
        if (program[i].jt == kNext) program[i].jt = rest;
        if (program[i].jf == kNext) program[i].jf = rest;
    }
}

int find_text(dl_phdr_info* info, size_t, void* out) {
    const char* slash = strrchr(info->dlpi_name, '/');
    if (slash == nullptr || strcmp(slash, "/libpfiber.so") != 0) return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr)& header = info->dlpi_phdr[i];
        if (header.p_type != PT_LOAD || (header.p_flags & PF_X) == 0) continue;
        auto* text = static_cast<Text*>(out);
        text->low = info->dlpi_addr + header.p_vaddr;
        text->high = text->low + header.p_memsz;
    }
    return 1;
}

int install() {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    sock_fprog filter{length, program};
    // Once received, a call waits for its answer in peace: signals do not begin it anew.
    constexpr unsigned kWaitKillable = 1u << 5;
    const long listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                                  SECCOMP_FILTER_FLAG_NEW_LISTENER | kWaitKillable, &filter);
    if (listener < 0) refuse("seccomp");
    return static_cast<int>(listener);
}

__attribute__((constructor)) void at_load() {
    const char* socket = getenv("FAIL_SOCKET");
    char* line = getenv("FAIL_RULES");
    if (socket == nullptr) return;
    const int to = atoi(socket);
    Text text;
    dl_iterate_phdr(find_text, &text);
    Text rest;
    if (text.low >> 32 != text.high >> 32) {
        rest = {text.high >> 32 << 32, text.high};
        text.high = rest.low;
    }
    while (line != nullptr && *line != '\0') {
        char* end = strchr(line, '\n');
        *end = '\0';
        Rule rule;
        if (!pfiber::fail::parse_rule(line, &rule)) refuse(line);
        if (rule.is_anywhere || text.low != 0) emit_rule(rule, text);
        // 64-bit numbers in two halves: a range that crosses 4 GiB is two.
        if (!rule.is_anywhere && rest.low != 0) emit_rule(rule, rest);
        line = end + 1;
    }
    unsetenv("FAIL_SOCKET");
    unsetenv("FAIL_RULES");
    if (length > 0) {
        emit(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
        const int listener = install();
        if (!send_descriptor(to, listener, 0)) refuse("sendmsg");
        close(listener);
    }
    close(to);
}

}  // namespace

extern "C" unsigned long getauxval(unsigned long type) noexcept {
    static unsigned long (*next)(unsigned long);
    if (next == nullptr)
        next = reinterpret_cast<unsigned long (*)(unsigned long)>(dlsym(RTLD_NEXT, "getauxval"));
    const unsigned long value = next(type);
    constexpr unsigned long kFsgsbase = 2;
    return type == AT_HWCAP2 && getenv("FAIL_NO_FSGSBASE") != nullptr ? value & ~kFsgsbase : value;
}
