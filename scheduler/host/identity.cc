// See identity.h.
#include "scheduler/host/identity.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <locale.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include <atomic>

#include "scheduler/host/libc.h"
#include "scheduler/host/malloc_cache.h"
#include "scheduler/host/report.h"
#include "scheduler/host/syscall.h"

// Not through <resolv.h>: its macros rename the members of ElfW(Phdr).
extern "C" void* resolver_state() __asm__("__res_state");

namespace pfiber::host {

IdentityLayout identity_layout;

namespace {

constexpr size_t kMaxPthreadSize = 8192;
constexpr size_t kMaxModules = 256;

struct ListNode {
    ListNode* next;
    ListNode* prev;
};

// glibc's DTV (elf ABI for TLS): entry -1 holds its size, entry 0 the generation.
union DtvEntry {
    size_t counter;
    struct {
        void* value;
        void* to_free;
    } pointer;
};
void* const kUnallocated = reinterpret_cast<void*>(-1L);

struct TlsModule {
    size_t id;
    ptrdiff_t offset;  // from the thread pointer, negative
    const void* image;
    size_t image_size;
    size_t total_size;
};

using AllocateTls = void* (*)(void*);

AllocateTls allocate_tls;
void (*ctype_init)();
ListNode* user_stack_list;
size_t record_tls_offset, record_tls_number;  // in the loader's record of a module; 0: not told
unsigned char template_image[kMaxPthreadSize];
size_t libc_module;
TlsModule modules[kMaxModules];
size_t module_count;
unsigned long long modules_adds = 0, modules_subs = 0;  // the loader's counts at the last look
std::atomic_flag modules_lock = ATOMIC_FLAG_INIT;
std::atomic_flag list_lock = ATOMIC_FLAG_INIT;

template <class T>
T& field(uintptr_t tp, size_t offset) {
    return *reinterpret_cast<T*>(tp + offset);
}

const uint32_t* published(const char* name) {
    return static_cast<const uint32_t*>(dlsym(RTLD_DEFAULT, name));
}

// Byte offset of a struct field as libthread_db would read it (third word of the descriptor).
bool published_offset(const char* name, size_t* out) {
    const uint32_t* descriptor = published(name);
    if (descriptor == nullptr) return false;
    *out = descriptor[2];
    return true;
}

struct ProbeResult {
    uintptr_t tp;
    size_t robust_head, resolver;
    uintptr_t stack_low;
    size_t stack_size;
    int kernel_tid;
    uint32_t step;         // 1: its own part is filled in; 2: it may end
    ptrdiff_t libc_block;  // in: libc's own TLS, from the thread pointer on
    size_t libc_words;
};

// Raw: the words of the probe are nobody else's.
void set_step(ProbeResult* probe, uint32_t step) {
    __atomic_store_n(&probe->step, step, __ATOMIC_RELEASE);
    raw_futex_wake(&probe->step, 1);
}
void await_step(ProbeResult* probe, uint32_t step) {
    for (uint32_t now; (now = __atomic_load_n(&probe->step, __ATOMIC_ACQUIRE)) < step;)
        raw_futex_wait(&probe->step, now, nullptr);
}

int find_libc_block(dl_phdr_info* info, size_t, void* found) {
    if (info->dlpi_tls_modid == 0 || info->dlpi_tls_data == nullptr) return 0;
    const auto data = reinterpret_cast<uintptr_t>(info->dlpi_tls_data);
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr)& header = info->dlpi_phdr[i];
        const auto here = reinterpret_cast<uintptr_t>(&errno);
        if (header.p_type != PT_TLS || here < data || here >= data + header.p_memsz) continue;
        auto* range = static_cast<uintptr_t*>(found);
        range[0] = data;
        range[1] = data + header.p_memsz;
        return 1;
    }
    return 0;
}

void no_destructor(void*) {}

// Registers a destructor, looks which word of libc's block now points to the entry, which holds the
// object second, and takes it off the list.  On the main thread, which may hold the loader's lock.
ptrdiff_t find_destructor_list() {
    uintptr_t range[2] = {0, 0};
    real.dl_iterate_phdr(find_libc_block, range);
    using Register = int (*)(void (*)(void*), void*, void*);
    auto add = reinterpret_cast<Register>(dlsym(RTLD_DEFAULT, "__cxa_thread_atexit_impl"));
    constexpr size_t kMostWords = 64;
    const size_t words = (range[1] - range[0]) / 8;
    if (add == nullptr || words == 0 || words > kMostWords) return 0;
    uintptr_t before[kMostWords];
    auto* block = reinterpret_cast<uintptr_t*>(range[0]);
    memcpy(before, block, words * 8);
    static char object;
    if (add(no_destructor, &object, &object) != 0) return 0;
    for (size_t i = 0; i < words; i++) {
        if (before[i] == block[i] || block[i] < 4096 || block[i] % 8 != 0) continue;
        if (reinterpret_cast<void* const*>(block[i])[1] != &object) continue;
        block[i] = before[i];
        return static_cast<ptrdiff_t>(range[0] + i * 8 - thread_pointer());
    }
    return 0;
}

