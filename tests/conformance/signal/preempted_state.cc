// Threads that are interrupted thousands of times wherever they are, and keep their state: vector,
// mask and x87 registers with their control words, the red zone, flags, heap, stdio, errno, clocks,
// memory functions, and callbacks that libc calls.  A kernel thread that nobody else knows sends
// SIGURG to every other one; natively that is ignored, here (with a seed for chaos) each preempts.
// STRESS_SIGNALS is how many are sent to each; `make soak` sends many more.
// env: PFIBER_CHAOS_SEED=5
// Signals that come while a kernel thread waits for a CPU become one, so the first 50 rounds wait
// until each was taken: one at least in every round finds a thread that computes.
// expect: preemptions>=4
// limit: 600
#include "twin.h"

#include <dirent.h>
#include <sched.h>

#include <atomic>

#include "inline_syscall.h"

namespace {

std::atomic<bool> stop{false};
std::atomic<long> rounds[8];
bool has_avx512, has_avx2;

// Counts without a call: in a loop of these a thread is in program code nearly always.
inline void spin(long steps) { __asm__ volatile("1: dec %0; jnz 1b" : "+r"(steps) : : "cc"); }

long inline_sigmask(const sigset_t* set, sigset_t* old) {
    return inline_syscall(SYS_rt_sigprocmask, SIG_SETMASK, reinterpret_cast<long>(set),
                          reinterpret_cast<long>(old), 8);
}

// ---- workloads: each round checks what it set up before the spin

#define FOR_16(X) \
    X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define FOR_UPPER_16(X) \
    X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31)
#define FOR_MASKS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7)

alignas(64) thread_local unsigned char before[32][64];
alignas(64) thread_local unsigned char after[32][64];
thread_local unsigned long masks_before[8], masks_after[8];

void fill_patterns(unsigned seed) {
    for (int i = 0; i < 32; i++)
        for (int k = 0; k < 64; k++)
            before[i][k] = static_cast<unsigned char>(seed * 31 + i * 67 + k);
    for (int i = 1; i < 8; i++)
        masks_before[i] = seed * 0x9e3779b97f4a7c15u + static_cast<unsigned>(i);
}

__attribute__((target("avx512f,avx512bw"))) void avx512_round(unsigned seed) {
    fill_patterns(seed);
#define LOAD(i) "vmovdqu64 " #i "*64(%0), %%zmm" #i "\n"
#define STORE(i) "vmovdqu64 %%zmm" #i ", " #i "*64(%1)\n"
#define LOAD_MASK(i) "kmovq " #i "*8(%2), %%k" #i "\n"
#define STORE_MASK(i) "kmovq %%k" #i ", " #i "*8(%3)\n"
    __asm__ volatile(FOR_16(LOAD) FOR_UPPER_16(LOAD) FOR_MASKS(
                         LOAD_MASK) "mov $20000, %%ecx\n 1: dec %%ecx\n jnz 1b\n" FOR_16(STORE)
                         FOR_UPPER_16(STORE) FOR_MASKS(STORE_MASK) "vzeroupper\n"
                     :
                     : "r"(before), "r"(after), "r"(masks_before), "r"(masks_after)
                     : "rcx", "cc", "memory");
    CHECK_EQ(memcmp(before, after, sizeof before), 0);
    CHECK_EQ(memcmp(masks_before + 1, masks_after + 1, 7 * sizeof(long)), 0);
}

__attribute__((target("avx2"))) void avx2_round(unsigned seed) {
    fill_patterns(seed);
#define LOAD_Y(i) "vmovdqu " #i "*64(%0), %%ymm" #i "\n"
#define STORE_Y(i) "vmovdqu %%ymm" #i ", " #i "*64(%1)\n"
    __asm__ volatile(
        FOR_16(LOAD_Y) "mov $20000, %%ecx\n 1: dec %%ecx\n jnz 1b\n" FOR_16(STORE_Y) "vzeroupper\n"
        :
        : "r"(before), "r"(after)
        : "rcx", "cc", "memory");
    for (int i = 0; i < 16; i++) CHECK_EQ(memcmp(before[i], after[i], 32), 0);
}

