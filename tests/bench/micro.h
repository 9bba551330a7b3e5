// Shared by the micro benchmarks: meters and output.
#ifndef TESTS_BENCH_MICRO_H
#define TESTS_BENCH_MICRO_H

#include <stdint.h>

// Each line of output is "name ns", or "name ns cpu-ns" where CPU time per operation says more
// than wall time: it holds still when something else runs on the machine.
typedef struct {
    uint64_t wall_ns;
    uint64_t cpu_ns;
} meter;

meter meter_start(void);
void meter_report(const char* name, meter start, uint64_t operations);
void report_value(const char* name, double value);
uint64_t wall_now(void);
void must(int ok, const char* what);

// Percentiles of an array that gets sorted: prints NAME-p50, NAME-p99 and NAME-max in ns.
void report_percentiles(const char* name, int64_t* values, int count);

// Sub-commands; count 0 means the default.  Each ends by itself within some seconds.
void bench_create(long count);
void bench_burst(long count);
void bench_condpp(long count);
void bench_sempp(long count);
void bench_pipepp(long count);
void bench_sockpp(long count);
void bench_mutex1(long count);
void bench_mutex8(long count);
void bench_yield8(long count);
void bench_ring8(long count);
void bench_rwlock8(long count);
void bench_alive(long count);
void bench_nanosleep(long count);
void bench_hog(long count);
void bench_fsync64(long count);
void bench_fileserve(long count);
void bench_servefiles(long count);
void bench_servecached(long count);
void bench_semping(long count);
void bench_fifoopen(long count);
void bench_slowstat(long count);
void bench_convoy(long count);
void bench_newtask(long count);
void bench_pairtasks(long count);
void bench_readyio(long count);
void bench_timercalls(long count);
void bench_lockagain(long count);
void bench_startup(long count, char** command);

#endif