void* probe_main(void* argument) {
    auto* result = static_cast<ProbeResult*>(argument);
    const uintptr_t tp = thread_pointer();
    // The image first: later calls fill in fields that a fresh thread does not have.
    memcpy(template_image, reinterpret_cast<void*>(tp), identity_layout.pthread_size);
    result->tp = tp;
    malloc_cache_probe(result->libc_block, result->libc_words);
    void* head = nullptr;
    size_t length = 0;
    raw_syscall(SYS_get_robust_list, 0, reinterpret_cast<long>(&head),
                reinterpret_cast<long>(&length));
    result->robust_head = reinterpret_cast<uintptr_t>(head) - tp;
    result->resolver = reinterpret_cast<uintptr_t>(resolver_state()) - tp;
    result->kernel_tid = static_cast<int>(raw_syscall(SYS_gettid));
    set_step(result, 1);
    await_step(result, 2);
    return nullptr;
}

// On the thread that makes the probe: it allocates, and a malloc that somebody preloaded may be
// what makes a thread, with its lock held, which its own thread may pass.
void tell_stack(pthread_t probe, ProbeResult* result) {
    pthread_attr_t attributes;
    void* low = nullptr;
    size_t size = 0;
    if (real.pthread_getattr_np(probe, &attributes) == 0) {
        pthread_attr_getstack(&attributes, &low, &size);
        pthread_attr_destroy(&attributes);
    }
    result->stack_low = reinterpret_cast<uintptr_t>(low);
    result->stack_size = size;
}

// stackblock and stackblock_size stand side by side; their sum is the end that getattr_np tells.  A
// stack is whole pages just around what getattr_np tells: the sum alone also fits the thread's id
// before the robust list's pointer, for one id in some thousands.
bool find_stack_block(const ProbeResult& probe) {
    constexpr uintptr_t kPage = 4096, kMostGuard = 1 << 20;
    const uintptr_t end = probe.stack_low + probe.stack_size;
    for (size_t at = identity_layout.list; at + 16 <= identity_layout.pthread_size; at += 8) {
        uintptr_t block, size;
        memcpy(&block, template_image + at, 8);
        memcpy(&size, template_image + at + 8, 8);
        if (block + size == end && block % kPage == 0 && block <= probe.stack_low &&
            probe.stack_low - block <= kMostGuard) {
            identity_layout.stack_block = at;
            return true;
        }
    }
    return false;
}

// Where the module's block is in every thread, from the thread pointer; 0: each thread's is
// elsewhere.  The loader tells the caller's own block, but not before the caller has used it by its
// module's number, which initial-exec code never does: its records know.
ptrdiff_t static_offset(const dl_phdr_info* info) {
    const size_t most = identity_layout.static_tls_size;
    for (const link_map* map = _r_debug.r_map; map != nullptr; map = map->l_next) {
        if (map->l_name != info->dlpi_name || map->l_addr != info->dlpi_addr) continue;
        const auto record = reinterpret_cast<uintptr_t>(map);
        if (record_tls_number == 0 ||
            field<size_t>(record, record_tls_number) != info->dlpi_tls_modid)
            break;
        const size_t below = field<size_t>(record, record_tls_offset);
        return below <= most ? -static_cast<ptrdiff_t>(below) : 0;
    }
    const uintptr_t tp = thread_pointer();
    const auto data = reinterpret_cast<uintptr_t>(info->dlpi_tls_data);
    return data < tp && data >= tp - most ? static_cast<ptrdiff_t>(data - tp) : 0;
}

