// Cached, cold and FIFO reads through one fread, while other threads want to run.  Cached reads
// (1,000) are to keep the processor and cold ones (750) to hand it off.  Where a cold read lasts
// about as long as a hand-off (a fast disk), each is a toss-up: at the worst mixture, two long ones
// of five, the table hands 350 off in vain.  Beyond that it would be wrong about the cached ones,
// too; and one that predicted nothing would leave all 750 to the monitor.
// expect: handoffs_in_vain<=450 retakes<=375
// limit: 40
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <string>

#include "switching.h"

namespace {

constexpr int kBlock = 4096, kBlocks = 64, kRounds = 250;
int done;

// The one call.
__attribute__((noinline)) void read_block(FILE* file, char want) {
    char block[kBlock];
    CHECK_EQ(fread(block, 1, sizeof block, file), sizeof block);
    for (char byte : block) CHECK_EQ(byte, want);
}

void fill(const char* path, char with) {
    const std::string block(kBlock, with);
    const int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    CHECK_GE(fd, 0);
    for (int i = 0; i < kBlocks; i++) CHECK_EQ(write(fd, block.data(), kBlock), kBlock);
    CHECK_EQ(fsync(fd), 0);
    close(fd);
}

// Reads one block, forgets the buffer of the FILE; `is_cold` drops the page from the cache first.
void read_at(FILE* file, int index, bool is_cold, char want) {
    if (is_cold) CHECK_EQ(posix_fadvise(fileno(file), 0, 0, POSIX_FADV_DONTNEED), 0);
    CHECK_EQ(fseek(file, static_cast<long>(index % kBlocks) * kBlock, SEEK_SET), 0);
    read_block(file, want);
}

void* reader(void* argument) {
    const long kind = reinterpret_cast<long>(argument);
    FILE* cached = fopen("cached", "r");
    FILE* cold = fopen("cold", "r");
    CHECK(cached != nullptr && cold != nullptr);
    setvbuf(cached, nullptr, _IONBF, 0);
    setvbuf(cold, nullptr, _IONBF, 0);
    posix_fadvise(fileno(cold), 0, 0, POSIX_FADV_RANDOM);
    for (int i = 0; i < kRounds; i++) {
        if (kind != 1) read_at(cached, i, false, 'w');
        if (kind != 0) read_at(cold, i * 7, true, 'c');
    }
    fclose(cached);
    fclose(cold);
    return nullptr;
}

void* fifo_reader(void*) {
    FILE* fifo = fopen("fifo", "r");
    CHECK(fifo != nullptr);
    for (int i = 0; i < kRounds; i++) read_block(fifo, 'f');
    CHECK_EQ(getc(fifo), EOF);
    fclose(fifo);
    return nullptr;
}

void* fifo_writer(void*) {
    const std::string block(kBlock, 'f');
    FILE* fifo = fopen("fifo", "w");
    CHECK(fifo != nullptr);
    for (int i = 0; i < kRounds; i++) {
        CHECK_EQ(fwrite(block.data(), 1, kBlock, fifo), kBlock);
        CHECK_EQ(fflush(fifo), 0);
        if (i % 16 == 0) usleep(100);
    }
    fclose(fifo);
    return nullptr;
}

// Somebody who would run whenever a processor is free.
void* yielder(void*) {
    while (!__atomic_load_n(&done, __ATOMIC_ACQUIRE)) sched_yield();
    return nullptr;
}

}  // namespace

int main() {
    fill("cached", 'w');
    fill("cold", 'c');
    CHECK_EQ(mkfifo("fifo", 0600), 0);
    pthread_t idle = spawn(yielder, nullptr);
    pthread_t readers[6];
    for (long i = 0; i < 4; i++) readers[i] = spawn(reader, reinterpret_cast<void*>(i % 3));
    readers[4] = spawn(fifo_reader, nullptr);
    readers[5] = spawn(fifo_writer, nullptr);
    for (pthread_t thread : readers) join(thread);
    __atomic_store_n(&done, 1, __ATOMIC_RELEASE);
    join(idle);
    puts("all blocks were right");
}