void vector_round(unsigned seed) {
    if (has_avx512)
        avx512_round(seed);
    else if (has_avx2)
        avx2_round(seed);
    else
        spin(20000);
}

// x87 stack and control words; each thread has its own rounding and precision.
void control_round(unsigned seed) {
    const unsigned short x87 = static_cast<unsigned short>(0x037f | (seed & 3) << 10);
    const unsigned mxcsr = 0x1f80u | (seed & 3) << 13;
    __asm__ volatile("fldcw %0\n ldmxcsr %1" : : "m"(x87), "m"(mxcsr));
    long double kept = 1.0L + seed;
    long steps = 20000;
    __asm__ volatile("1: dec %1; jnz 1b" : "+t"(kept), "+r"(steps) : : "cc");
    unsigned short x87_after = 0;
    unsigned mxcsr_after = 0;
    __asm__ volatile("fnstcw %0\n stmxcsr %1" : "=m"(x87_after), "=m"(mxcsr_after));
    CHECK_EQ(x87_after, x87);
    CHECK_EQ(mxcsr_after & 0x6000, mxcsr & 0x6000);
    CHECK(kept == 1.0L + seed);
}

// Data below the stack pointer, flags, and every general register that the compiler spares.
void red_zone_round(unsigned seed) {
    unsigned long wrong = 0;
    __asm__ volatile(
        "mov %1, %%rax\n mov %%rax, -8(%%rsp)\n mov %%rax, -64(%%rsp)\n mov %%rax, -128(%%rsp)\n"
        "mov %%rax, %%r8\n mov %%rax, %%r9\n mov %%rax, %%r10\n mov %%rax, %%r11\n"
        "mov %%rax, %%r12\n mov %%rax, %%r13\n mov %%rax, %%r14\n mov %%rax, %%r15\n"
        "mov $20000, %%ecx\n stc\n 1: dec %%ecx\n jnz 1b\n"
        "setnc %b0\n"  // dec leaves the carry flag alone
        "cmp %%rax, -8(%%rsp)\n setne %%cl\n or %%cl, %b0\n"
        "cmp %%rax, -64(%%rsp)\n setne %%cl\n or %%cl, %b0\n"
        "cmp %%rax, -128(%%rsp)\n setne %%cl\n or %%cl, %b0\n"
        "xor %%rax, %%r8\n xor %%rax, %%r9\n xor %%rax, %%r10\n xor %%rax, %%r11\n"
        "xor %%rax, %%r12\n xor %%rax, %%r13\n xor %%rax, %%r14\n xor %%rax, %%r15\n"
        "or %%r8, %%r9\n or %%r10, %%r11\n or %%r12, %%r13\n or %%r14, %%r15\n"
        "or %%r9, %%r11\n or %%r13, %%r15\n or %%r11, %%r15\n setne %%cl\n or %%cl, %b0\n"
        : "+&b"(wrong)
        : "d"(0x0123456789abcdefUL ^ seed)
        : "rax", "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc", "memory");
    CHECK_EQ(wrong, 0);
}

FILE* shared_file;

void heap_and_stdio_round(unsigned seed) {
    char text[64], *blocks[16];
    for (unsigned i = 0; i < 16; i++) {
        const size_t size = 1 + (seed * 37 + i * 211) % 3000;
        blocks[i] = static_cast<char*>(malloc(size));
        CHECK(blocks[i] != nullptr);
        memset(blocks[i], static_cast<int>(i), size);
    }
    snprintf(text, sizeof text, "%u %.3f", seed, seed / 8.0);
    unsigned read = 0;
    CHECK_EQ(sscanf(text, "%u", &read), 1);
    CHECK_EQ(read, seed);
    CHECK_GT(fprintf(shared_file, "%s\n", text), 0);
    for (unsigned i = 0; i < 16; i++) {
        CHECK_EQ(blocks[i][0], static_cast<char>(i));
        free(blocks[i]);
    }
}