int collect_module(dl_phdr_info* info, size_t, void*) {
    if (info->dlpi_tls_modid == 0) return 0;
    const ptrdiff_t offset = static_offset(info);
    if (offset == 0) return 0;
    const uintptr_t data = thread_pointer() + static_cast<uintptr_t>(offset);
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr)& header = info->dlpi_phdr[i];
        if (header.p_type != PT_TLS) continue;
        if (module_count == kMaxModules) return 1;
        modules[module_count++] = {info->dlpi_tls_modid, offset,
                                   reinterpret_cast<const void*>(info->dlpi_addr + header.p_vaddr),
                                   header.p_filesz, header.p_memsz};
        const auto errno_address = reinterpret_cast<uintptr_t>(&errno);
        if (errno_address >= data && errno_address < data + header.p_memsz)
            libc_module = info->dlpi_tls_modid;
    }
    return 0;
}

int read_loader_counts(dl_phdr_info* info, size_t, void* counts) {
    static_cast<unsigned long long*>(counts)[0] = info->dlpi_adds;
    static_cast<unsigned long long*>(counts)[1] = info->dlpi_subs;
    return 1;  // the first object tells
}

// dlopen cannot be hooked (it looks at its caller's search path), so each recycling asks the loader
// whether anything was loaded since.  The caller holds modules_lock: a later refresh rewrites the
// list.
void refresh_modules() {
    unsigned long long counts[2] = {0, 0};
    real.dl_iterate_phdr(read_loader_counts, counts);
    if (counts[0] == modules_adds && counts[1] == modules_subs) return;
    modules_adds = counts[0];
    modules_subs = counts[1];
    module_count = 0;
    real.dl_iterate_phdr(collect_module, nullptr);
}

void lock_modules() {
    while (modules_lock.test_and_set(std::memory_order_acquire)) raw_syscall(SYS_sched_yield);
}
void unlock_modules() { modules_lock.clear(std::memory_order_release); }

// glibc's own order of stores: a reader that follows `next` sees the list with or without the node.
void publish_in_user_list(uintptr_t tp) {
    auto* node = &field<ListNode>(tp, identity_layout.list);
    while (list_lock.test_and_set(std::memory_order_acquire)) __builtin_ia32_pause();
    node->next = user_stack_list->next;
    node->prev = user_stack_list;
    user_stack_list->next->prev = node;
    __atomic_store_n(&user_stack_list->next, node, __ATOMIC_RELEASE);
    list_lock.clear(std::memory_order_release);
}

// Guards and self pointers; every mangled pointer and canary of the process depends on them.
void copy_header(uintptr_t tp) {
    const uintptr_t own = thread_pointer();
    field<uintptr_t>(tp, 0x00) = tp;                           // tcb
    field<uintptr_t>(tp, 0x10) = tp;                           // self
    field<int>(tp, 0x18) = 1;                                  // multiple_threads
    field<uintptr_t>(tp, 0x28) = field<uintptr_t>(own, 0x28);  // stack_guard
    field<uintptr_t>(tp, 0x30) = field<uintptr_t>(own, 0x30);  // pointer_guard
}

void set_thread_fields(uintptr_t tp) {
    const IdentityLayout& layout = identity_layout;
    copy_header(tp);
    field<uintptr_t>(tp, layout.specific) = tp + layout.specific_first_block;
    auto& head = field<robust_list_head>(tp, layout.robust_head);
    head.list.next = &head.list;
    head.futex_offset = -32;
    head.list_op_pending = nullptr;
    field<void*>(tp, layout.robust_head - 8) = &head;  // robust_prev
    field<int32_t>(tp, layout.rseq + 4) = -2;          // cpu_id: never registered
    field<int32_t>(tp, layout.rseq) = 0;
    field<int>(tp, layout.cancelhandling) = 0;
}

}  // namespace

