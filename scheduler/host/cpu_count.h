// How many processors to run with when GOMAXPROCS does not say it: Go's rule.
//
// min(CPUs of the affinity mask, CPU limit of our cgroup), where the limit is max(2, ceil(quota /
// period)) and counts only if it is smaller.  Only the leaf cgroup is read, as Go does; a version 1
// hierarchy with the cpu controller goes before version 2.  All descriptors are closed again.
// Must not know processors or options.
//
// Who may call: any thread on a stack with 16 KiB left; not in a signal handler.
#pragma once

#include <stdint.h>

namespace pfiber::host {

constexpr int kCpuCountMax = 1024;

// A cgroup's limit: quota_us of CPU time per period_us.  period_us 0 = no limit found.
struct CpuLimit {
    int64_t quota_us = 0;
    int64_t period_us = 0;
};

// The folder of a process's leaf cgroup with its CPU limit; found once, read again and again (a
// process that moves to another group later is not followed, as in Go).
struct CpuGroup {
    static constexpr int kPathSize = 2048;
    bool is_sought = false, is_found = false;
    bool is_version_1 = false;
    char path[kPathSize];  // zero-terminated if found
};

// The default number of processors, 1..kCpuCountMax.
int default_processor_count();
// The same for one caller who asks often: three system calls after the first time.
int default_processor_count(CpuGroup* group, const char* proc_self = "/proc/self");

// CPUs this thread may run on, at least 1.
int affinity_cpu_count();

// The limit of this process's leaf cgroup.  `proc_self` is "/proc/self", or a test's folder.
CpuLimit read_cgroup_limit(const char* proc_self);
void find_cpu_group(const char* proc_self, CpuGroup* group);
CpuLimit read_limit(CpuGroup* group);  // no limit if it was not found

// Go's rule alone.
int processor_count_for(int cpu_count, CpuLimit limit);

}  // namespace pfiber::host