thread_local unsigned mine;

void identity_round(unsigned seed) {
    const pthread_t self = pthread_self();
    mine = seed;
    errno = static_cast<int>(seed % 100);
    timespec first, second;
    clock_gettime(CLOCK_MONOTONIC, &first);
    spin(20000);
    clock_gettime(CLOCK_MONOTONIC, &second);
    CHECK(second.tv_sec > first.tv_sec ||
          (second.tv_sec == first.tv_sec && second.tv_nsec >= first.tv_nsec));
    CHECK_EQ(errno, static_cast<int>(seed % 100));
    CHECK_EQ(mine, seed);
    CHECK(pthread_equal(self, pthread_self()));
}

void memory_round(unsigned seed) {
    static thread_local char from[70000], to[70000];
    memset(from, static_cast<int>(seed), sizeof from);
    void* target = to;
    const void* source = from;
    size_t size = sizeof from;
    __asm__ volatile("rep movsb" : "+D"(target), "+S"(source), "+c"(size) : : "memory");
    CHECK_EQ(memcmp(from, to, sizeof from), 0);
    memmove(to + 1, to, sizeof to - 1);
    CHECK_EQ(to[sizeof to - 1], static_cast<char>(seed));
}

int slow_compare(const void* a, const void* b) {
    spin(50);
    return *static_cast<const int*>(a) - *static_cast<const int*>(b);
}

void callback_round(unsigned seed) {
    int values[200];
    for (unsigned i = 0; i < 200; i++) values[i] = static_cast<int>((seed + i * 7919) % 1000);
    qsort(values, 200, sizeof values[0], slow_compare);
    for (int i = 1; i < 200; i++) CHECK_LE(values[i - 1], values[i]);
}

void (*const kRounds[])(unsigned) = {vector_round,         control_round,  red_zone_round,
                                     heap_and_stdio_round, identity_round, memory_round,
                                     callback_round};
constexpr long kKinds = COUNT(kRounds);
constexpr long kThreads = 3 * kKinds;

void* work(void* argument) {
    const long number = reinterpret_cast<long>(argument);
    for (unsigned seed = static_cast<unsigned>(number) * 1000000; !stop; seed++) {
        kRounds[number % kKinds](seed);
        rounds[number % kKinds]++;
    }
    return nullptr;
}

// ---- the sender: has no identity of its own, so it calls nothing but the kernel

std::atomic<bool> sender_is_done{false};
constexpr long kAwaited = 50;  // of the rounds
long sends, process;

long open_to_read(const char* path, int flags) {
    return inline_syscall(SYS_open, reinterpret_cast<long>(path), O_RDONLY | flags, 0, 0);
}
long inline_read(long number, long fd, char* data, long size) {
    return inline_syscall(number, fd, reinterpret_cast<long>(data), size, 0);
}
void pause_for_us(long us) {
    const timespec time = {0, us * 1000};
    inline_syscall(SYS_nanosleep, reinterpret_cast<long>(&time), 0, 0, 0);
}

// The set of signals that a thread's status has after `key`, which is six letters and a colon.
unsigned long signal_set(const char* status, long size, const char* key) {
    unsigned long set = 0;
    for (long at = 0; at + 24 < size; at++) {
        long same = 0;
        while (same < 7 && status[at + same] == key[same]) same++;
        if (same < 7) continue;
        for (long i = 8; i < 24; i++) {
            const char digit = status[at + i];
            set = set << 4 |
                  static_cast<unsigned long>(digit <= '9' ? digit - '0' : digit - 'a' + 10);
        }
    }
    return set;
}

constexpr unsigned long kUrgent = 1ul << (SIGURG - 1);