namespace {

bool read_published_layout(const char** reason) {
    IdentityLayout& layout = identity_layout;
    const uint32_t* size = published("_thread_db_sizeof_pthread");
    auto static_info = reinterpret_cast<void (*)(size_t*, size_t*)>(
        dlsym(RTLD_DEFAULT, "_dl_get_tls_static_info"));
    allocate_tls = reinterpret_cast<AllocateTls>(dlsym(RTLD_DEFAULT, "_dl_allocate_tls"));
    ctype_init = reinterpret_cast<void (*)()>(dlsym(RTLD_DEFAULT, "__ctype_init"));
    auto* rtld_global = static_cast<char*>(dlsym(RTLD_DEFAULT, "_rtld_global"));
    auto* rseq_offset = static_cast<const ptrdiff_t*>(dlsym(RTLD_DEFAULT, "__rseq_offset"));
    size_t list_in_global = 0, report_events = 0, specific_level1 = 0;
    *reason = "libc does not publish its thread layout";
    if (size == nullptr || static_info == nullptr || allocate_tls == nullptr ||
        ctype_init == nullptr || rtld_global == nullptr || rseq_offset == nullptr ||
        !published_offset("_thread_db_pthread_tid", &layout.tid) ||
        !published_offset("_thread_db_pthread_list", &layout.list) ||
        !published_offset("_thread_db_pthread_cancelhandling", &layout.cancelhandling) ||
        !published_offset("_thread_db_pthread_specific", &specific_level1) ||
        !published_offset("_thread_db_pthread_report_events", &report_events) ||
        !published_offset("_thread_db_rtld_global__dl_stack_user", &list_in_global))
        return false;
    if (!published_offset("_thread_db_link_map_l_tls_offset", &record_tls_offset) ||
        !published_offset("_thread_db_link_map_l_tls_modid", &record_tls_number))
        record_tls_number = 0;
    layout.pthread_size = *size;
    layout.specific = specific_level1;
    layout.specific_first_block = specific_level1 - 512;
    layout.user_stack = report_events + 1;
    layout.rseq = static_cast<size_t>(*rseq_offset);
    size_t total = 0, alignment = 0;
    static_info(&total, &alignment);
    *reason = "sizes of the thread block are out of range";
    if (layout.pthread_size > kMaxPthreadSize || total <= layout.pthread_size || total > 1 << 20 ||
        alignment == 0 || (alignment & (alignment - 1)) != 0)
        return false;
    layout.static_tls_size = total - layout.pthread_size;
    layout.alignment = alignment < 64 ? 64 : alignment;
    user_stack_list = reinterpret_cast<ListNode*>(rtld_global + list_in_global);

    // dlsym of a TLS symbol answers its address in the calling thread.
    void* resp = dlsym(RTLD_DEFAULT, "__resp");
    *reason = "no resolver slot";
    if (resp == nullptr) return false;
    layout.resolver_pointer =
        static_cast<ptrdiff_t>(reinterpret_cast<uintptr_t>(resp) - thread_pointer());
    return true;
}

}  // namespace

bool identity_probe(const char** reason, long* error) {
    IdentityLayout& layout = identity_layout;
    if (!read_published_layout(reason)) return false;
    ProbeResult probe{};
    // Not in the probe: we may hold the loader's lock, and the lock of another malloc.
    uintptr_t range[2] = {0, 0};
    if (malloc_is_libcs()) real.dl_iterate_phdr(find_libc_block, range);
    probe.libc_block = static_cast<ptrdiff_t>(range[0] - thread_pointer());
    probe.libc_words = (range[1] - range[0]) / 8;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    // libc takes the static TLS out of it.
    pthread_attr_setstacksize(&attributes, 128 * 1024 + layout.static_tls_size);
    pthread_t thread;
    const int rc = real.pthread_create(&thread, &attributes, probe_main, &probe);
    pthread_attr_destroy(&attributes);
    *reason = "the probe thread could not be started";
    *error = rc;
    if (rc != 0) return false;
    await_step(&probe, 1);
    tell_stack(thread, &probe);
    set_step(&probe, 2);
    real.pthread_join(thread, nullptr);

    layout.robust_head = probe.robust_head;
    layout.resolver = probe.resolver;
    if (layout.destructors == 0) layout.destructors = find_destructor_list();
    *reason = "probed, published and template values of struct pthread do not agree";
    int template_tid;
    memcpy(&template_tid, template_image + layout.tid, sizeof template_tid);
    uintptr_t self, first_block;
    memcpy(&self, template_image + 0x10, 8);
    memcpy(&first_block, template_image + layout.specific, 8);
    if (template_tid != probe.kernel_tid || self != probe.tp ||
        first_block != probe.tp + layout.specific_first_block ||
        layout.robust_head + sizeof(robust_list_head) > layout.pthread_size ||
        layout.resolver >= layout.pthread_size || layout.rseq >= layout.pthread_size ||
        !find_stack_block(probe))
        return false;
    *reason = nullptr;
    lock_modules();
    refresh_modules();
    unlock_modules();
    return true;
}

bool identity_list_is_emptied(uintptr_t survivor) {
    const ListNode* own = &field<ListNode>(survivor, identity_layout.list);
    const ListNode* first = user_stack_list->next;
    return first == user_stack_list || (first == own && first->next == user_stack_list);
}

void identity_list(uintptr_t tp) { publish_in_user_list(tp); }

