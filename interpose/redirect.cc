// Redirecting libc's own entry points.
//
// stdio, the resolver, syslog and libc's locks call each other inside libc without the PLT, so an
// exported name never sees them; legacy servers do fgets on a socket.  The first bytes of each row
// marked R become a jump to an island near libc, which jumps to the row's body.  The body issues
// the system call itself and never calls the function that was overwritten. One aligned 8-byte
// store per function: a thread that runs through it sees the old or the new code. Where mprotect
// refuses, nothing is redirected and the monitor's missed-call detection serves.
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <new>

#include "interpose/hooks.h"
#include "interpose/start.h"
#include "scheduler/host/libc.h"
#include "scheduler/host/report.h"
#include "scheduler/host/syscall.h"

extern "C" {
#define PRIVATE_HOOK(symbol, class, redirect, note) void pf_##symbol();
#include "interpose/hooks.def"
}

namespace pfiber::interpose {

namespace {

constexpr bool R = true;
constexpr bool N = false;

struct Target {
    const char* name;
    void* body;
    bool is_redirected;
};

const Target targets[] = {
#define HOOK(symbol, class, redirect, note) \
    {#symbol, reinterpret_cast<void*>(pf_##symbol), redirect},
#define PRIVATE_HOOK(symbol, class, redirect, note) \
    {#symbol, reinterpret_cast<void*>(pf_##symbol), redirect},
#define ALIAS(symbol, target, redirect, note) \
    {#symbol, reinterpret_cast<void*>(pf_##target), redirect},
#include "interpose/hooks.def"
};

constexpr uintptr_t kReach = 1ul << 30;  // well within a 32-bit displacement
constexpr size_t kPage = 4096;

struct __attribute__((packed)) Island {
    uint8_t jump[6] = {0xff, 0x25, 0x02, 0x00, 0x00, 0x00};  // jmp *2(%rip)
    uint8_t pad[2] = {0xcc, 0xcc};
    void* body = nullptr;
};
static_assert(sizeof(Island) == 16);

// Memory for the islands within reach of libc's text.
Island* map_islands(uintptr_t near, size_t bytes) {
    for (uintptr_t distance = 1ul << 24; distance < kReach; distance += 1ul << 24) {
        const uintptr_t places[] = {near - distance, near + distance};
        for (const uintptr_t at : places) {
            const long got = host::raw_mmap(
                reinterpret_cast<void*>(at & ~(kPage - 1)), bytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
            if (!host::is_error(got)) return reinterpret_cast<Island*>(got);
        }
    }
    return nullptr;
}

bool starts_with_endbr64(const uint8_t* code) {
    static const uint8_t endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};
    return memcmp(code, endbr64, sizeof endbr64) == 0;
}

// Overwrites the first 5 bytes (after an endbr64).  The rest of the 8 stays as it was.
void write_jump(uint8_t* code, const Island* island) {
    if (starts_with_endbr64(code)) code += 4;
    const auto displacement = static_cast<int32_t>(reinterpret_cast<intptr_t>(island) -
                                                   reinterpret_cast<intptr_t>(code + 5));
    uint8_t bytes[8];
    memcpy(bytes, code, sizeof bytes);
    bytes[0] = 0xe9;
    memcpy(bytes + 1, &displacement, sizeof displacement);
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    __atomic_store_n(reinterpret_cast<uint64_t*>(code), word, __ATOMIC_SEQ_CST);
}

int redirected = 0;  // entry points

bool is_redirectable(const char* name, uint8_t** code) {
    const host::LibcFunction function = host::libc_function(name);
    if (function.address == nullptr || function.size < 9 ||
        reinterpret_cast<uintptr_t>(function.address) % 16 != 0)
        return false;
    *code = static_cast<uint8_t*>(function.address);
    return true;
}

}  // namespace

bool libc_is_redirected() { return redirected > 0; }

int redirect_libc(long* error) {
    *error = 0;
    if (redirected > 0) return redirected;  // a fork child starts again with redirected text
    constexpr size_t kTargets = sizeof targets / sizeof targets[0];
    static uint8_t* code[kTargets];
    uintptr_t low = ~uintptr_t{0}, high = 0;
    size_t wanted = 0;
    for (size_t i = 0; i < kTargets; i++) {
        if (!targets[i].is_redirected) continue;
#ifdef PFIBER_MUTANTS
        if (is_mutated(targets[i].name)) continue;
#endif
        if (!is_redirectable(targets[i].name, &code[i])) {
            host::info("not redirected: %s", targets[i].name);
            continue;
        }
        const auto at = reinterpret_cast<uintptr_t>(code[i]);
        if (at < low) low = at;
        if (at + 16 > high) high = at + 16;
        wanted++;
    }
    if (wanted == 0) return 0;
    const size_t bytes = (wanted * sizeof(Island) + kPage - 1) & ~(kPage - 1);
    Island* islands = map_islands(low, bytes);
    if (islands == nullptr) return *error = ENOMEM, 0;
    low &= ~(kPage - 1);
    high = (high + kPage - 1) & ~(kPage - 1);
    const long rc = host::raw_mprotect(reinterpret_cast<void*>(low), high - low,
                                       PROT_READ | PROT_WRITE | PROT_EXEC);
    if (rc != 0) {
        host::raw_munmap(islands, bytes);
        *error = -rc;
        return 0;
    }
    size_t used = 0;
    for (size_t i = 0; i < kTargets; i++) {
        if (code[i] == nullptr) continue;
        Island* island = new (&islands[used++]) Island;
        island->body = targets[i].body;
    }
    // Before the first jump leads there.
    const long executable = host::raw_mprotect(islands, bytes, PROT_READ | PROT_EXEC);
    if (executable != 0) {
        host::raw_mprotect(reinterpret_cast<void*>(low), high - low, PROT_READ | PROT_EXEC);
        host::raw_munmap(islands, bytes);
        *error = -executable;
        return 0;
    }
    used = 0;
    for (size_t i = 0; i < kTargets; i++)
        if (code[i] != nullptr) write_jump(code[i], &islands[used++]);
    host::raw_mprotect(reinterpret_cast<void*>(low), high - low, PROT_READ | PROT_EXEC);
    redirected = static_cast<int>(used);
    return redirected;
}

}  // namespace pfiber::interpose
