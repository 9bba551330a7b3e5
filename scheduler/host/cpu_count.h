// How many processors to run with when GOMAXPROCS does not say it: Go's rule.
//
// min(CPUs of the affinity mask, CPU limit of our cgroup), where the limit is max(2, ceil(quota /
// period)) and counts only if it is smaller.  Only the leaf cgroup is read, as Go does; a version 1
// hierarchy with the cpu controller goes before version 2.  All descriptors are closed again.
// Must not know processors or options.
//
// Who may call: start-up and the monitor, on a stack with 16 KiB left; not in a signal handler.
#pragma once

#include <stdint.h>

namespace pfiber::host {

constexpr int kCpuCountMax = 1024;

// A cgroup's limit: quota_us of CPU time per period_us.  period_us 0 = no limit found.
struct CpuLimit {
    int64_t quota_us = 0;
    int64_t period_us = 0;
};

// The default number of processors, 1..kCpuCountMax.
int default_processor_count();

// CPUs this thread may run on, at least 1.
int affinity_cpu_count();

// The limit of this process's leaf cgroup.  `proc_self` is "/proc/self", or a test's folder.
CpuLimit read_cgroup_limit(const char* proc_self);

// Go's rule alone.
int processor_count_for(int cpu_count, CpuLimit limit);

}  // namespace pfiber::host