// What /proc/self/PATH/status says of its signals.
struct Signals {
    unsigned long pending, blocked, caught;
};
Signals read_signals(const char* path) {
    char name[64] = "/proc/self/", status[4096];
    int length = 11;
    for (; *path != '\0'; path++) name[length++] = *path;
    for (const char* rest = "/status"; *rest != '\0'; rest++) name[length++] = *rest;
    const long fd = open_to_read(name, 0);
    if (fd < 0) return {};  // it has ended
    const long size = inline_read(SYS_read, fd, status, sizeof status);
    inline_syscall(SYS_close, fd, 0, 0, 0);
    return {signal_set(status, size, "SigPnd:"), signal_set(status, size, "SigBlk:"),
            signal_set(status, size, "SigCgt:")};
}

// Until the kernel thread has taken the signal, unless it blocks it.
void await_delivery(const char* tid) {
    char path[32] = "task/";
    for (int i = 0; tid[i] != '\0'; i++) path[5 + i] = tid[i];
    for (;;) {
        const Signals now = read_signals(path);
        if ((now.pending & ~now.blocked & kUrgent) == 0) return;
        pause_for_us(100);
    }
}

template <class Visit>
void for_each_other_thread(long own, Visit visit) {
    char entries[4096];
    const long folder = open_to_read("/proc/self/task", O_DIRECTORY);
    for (;;) {
        const long size = inline_read(SYS_getdents64, folder, entries, sizeof entries);
        if (size <= 0) break;
        for (long at = 0; at < size;) {
            auto* entry = reinterpret_cast<struct dirent64*>(entries + at);
            long tid = 0;
            for (const char* digit = entry->d_name; *digit >= '0' && *digit <= '9'; digit++)
                tid = tid * 10 + *digit - '0';
            if (tid > 0 && tid != own) visit(tid, entry->d_name);
            at += entry->d_reclen;
        }
    }
    inline_syscall(SYS_close, folder, 0, 0, 0);
}

int send_signals(void*) {
    const long own = inline_syscall(SYS_gettid, 0, 0, 0, 0);
    const bool is_caught = (read_signals(".").caught & kUrgent) != 0;  // natively it is ignored
    for (long i = 0; i < sends; i++) {
        for_each_other_thread(own, [](long tid, const char*) {
            inline_syscall(SYS_tgkill, process, tid, SIGURG, 0);
        });
        if (i < kAwaited && is_caught)
            for_each_other_thread(own, [](long, const char* name) { await_delivery(name); });
        pause_for_us(20);
    }
    sender_is_done = true;
    for (;;) inline_syscall(SYS_exit, 0, 0, 0, 0);
}

void start_sender() {
    static char stack[65536];
    sigset_t all, old;
    sigfillset(&all);
    // The new thread inherits the full mask and keeps it.
    CHECK_EQ(inline_sigmask(&all, &old), 0);
    const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD;
    CHECK_GT(clone(send_signals, stack + sizeof stack, flags | CLONE_SYSVSEM, nullptr), 0);
    CHECK_EQ(inline_sigmask(&old, nullptr), 0);
}

}  // namespace

int main() {
    const char* wish = getenv("STRESS_SIGNALS");
    sends = wish != nullptr ? atol(wish) : 300;
    has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
    has_avx2 = __builtin_cpu_supports("avx2");
    shared_file = fopen("/dev/null", "w");
    CHECK(shared_file != nullptr);
    pthread_t threads[kThreads];
    for (long i = 0; i < kThreads; i++)
        CHECK_OK(pthread_create(&threads[i], nullptr, work, reinterpret_cast<void*>(i)));
    process = inline_syscall(SYS_getpid, 0, 0, 0, 0);
    start_sender();
    while (!sender_is_done) usleep(2000);
    for (auto& count : rounds)
        while (&count < rounds + kKinds && count < 1) usleep(1000);
    stop = true;
    for (pthread_t thread : threads) CHECK_OK(pthread_join(thread, nullptr));
    printf("%ld threads kept their state\n", kThreads);
    return 0;
}