bool identity_create(uintptr_t tp) {
    if (allocate_tls(reinterpret_cast<void*>(tp)) == nullptr) return false;
    const IdentityLayout& layout = identity_layout;
    const uintptr_t dtv = field<uintptr_t>(tp, 8);
    memcpy(reinterpret_cast<void*>(tp), template_image, layout.pthread_size);
    field<uintptr_t>(tp, 8) = dtv;
    set_thread_fields(tp);
    field<bool>(tp, layout.user_stack) = true;
    publish_in_user_list(tp);
    return true;
}

void identity_recycle(uintptr_t tp) {
    malloc_cache_empty(tp);
    auto* dtv = field<DtvEntry*>(tp, 8);
    const size_t entries = dtv[-1].counter;
    for (size_t i = 1; i <= entries; i++) {
        if (dtv[i].pointer.to_free == nullptr) continue;
        free(dtv[i].pointer.to_free);
        dtv[i].pointer.to_free = nullptr;
        dtv[i].pointer.value = kUnallocated;
    }
    lock_modules();
    refresh_modules();
    for (size_t i = 0; i < module_count; i++) {
        const TlsModule& module = modules[i];
        if (module.id == libc_module) continue;
        auto* block = reinterpret_cast<char*>(tp + module.offset);
        memcpy(block, module.image, module.image_size);
        memset(block + module.image_size, 0, module.total_size - module.image_size);
    }
    unlock_modules();
    // What key destructors left there is forgotten, as in a new thread of libc's.
    if (identity_layout.destructors != 0)
        field<void*>(tp + static_cast<uintptr_t>(identity_layout.destructors), 0) = nullptr;
    set_thread_fields(tp);
}

void identity_assign(uintptr_t tp, uint32_t tid, uintptr_t stack_low, size_t stack_size,
                     size_t guard_size) {
    const IdentityLayout& layout = identity_layout;
    set_tid_field(tp, tid);
    field<uintptr_t>(tp, layout.stack_block) = stack_low;
    field<size_t>(tp, layout.stack_block + 8) = stack_size;
    field<size_t>(tp, layout.stack_block + 16) = guard_size;
    field<size_t>(tp, layout.stack_block + 24) = guard_size;
}

void identity_create_bare(uintptr_t tp) { copy_header(tp); }

void identity_enter() {
    const uintptr_t tp = thread_pointer();
    ctype_init();
    field<uintptr_t>(tp + static_cast<uintptr_t>(identity_layout.resolver_pointer), 0) =
        tp + identity_layout.resolver;
    errno = 0;
    uselocale(LC_GLOBAL_LOCALE);
}

void identity_disable_rseq() {
    auto* offset = static_cast<const ptrdiff_t*>(dlsym(RTLD_DEFAULT, "__rseq_offset"));
    if (offset == nullptr) return;
    const uintptr_t area = thread_pointer() + static_cast<uintptr_t>(*offset);
    auto& cpu_id = field<int32_t>(area, 4);
    if (cpu_id < 0) return;
    constexpr long kUnregister = 1;
    constexpr long kSignature = 0x53053053;
    // The registered length is 32 in glibc up to 2.39; later ones publish theirs.
    auto* size = static_cast<const unsigned*>(dlsym(RTLD_DEFAULT, "__rseq_size"));
    long rc = raw_syscall(SYS_rseq, static_cast<long>(area), 32, kUnregister, kSignature);
    if (rc < 0 && size != nullptr && *size > 32)
        rc = raw_syscall(SYS_rseq, static_cast<long>(area), *size, kUnregister, kSignature);
    if (rc == 0) cpu_id = -2;  // glibc registers new threads only where the creator's is >= 0
}

void set_tid_field(uintptr_t tp, uint32_t tid) { field<uint32_t>(tp, identity_layout.tid) = tid; }

void identity_after_fork() {
    modules_lock.clear();
    list_lock.clear();
    modules_adds = 0;  // the list may be half written: look again
}

void* tid_field(uintptr_t tp) { return reinterpret_cast<void*>(tp + identity_layout.tid); }

void reset_robust_list(uintptr_t tp) {
    auto& head = field<robust_list_head>(tp, identity_layout.robust_head);
    head.list.next = &head.list;
    head.list_op_pending = nullptr;
    field<void*>(tp, identity_layout.robust_head - 8) = &head;
    raw_syscall(SYS_set_robust_list, &head, sizeof head);
}

bool identity_offsets_known() { return identity_layout.robust_head != 0; }

}  // namespace pfiber::host
